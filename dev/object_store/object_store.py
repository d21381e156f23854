"""A versitygw that runs in the cluster, as whoever develops meets it: stop it, start it, look into it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from dev.object_store.admin_api import AdminApi, User
from dev.object_store.clients import s3_client
from dev.object_store.manifests import (
    BUCKET,
    LABELS,
    NAME,
    PORT,
    build_class_spec,
    endpoint_of,
)
from dev.stores.running import CONNECT_TIMEOUT, RunningStore
from tracking_operator.stores.ca_files import ca_file
from tracking_operator.stores.s3.bucket_address import Keys

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

LOOPBACK = "127.0.0.1"
NOT_THERE = ("NoSuchBucket", "NoSuchBucketPolicy")


@dataclass(frozen=True)
class ClusterObjectStore(RunningStore):
    """A running S3 server, whose admin API is at the same port.

    Attributes:
        namespace: its own; it is called `s3` there.
        root: may do everything, and is no user.
        admin: a user whose role lets it make users, and use all buckets whatever their policies say.
        ca_certificate: of the authority that signed its certificate, PEM text.
        tls: whether it speaks HTTPS, and nothing else.
        bucket: the one that `class_spec` names; the operator makes it.
    """

    name = NAME
    title = "versitygw"
    service_port = PORT
    labels = LABELS
    errors = (BotoCoreError,)

    root: Keys
    admin: Keys
    ca_certificate: str = field(repr=False)
    tls: bool = True
    bucket: str = BUCKET

    @property
    def endpoint(self) -> str:
        """The URL by which pods reach it."""
        return endpoint_of(self.namespace, tls=self.tls)

    def class_spec(self) -> dict[str, object]:
        """What a TrackingServerClass says in `spec.s3` to use it."""
        return build_class_spec(self.namespace, tls=self.tls)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all objects of the bucket below a prefix; none if there is no bucket."""
        with self.client() as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            try:
                return [item["Key"] for page in pages for item in page.get("Contents", [])]
            except ClientError as error:
                _must_be_missing(error)
                return []

    def policy(self) -> dict[str, object]:
        """The bucket's policy; empty if it has none, or if there is no bucket."""
        with self.client() as client:
            try:
                return dict(json.loads(client.get_bucket_policy(Bucket=self.bucket)["Policy"]))
            except ClientError as error:
                _must_be_missing(error)
                return {}

    def users(self) -> list[str]:
        """The access key ids of all users; the admin is one of them, and root is not."""
        with self.admin_api() as api:
            return sorted(api.users())

    @contextmanager
    def client(self, keys: Keys | None = None) -> Iterator["S3Client"]:
        """An S3 client with these keys, or with the admin's, from this machine to the server."""
        with self._forwarded() as (url, authority):
            yield s3_client(url, keys or self.admin, authority)

    @contextmanager
    def admin_api(self, keys: Keys | None = None) -> Iterator[AdminApi]:
        """What makes and removes users, with these keys, or with the admin's."""
        with self._forwarded() as (url, authority):
            yield AdminApi(url, keys or self.admin, authority)

    def use(self) -> object:
        """Make sure that the admin is there, as root."""
        with self.admin_api(self.root) as api:
            api.keep(User(self.admin.access_key_id, self.admin.secret_access_key, "admin"))
        return None

    @contextmanager
    def _forwarded(self) -> Iterator[tuple[str, str | None]]:
        """The URL of a port of this machine, and the path of the authority's certificate, if one is needed."""
        where = ("--namespace", self.namespace, f"--pod-running-timeout={CONNECT_TIMEOUT}s")
        with self.cluster.port_forward(f"service/{NAME}", PORT, *where) as port:
            scheme, authority = ("https", ca_file(self.ca_certificate)) if self.tls else ("http", None)
            yield f"{scheme}://{LOOPBACK}:{port}", authority


def _must_be_missing(error: ClientError) -> None:
    """Raise the error again unless it says that there is no such thing."""
    if error.response["Error"]["Code"] not in NOT_THERE:
        raise error
