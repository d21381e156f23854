"""Runs in a Job before a new server's first migration: fills its empty database, and its empty prefix, from a backup.

    restore-backup postgres SERVICE_FILE --version 3.18.0 --manifest-sha256 … --artifact-root s3://ml-artifacts/team-a/new \
        --bucket ml-artifacts --prefix team-a/new

MLflow's own migrations make the tables as they were when the backup was taken; then rows and artifacts are copied, every part of the
backup only after its SHA-256 was compared. Rows are there all at once, when all else is: a Job that is ended begins anew, and one
that finds the work done does nothing. A database with tables that no restore has made is left alone. A trial (``--trial``) stores no artifact: it fills a
database that is dropped afterwards, and reads all the rest. The users of the login, and
their passwords, are not in a backup: the migration after this makes the new server's own.
"""

import argparse
import contextlib
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from tracking_operator.pod_tools import migrate_backend_store as migration
from tracking_operator.pod_tools import s3, start_server
from tracking_operator.pod_tools.backup_manifest import ARTIFACTS_FOLDER, Manifest
from tracking_operator.pod_tools.backup_parts import PartReader, SignedStore, mounted_store, stored_manifest
from tracking_operator.pod_tools.checks import CheckFailed, report
from tracking_operator.pod_tools.database_rows import (
    NO_LIMITS,
    RESTORE_TABLE,
    SCHEMA,
    copy_in,
    empty_tables,
    go_on_counting,
    move_places,
    own_database,
    without_foreign_keys,
)
from tracking_operator.pod_tools.programs import CREDENTIALS, URI_VARIABLE
from tracking_operator.pod_tools.schema_revision import installed_migrations, require_known, require_version

if TYPE_CHECKING:
    from psycopg2 import extensions
    from types_boto3_s3 import S3Client

REVISION_VARIABLE = "TRACKING_OPERATOR_SCHEMA_REVISION"
UPGRADE_TO = f"""
import os
import alembic.command, sqlalchemy
from mlflow.store.db import utils
uri = os.environ[{URI_VARIABLE!r}]
engine = sqlalchemy.create_engine(uri)
if not sqlalchemy.inspect(engine).has_table("alembic_version"):
    utils.InitialBase.metadata.create_all(engine)
alembic.command.upgrade(utils._get_alembic_config(uri), os.environ[{REVISION_VARIABLE!r}])
"""
"""`mlflow db upgrade` goes to its own newest revision only; this is what it does (mlflow/db.py: upgrade, mlflow/store/db/utils.py:
_initialize_tables and _upgrade_db, 3.18.0). Ended half-way, it goes on: the first tables are made where they are missing, and the
migrations are one transaction."""

ATTEMPTS = 5
IDENTITY = s3.Identity(
    "The operator makes the identity: the server's condition ArtifactStoreReady says how far it is."
)

MAKE_RECORD = f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{RESTORE_TABLE} (manifest_sha256 text NOT NULL, is_complete boolean NOT NULL)"
READ_RECORD = f"SELECT manifest_sha256, is_complete FROM {SCHEMA}.{RESTORE_TABLE}"  # noqa: S608 - constants
HAS_TABLE = "SELECT pg_catalog.to_regclass(%s) IS NOT NULL"


def main(arguments: list[str] | None = None) -> int:
    """Restore a backup and report; return the exit code."""
    options = parse_arguments(arguments)
    os.environ.update(start_server.credentials_environment(CREDENTIALS))
    try:
        require_version(options.version)
        message = restore(options, mounted_store(CREDENTIALS))
    except migration.Killed as killed:
        report("MigrationFailed", killed.message)
        return migration.KILLED + killed.signal
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report("", message)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["postgres"])
    parser.add_argument("place", help="libpq's service file")
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--manifest-sha256", required=True, help="the digest of the manifest")
    parser.add_argument("--artifact-root", required=True, help="where artifacts are now, as MLflow names it")
    parser.add_argument("--bucket", required=True, help="the bucket that artifacts go to")
    parser.add_argument(
        "--prefix", required=True, help="the server's own prefix in it, without a slash at its end"
    )
    parser.add_argument(
        "--trial", action="store_true", help="read the artifacts, compare their digests, and store none"
    )
    return parser.parse_args(arguments)


def restore(options: argparse.Namespace, source: SignedStore) -> str:
    """Fill database and prefix from ``source``; return what to say about it."""
    store = migration.store_of(options)
    with migration.locked(store), own_database() as connection:
        if is_done(connection, options.manifest_sha256):
            return "The backup has been restored before."
        manifest = stored_manifest(source, options.manifest_sha256)
        require_known(manifest.schema_revision, installed_migrations(), options.version)
        make_record(connection, options.manifest_sha256)
        make_tables(store, manifest.schema_revision)
        fill(connection, source, manifest, options)
    return f"{manifest.runs} runs and {manifest.objects} artifacts are restored."


def is_done(connection: "extensions.connection", sha256: str) -> bool:
    """Whether the whole backup is there. Raises CheckFailed: the database has tables that another one has made."""
    with connection, connection.cursor() as cursor:
        cursor.execute(HAS_TABLE, (f"{SCHEMA}.{RESTORE_TABLE}",))
        found = cursor.fetchone()
        if found and found[0]:
            cursor.execute(READ_RECORD)
            records = cursor.fetchall()
            if [one for one, _ in records] not in ([], [sha256]):
                raise refused("was filled from another backup")
            return (sha256, True) in records
        cursor.execute(HAS_TABLE, (f"{SCHEMA}.alembic_version",))
        found = cursor.fetchone()
        if found and found[0]:
            raise refused("has tables of MLflow already")
    return False


