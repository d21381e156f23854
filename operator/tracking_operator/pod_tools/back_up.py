"""Runs in a Job: copies a server's own database, and what lies under its own prefix, to a backup that the server cannot reach.

    back-up postgres SERVICE_FILE --version 3.18.0 --artifact-root s3://ml-artifacts/team-a/mlflow \
        --bucket ml-artifacts --prefix team-a/mlflow

The server goes on serving. MLflow stores artifacts before the rows that refer to them; so the rows are copied first, as they are at one
moment, and artifacts after that: whatever a copied row refers to is there. Nobody migrates meanwhile, as the lock of migrations is
held. The manifest is stored last: without it there is no backup. Without ``--bucket`` artifacts are left out.

All goes to URLs that the operator has signed (``backup_parts.py``). What happened goes to the termination log, and into the exit code.
"""

import argparse
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracking_operator.pod_tools import migrate_backend_store as migration
from tracking_operator.pod_tools import s3, start_server
from tracking_operator.pod_tools.backup_manifest import ARTIFACTS_FOLDER, MANIFEST_NAME, PART_BYTES, Manifest
from tracking_operator.pod_tools.backup_parts import PartWriter, SignedStore, mounted_store
from tracking_operator.pod_tools.checks import CheckFailed, report
from tracking_operator.pod_tools.database_rows import copy_out, own_database
from tracking_operator.pod_tools.own_prefix import TRIAL
from tracking_operator.pod_tools.programs import CREDENTIALS
from tracking_operator.pod_tools.schema_revision import (
    installed_login_tables,
    installed_migrations,
    require_known,
    require_version,
)

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

ATTEMPTS = 5
OBJECTS_BETWEEN_SIGNS = 1000
IDENTITY = s3.Identity(
    "The operator makes the identity: the server's condition ArtifactStoreReady says how far it is."
)


def main(arguments: list[str] | None = None) -> int:
    """Take a backup and report; return the exit code."""
    options = parse_arguments(arguments)
    os.environ.update(start_server.credentials_environment(CREDENTIALS))
    try:
        require_version(options.version)
        manifest = back_up(options, mounted_store(CREDENTIALS))
    except migration.Killed as killed:
        report("BackupFailed", killed.message)
        return migration.KILLED + killed.signal
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report(
        "",
        f"{manifest.runs} runs and {manifest.objects} artifacts are backed up, in {manifest.size} bytes.",
        manifest.schema_revision,
    )


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["postgres"])
    parser.add_argument("place", help="libpq's service file")
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--artifact-root", required=True, help="where artifacts are, as MLflow names it")
    parser.add_argument("--bucket", help="the bucket with the artifacts")
    parser.add_argument("--prefix", help="the server's own prefix in it, without a slash at its end")
    parser.add_argument("--part-bytes", type=int, default=PART_BYTES, help="how large a part is")
    return parser.parse_args(arguments)


def back_up(options: argparse.Namespace, target: SignedStore) -> Manifest:
    """Copy everything to ``target``; return what is there then."""
    store = migration.store_of(options)
    parts = PartWriter(target, options.part_bytes)
    with migration.locked(store):
        revision = revision_of(store, options.version)
        with tarfile.open(mode="w|", fileobj=parts, format=tarfile.PAX_FORMAT) as tar:
            with own_database() as connection:
                tables, sequences = copy_out(connection, tar, installed_login_tables())
            artifacts = Artifacts(tar)
            if options.bucket:
                artifacts.copy_all(s3.s3_client(attempts=ATTEMPTS), options.bucket, f"{options.prefix}/")
        manifest = Manifest(
            mlflow_version=options.version,
            schema_revision=revision,
            artifact_root=options.artifact_root,
            tables=tables,
            sequences=sequences,
            parts=parts.finish(),
            has_artifacts=bool(options.bucket),
            objects=artifacts.count,
            object_bytes=artifacts.size,
        )
        target.put(MANIFEST_NAME, manifest.as_bytes())
    return manifest


