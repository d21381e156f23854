"""A real S3 server with users, policies and versions, and the pods' programs on it: what the tests of artifacts share."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from dev.loopback import free_port
from dev.object_store.admin_api import AdminApi, User
from dev.versitygw import VersitygwServer, versitygw_server
from tests.pod_programs import Program
from tests.waiting import patient
from tracking_operator.stores.s3.bucket_address import Keys

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ROOT_ACCESS, ROOT_SECRET = "root", "root-secret"
PREFIX = "team-a/mlflow"
PATIENCE = "1"
SECONDS_OF_A_PROGRAM = 180

LISTING = ["s3:ListBucket", "s3:ListBucketVersions"]
OBJECTS = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObjectVersion",
    "s3:AbortMultipartUpload",
]

Statement = dict[str, object]


@dataclass(frozen=True)
class Answer:
    """How a program ended."""

    exit_code: int
    reason: str
    message: str
    output: str = field(repr=False)


def start_program(
    program: Program,
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    python: str = sys.executable,
) -> "subprocess.Popen[str]":
    """Start a program as a container does: from the archive, without our package, with its Secret."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return subprocess.Popen(
        [python, *program, *arguments],
        cwd=folder,
        env=inherited
        | {
            "TRACKING_OPERATOR_TERMINATION_LOG": str(folder / "termination-log"),
            "TRACKING_OPERATOR_CREDENTIALS": str(folder / "credentials"),
            "TRACKING_OPERATOR_PATIENCE_SECONDS": PATIENCE,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(folder),
        }
        | dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_program(
    program: Program,
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    python: str = sys.executable,
) -> Answer:
    """Run a program to its end."""
    process = start_program(program, *arguments, folder=folder, environment=environment, python=python)
    output, _ = process.communicate(timeout=patient(SECONDS_OF_A_PROGRAM))
    return answer_of(process.returncode, folder, output)


def answer_of(exit_code: int, folder: Path, output: str = "") -> Answer:
    """Read what a program left behind."""
    log = folder / "termination-log"
    said = json.loads(log.read_text()) if log.exists() else {}
    return Answer(exit_code, said.get("reason", ""), said.get("message", ""), output)


@dataclass(frozen=True)
class World:
    """A bucket of a real S3 server, and root's view of it."""

    server: VersitygwServer
    client: "S3Client"
    bucket: str

    @property
    def admin(self) -> AdminApi:
        """Whoever makes users."""
        return AdminApi(self.server.endpoint, Keys(ROOT_ACCESS, ROOT_SECRET))

    def user(self) -> User:
        """A new user, to whom nothing is granted."""
        user = User(f"team-{uuid4().hex[:8]}", f"secret-{uuid4().hex}")
        self.admin.keep(user)
        return user

    def allow(self, *statements: Statement) -> None:
        """Make this the bucket's policy."""
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        self.client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(document))

    def statements(
        self, user: User, prefix: str = PREFIX, *, actions: Sequence[str] = OBJECTS, listing: str = "{}/*"
    ) -> tuple[Statement, Statement]:
        """What lets a user into a prefix."""
        who = {"AWS": [user.access_key_id]}
        arn = f"arn:aws:s3:::{self.bucket}"
        prefixes = [listing.format(prefix), f"{prefix}/"]
        return (
            {
                "Effect": "Allow",
                "Principal": who,
                "Action": LISTING,
                "Resource": arn,
                "Condition": {"StringLike": {"s3:prefix": prefixes}},
            },
            {"Effect": "Allow", "Principal": who, "Action": list(actions), "Resource": f"{arn}/{prefix}/*"},
        )

    def everything(self, user: User, actions: Sequence[str] = OBJECTS) -> tuple[Statement, Statement]:
        """What lets a user in everywhere."""
        who = {"AWS": [user.access_key_id]}
        arn = f"arn:aws:s3:::{self.bucket}"
        return (
            {"Effect": "Allow", "Principal": who, "Action": LISTING, "Resource": arn},
            {"Effect": "Allow", "Principal": who, "Action": list(actions), "Resource": f"{arn}/*"},
        )

    def environment(self, user: User, **changes: str) -> dict[str, str]:
        """The variables of a pod that are no secrets, and here the keys as well."""
        return {
            "AWS_ACCESS_KEY_ID": user.access_key_id,
            "AWS_SECRET_ACCESS_KEY": user.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": self.server.endpoint,
            "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        } | changes

    def put(self, *keys: str) -> None:
        """Put objects there as root."""
        for key in keys:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=b"precious")

    def mark(self, prefix: str = PREFIX) -> None:
        """Put the operator's mark there."""
        self.put(f".tracking-operator/prefixes/{prefix}/owner.json")

    def keys(self) -> set[str]:
        """All keys that are there."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def versions(self, prefix: str) -> int:
        """How many versions and delete markers there are."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
        return sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages)


@contextmanager
def running_store(
    *, has_versioning: bool = False, certificate: tuple[Path, Path] | None = None
) -> Iterator[VersitygwServer]:
    """A server until the block ends; with the files of a certificate and its key it speaks TLS."""
    with versitygw_server(
        free_port(), ROOT_ACCESS, ROOT_SECRET, has_versioning=has_versioning, certificate=certificate
    ) as server:
        yield server


def new_world(server: VersitygwServer, *, has_versioning: bool = False, ca: Path | None = None) -> World:
    """A bucket of its own."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ROOT_ACCESS,
        aws_secret_access_key=ROOT_SECRET,
        verify=str(ca) if ca else None,
        config=Config(s3={"addressing_style": "path"}),
    )
    world = World(server, client, f"artifacts-{uuid4().hex[:8]}")
    client.create_bucket(Bucket=world.bucket)
    if has_versioning:
        client.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    return world