def refused(why: str) -> CheckFailed:
    """Say that nothing is restored."""
    return CheckFailed(
        "RestoreRefused",
        f"The database {why}, so nothing is restored into it: give the server another name, or remove spec.bootstrap to use "
        "what is there.",
    )


def make_record(connection: "extensions.connection", sha256: str) -> None:
    """Note what the database is being filled from, before anything is made in it."""
    with connection, connection.cursor() as cursor:
        cursor.execute(MAKE_RECORD)
        cursor.execute(f"DELETE FROM {SCHEMA}.{RESTORE_TABLE}")  # noqa: S608 - constants
        cursor.execute(f"INSERT INTO {SCHEMA}.{RESTORE_TABLE} VALUES (%s, false)", (sha256,))  # noqa: S608 - constants


def make_tables(store: migration.Store, revision: str) -> None:
    """Have MLflow's migrations make the tables as they are at a revision."""
    print(f"Making the tables of revision {revision}.", flush=True)
    uri = store.uri.removesuffix(migration.KEEP_ALIVE)
    variables = {URI_VARIABLE: uri, REVISION_VARIABLE: revision}
    migration.run_upgrade(store, [sys.executable, "-c", UPGRADE_TO], "MLflow's migration", variables)
    found = migration.revision_of(store)
    if found != revision:
        raise CheckFailed(
            "MigrationFailed",
            f"MLflow's migrations ended well, but the database is at revision {found}, not {revision}: read the log of the "
            "Job's pod.",
        )


def fill(
    connection: "extensions.connection", source: SignedStore, manifest: Manifest, options: argparse.Namespace
) -> None:
    """Copy rows and artifacts. The rows count when all is there, and are checked against each other at the end."""
    with refusing_bad_rows(), connection, connection.cursor() as cursor:
        cursor.execute(NO_LIMITS)
        with without_foreign_keys(cursor):
            empty_tables(cursor)
            reader = PartReader(source, manifest.parts)
            with tarfile.open(mode="r|", fileobj=reader) as tar:
                member = copy_in(cursor, tar, manifest)
                copy_artifacts(tar, member, manifest, options)
            read_to_the_end(reader)
            go_on_counting(cursor, manifest)
            moved = move_places(cursor, manifest.artifact_root, options.artifact_root)
            print(f"{moved} rows name {options.artifact_root} now.", flush=True)
        cursor.execute(f"UPDATE {SCHEMA}.{RESTORE_TABLE} SET is_complete = true")  # noqa: S608 - constants
    with connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@contextlib.contextmanager
def refusing_bad_rows() -> Iterator[None]:
    """Raise CheckFailed where rows do not fit the tables, or each other; what the connection does is told by whoever has made it."""
    import psycopg2

    try:
        yield
    except (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError) as error:
        said = " ".join(str(error).split())[: s3.LONGEST_ANSWER]
        raise CheckFailed(
            "BackupBroken", f"The rows of the backup do not fit MLflow's tables: {said}"
        ) from error


def copy_artifacts(
    tar: tarfile.TarFile, member: tarfile.TarInfo | None, manifest: Manifest, options: argparse.Namespace
) -> None:
    """Upload the artifacts with the server's own identity, which reaches nothing but its prefix."""
    client = None if options.trial else s3.s3_client(attempts=ATTEMPTS)
    count = size = 0
    while member is not None:
        if not member.name.startswith(ARTIFACTS_FOLDER):
            raise CheckFailed("BackupBroken", f"The backup holds {member.name!r}, which is no artifact.")
        key = f"{options.prefix}/{member.name.removeprefix(ARTIFACTS_FOLDER)}"
        if client is not None:
            upload(client, options.bucket, key, tar, member)
        count, size = count + 1, size + member.size
        if count % 1000 == 0:
            print(f"Copied {count} artifacts, {size} bytes.", flush=True)
        member = tar.next()
    print(f"Copied {count} artifacts, {size} bytes.", flush=True)
    if (count, size) != (manifest.objects, manifest.object_bytes):
        raise CheckFailed(
            "BackupBroken",
            f"The backup holds {count} artifacts with {size} bytes, and its manifest says {manifest.objects} with "
            f"{manifest.object_bytes}. Take another backup.",
        )


def read_to_the_end(reader: PartReader) -> None:
    """Read what is behind the last member, too: each part is what was stored, or nothing of the backup counts."""
    while reader.read(1 << 20):
        pass


class Content(io.RawIOBase):
    """The bytes of a member of a tar file that is read from beginning to end: the file itself fails where it is asked whether it can seek."""

    def __init__(self, member: IO[bytes]) -> None:
        super().__init__()
        self._member = member

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Give the next bytes; 0 at the end."""
        data = self._member.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def upload(client: "S3Client", bucket: str, key: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Upload one artifact, in parts where it is large."""
    from boto3.s3.transfer import TransferConfig

    content = tar.extractfile(member)
    if content is None:
        raise CheckFailed("BackupBroken", f"{member.name} of the backup is no file. Take another backup.")
    with s3.asking(f"PutObject of {key}", IDENTITY):
        client.upload_fileobj(
            io.BufferedReader(Content(content)),
            bucket,
            key,
            ExtraArgs=s3.added_to_uploads(),
            Config=TransferConfig(use_threads=False),
        )
