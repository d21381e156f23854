"""A real versitygw as a test sees it: a bucket of its own, an admin who is not root, and the keys of each server."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from dev.versitygw import VersitygwServer
from tracking_operator.api.s3_connection import AddressingStyle
from tracking_operator.api.tracking_server_class import Isolation
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.bucket_policy import read_policy
from tracking_operator.stores.s3.policy import Statement
from tracking_operator.stores.s3.provision import Provisioned, provision
from tracking_operator.stores.s3.tenant import (
    Admin,
    Desired,
    Encryption,
    Identity,
    Tenant,
    VersitygwUser,
)
from tracking_operator.stores.s3.versitygw_users import UserAdmin

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HOST = "127.0.0.1"
CLUSTER = "a-cluster"
ROOT = Keys("root", "the root's secret", "the test")
ADMIN_NAME = "platform-admin"
ADMIN_SECRET = "the admin's secret"
SESSION = boto3.session.Session()
DENIED = {"AccessDenied", "403"}


@dataclass
class World:
    """One bucket of a running server."""

    running: VersitygwServer
    name: str
    ca_certificates: str | None = field(default=None, repr=False)

    @property
    def bucket(self) -> Bucket:
        return Bucket(
            self.name,
            endpoint=self.running.endpoint,
            addressing_style=AddressingStyle.PATH,
            ca_certificates=self.ca_certificates,
        )

    @property
    def admin(self) -> Admin:
        return Admin(self.bucket, Keys(ADMIN_NAME, ADMIN_SECRET, "Secret operators/s3-admin"))

    @property
    def s3(self) -> "S3Client":
        """S3 as the root user, with a client of its own."""
        return client(self.running.endpoint, ROOT)

    def s3_as(self, keys: Keys | None) -> "S3Client":
        """S3 as a server sees it: with its own keys, and a client that knows nothing of the operator."""
        assert keys is not None
        return client(self.running.endpoint, keys)

    def provision(self, wanted: Desired, keys: Keys | None = None) -> Provisioned:
        return provision(self.admin, wanted, keys)

    def put(self, key: str, body: bytes = b"artifact") -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=body)

    def objects(self, prefix: str = "") -> list[str]:
        """The keys of all objects, as root."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def statements(self) -> list[Statement]:
        return policy.statements_of(read_policy(self.admin))

    def sids(self) -> list[str]:
        return [policy.sid_of(one) for one in self.statements()]

    def users(self) -> set[str]:
        """The access names of all users but the admin."""
        return set(UserAdmin(self.admin, VersitygwUser()).users()) - {ADMIN_NAME}

    def state(self) -> dict[str, object]:
        """Everything that says who may do what, to be compared."""
        return {
            "policy": sorted(repr(policy.meaning_of(one)) for one in self.statements()),
            "users": sorted(self.users()),
            "objects": sorted(self.objects()),
        }


@lru_cache(maxsize=128)
def client(endpoint: str, keys: Keys, region: str = "us-east-1") -> "S3Client":
    return SESSION.client(
        "s3",
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        endpoint_url=endpoint,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def tenant(
    bucket: str, namespace: str = "team-a", name: str = "mlflow", *, prefix: str = "", cluster: str = CLUSTER
) -> Tenant:
    mark = Mark(cluster, namespace, name, "uid-1")
    return Tenant.named(bucket, prefix or f"{namespace}/{name}", mark)


def desired(
    of: Tenant,
    identity: Identity | None = None,
    *,
    isolation: Isolation = Isolation.BUCKET_POLICY,
    require_encryption: Encryption | None = None,
    must_exist: bool = False,
    deletes: bool = False,
) -> Desired:
    who = identity or VersitygwUser()
    return Desired(of, isolation, who, require_encryption, must_exist, deletes)


def is_denied(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in DENIED


class Crashed(BaseException):
    """The operator is gone. Not an Exception: nothing may catch it and go on."""


@dataclass
class Wire:
    """What goes over the network: counted, and cut where a test wants it."""

    sent: list[str] = field(default_factory=list)
    crash_after: int | None = None
    """The number of the request, from 0, whose answer the process does not live to see."""
    meddler: Callable[[str], None] | None = None
    """Called after each request, with its method and URL: somebody else who does something at that moment."""

    @property
    def writes(self) -> list[str]:
        return [one for one in self.sent if not one.startswith(("GET", "HEAD")) and "list-users" not in one]


@contextmanager
def tapped(wire: Wire) -> Iterator[Wire]:
    """Count the requests of this process, the admin API's included, and die before the answer to the one that is named."""
    original = URLLib3Session.send

    def send(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        number = len(wire.sent)
        wire.sent.append(f"{request.method} {request.url}")
        answer = original(session, request)
        if number == wire.crash_after:
            raise Crashed
        if wire.meddler:
            meddler, wire.meddler = wire.meddler, None  # whose own requests are not meddled with
            meddler(wire.sent[number])
            wire.meddler = meddler
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", send)
        yield wire


def new_name() -> str:
    return f"bucket-{secrets.token_hex(4)}"