def revision_of(store: migration.Store, version: str) -> str:
    """The revision of the schema, which has to be one that this MLflow knows: then another one of its release can make it."""
    found = migration.revision_of(store)
    if found is None:
        raise CheckFailed(
            "BackupFailed", "The database has no tables of MLflow: there is nothing to back up."
        )
    require_known(found, installed_migrations(), version)
    return found


@dataclass
class Artifacts:
    """Copies objects into a tar file, and counts them."""

    tar: tarfile.TarFile
    count: int = 0
    size: int = 0
    gone: int = field(default=0)
    """How many were deleted between being listed and being read."""

    def copy_all(self, client: "S3Client", bucket: str, prefix: str) -> None:
        """Copy all objects under a prefix with a slash at its end."""
        for key in keys_under(client, bucket, prefix):
            self.copy(client, bucket, key, key.removeprefix(prefix))
            if self.count % OBJECTS_BETWEEN_SIGNS == 0 and self.count:
                print(f"Copied {self.count} artifacts, {self.size} bytes.", flush=True)
        print(
            f"Copied {self.count} artifacts, {self.size} bytes; {self.gone} were deleted meanwhile.",
            flush=True,
        )

    def copy(self, client: "S3Client", bucket: str, key: str, name: str) -> None:
        """Copy an object, unless it is gone."""
        content = ObjectContent(client, bucket, key)
        if not content.exists:
            self.gone += 1
            return
        member = tarfile.TarInfo(f"{ARTIFACTS_FOLDER}{name}")
        member.size = content.size
        with content:
            self.tar.addfile(member, content)
        self.count += 1
        self.size += content.size


def keys_under(client: "S3Client", bucket: str, prefix: str) -> Iterator[str]:
    """All keys under a prefix but those of folders, which some tools make, and of our own trial."""
    with s3.asking(f"ListObjectsV2 of {prefix}", IDENTITY):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                key = one["Key"]
                if not key.startswith(prefix):
                    raise CheckFailed(
                        "BackupFailed",
                        f"The object store listed {key!r} although only {prefix} was asked for.",
                    )
                if not key.endswith("/") and key != f"{prefix}{TRIAL}":
                    yield key


class ObjectContent(io.RawIOBase):
    """The bytes of one object as a stream, which is opened again where it stopped if the connection breaks."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        super().__init__()
        self._client = client
        self._what = f"GetObject of {key}"
        self._request: GetObjectRequestTypeDef = {"Bucket": bucket, "Key": key}
        self._at = 0
        self._breaks = 0
        self._body: StreamingBody | None = None
        self.size = 0
        self._open()

    @property
    def exists(self) -> bool:
        """Whether there is such an object."""
        return self._body is not None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Give the next bytes; 0 at the end."""
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let the connection go."""
        if self._body is not None:
            self._body.close()
        super().close()

    def _next(self, size: int) -> bytes:
        from botocore.exceptions import BotoCoreError

        while self._body is not None and self._at < self.size:
            try:
                data = self._body.read(size)
            except (BotoCoreError, OSError) as error:
                self._breaks += 1
                if self._breaks >= ATTEMPTS:
                    raise s3.unanswered(str(error), self._what) from error
                self._request |= {"Range": f"bytes={self._at}-"}
                self._open()
                continue
            self._at += len(data)
            return data
        return b""

    def _open(self) -> None:
        from botocore.exceptions import ClientError

        with s3.asking(self._what, IDENTITY):
            try:
                found = self._client.get_object(**self._request)
            except ClientError as error:
                if (
                    s3.says(error, s3.NOT_FOUND)
                    and s3.code_of(error) != "NoSuchBucket"
                    and self._body is None
                ):
                    return
                raise
        if self._body is None:
            self.size = found["ContentLength"]
            # What follows has to be of the same content.
            self._request |= {"IfMatch": found["ETag"]}
        self._body = found["Body"]
