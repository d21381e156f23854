"""Runs in a Job: removes runs and logged models that a team has deleted long ago, with their artifacts, from its own database and prefix.

    collect-garbage postgres SERVICE_FILE --version 3.18.0 --artifact-root s3://ml-artifacts/team-a/mlflow \
        --bucket ml-artifacts --prefix team-a/mlflow --older-than-hours 720 --keep-registered --dry-run

As `mlflow gc`, but with what that lacks (3.16.1 to 3.18.0: mlflow/cli/__init__.py, ``_gc_tracking_resources``). What a version of a
registered model needs is kept: `mlflow gc` removes its files and leaves its alias. What cannot be removed is noted, and the rest goes on.
No server has to run: places behind its proxy are found in the prefix.

The server goes on serving. Nobody migrates or backs up meanwhile, as the lock of migrations is held (decision 0054). Of each batch the
rows are locked first, so that nobody restores a run whose files are going; files go before rows, so that an attempt that is ended leaves
nothing that no row names. What happened goes to the termination log, and into the exit code.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tracking_operator.object_removal import MOST_PER_REQUEST, remove_objects
from tracking_operator.pod_tools import migrate_backend_store as migration
from tracking_operator.pod_tools import s3, start_server
from tracking_operator.pod_tools.checks import CheckFailed, report
from tracking_operator.pod_tools.database_rows import NO_LIMITS, own_database
from tracking_operator.pod_tools.programs import CREDENTIALS
from tracking_operator.pod_tools.schema_revision import require_version

if TYPE_CHECKING:
    from psycopg2 import extensions, sql
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

BATCH = 100
MOST_AT_A_TIME = 100_000
"""Of runs, and of logged models. The next time goes on."""
MOST_NAMED = 20
"""How many ids are told of those that are kept, and of those that could not be removed. The log has all."""
ATTEMPTS = 5
PROXIED = "mlflow-artifacts"
IDENTITY = s3.Identity(
    "The operator makes the identity: the server's condition ArtifactStoreReady says how far it is."
)


@dataclass(frozen=True)
class Kind:
    """What is removed: a table of MLflow's, and its columns (mlflow/store/tracking/dbmodels/models.py, 3.16.1 to 3.18.0)."""

    table: str
    id: str
    place: str
    deleted_at: str
    """In milliseconds since 1970. A logged model has no column of its own for it."""


RUNS = Kind("runs", "run_uuid", "artifact_uri", "deleted_time")
LOGGED_MODELS = Kind("logged_models", "model_id", "artifact_location", "last_updated_timestamp_ms")

DELETED = """
SELECT {id}, {place} FROM public.{table} WHERE lifecycle_stage = 'deleted' AND {deleted_at} <= %(before)s
ORDER BY {id} LIMIT %(most)s
"""
LOCKED = """
SELECT {id} FROM public.{table} WHERE {id} = ANY(%(ids)s) AND lifecycle_stage = 'deleted' AND {deleted_at} <= %(before)s
FOR UPDATE
"""
NEEDED = """
SELECT DISTINCT t.{id} FROM public.{table} AS t JOIN public.model_versions AS v ON v.run_id = t.{id}
WHERE t.{id} = ANY(%(ids)s)
UNION SELECT DISTINCT t.{id} FROM public.{table} AS t
CROSS JOIN LATERAL (VALUES (t.{place}), ('runs:/' || t.{id}), ('models:/' || t.{id})) AS named(place)
JOIN (SELECT source FROM public.model_versions UNION SELECT storage_location FROM public.model_versions) AS v(source)
    ON v.source = named.place OR pg_catalog.starts_with(v.source, named.place || '/')
WHERE t.{id} = ANY(%(ids)s)
"""
"""By its run, or by where it is. What MLflow deletes of the registry names neither any more (store/model_registry/sqlalchemy_store.py)."""
CHILDREN = """
SELECT c.relname, a.attname
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f' AND k.confdeltype IN ('a', 'r') AND c.relnamespace = 'public'::pg_catalog.regnamespace
    AND k.confrelid = pg_catalog.to_regclass(%(table)s) AND pg_catalog.cardinality(k.conkey) = 1
ORDER BY c.relname
"""
"""Tables whose rows keep others from going, unless they go first; PostgreSQL removes those of other tables by itself."""


@dataclass
class Collected:
    """What became of what was deleted."""

    is_dry_run: bool
    removed: int = 0
    bytes: int = 0
    kept: list[str] = field(default_factory=list)
    """What versions of registered models need."""
    failed: list[str] = field(default_factory=list)
    """What could not be removed."""

    def as_sentence(self) -> str:
        """What a person reads."""
        verb = "would be" if self.is_dry_run else "were"
        said = f"{self.removed} deleted runs and logged models and {self.bytes} bytes of their artifacts {verb} removed."
        if self.kept:
            said += f" {len(self.kept)} are kept, because versions of registered models need them."
        if self.failed:
            said += f" {len(self.failed)} could not be removed: the log of the Job's pod says why."
        return said

    def as_json(self) -> dict[str, object]:
        """What the operator reads."""
        return {
            "dryRun": self.is_dry_run,
            "removed": self.removed,
            "bytes": self.bytes,
            "keptCount": len(self.kept),
            "kept": sorted(self.kept)[:MOST_NAMED],
            "failedCount": len(self.failed),
            "failed": sorted(self.failed)[:MOST_NAMED],
        }


def main(arguments: list[str] | None = None) -> int:
    """Collect and report; return the exit code."""
    options = parse_arguments(arguments)
    os.environ.update(start_server.credentials_environment(CREDENTIALS))
    try:
        require_version(options.version)
        collected = collect(options)
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report("", collected.as_sentence(), collected=collected.as_json())


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["postgres"])
    parser.add_argument("place", help="libpq's service file")
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--artifact-root", required=True, help="where artifacts are, as MLflow names it")
    parser.add_argument("--bucket", required=True, help="the bucket with the artifacts")
    parser.add_argument(
        "--prefix", required=True, help="the server's own prefix in it, without a slash at its end"
    )
    parser.add_argument("--older-than-hours", type=int, required=True, help="since when it has to be deleted")
    parser.add_argument(
        "--keep-registered", action="store_true", help="keep what versions of registered models need"
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, and say what would be")
    return parser.parse_args(arguments)


def collect(options: argparse.Namespace) -> Collected:
    """Remove what is due, or find it."""
    collected = Collected(options.dry_run)
    store = migration.store_of(options)
    with migration.locked(store):
        if migration.revision_of(store) is None:
            return collected
        with own_database() as connection:
            collection = Collection(
                connection,
                Folders(s3.s3_client(attempts=ATTEMPTS), options.bucket, options.prefix),
                before=int(time.time() * 1000) - options.older_than_hours * 3_600_000,
                keeps_registered=options.keep_registered,
                collected=collected,
            )
            for kind in (RUNS, LOGGED_MODELS):
                collection.collect(kind)
    return collected


class NoPlaceError(Exception):
    """A row names no folder of its own under the server's prefix."""


@dataclass(frozen=True)
class Folders:
    """The folders of runs and logged models under the server's prefix."""

    client: "S3Client"
    bucket: str
    prefix: str

    def folder_of(self, id_: str, place: str | None) -> str:
        """The folder of a row, with a slash at its end. Raises NoPlaceError.

        It has the row's id in it, so that no row leads to the files of others.
        """
        parts = urlsplit(place or "")
        path = unquote(parts.path).strip("/")
        if parts.scheme == PROXIED and not parts.netloc:
            path = f"{self.prefix}/{path}"
        elif parts.scheme != "s3" or parts.netloc != self.bucket:
            raise NoPlaceError(f"{place!r} is not in the server's own bucket")
        names = path.removeprefix(f"{self.prefix}/").split("/")
        if not path.startswith(f"{self.prefix}/") or {"", ".", ".."} & set(names):
            raise NoPlaceError(f"{place!r} is not under the server's own prefix")
        if id_ not in names:
            raise NoPlaceError(f"{place!r} is no folder of its own")
        return f"{path}/"

    def objects(self, folder: str) -> "Iterator[list[tuple[ObjectIdentifierTypeDef, int]]]":
        """The objects in a folder and their sizes, in parts of a thousand. Raises CheckFailed."""
        with s3.asking(f"ListObjectsV2 of {folder}", IDENTITY):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=folder, PaginationConfig={"PageSize": MOST_PER_REQUEST}
            )
            for page in pages:
                found = page.get("Contents", [])
                if any(not one["Key"].startswith(folder) for one in found):
                    raise CheckFailed(
                        "StoreFailed", f"The object store listed others although only {folder} was asked for."
                    )
                yield [({"Key": one["Key"]}, one["Size"]) for one in found]

    def size(self, folder: str) -> int:
        """How many bytes are in a folder."""
        return sum(size for page in self.objects(folder) for _, size in page)

    def remove(self, folder: str) -> int:
        """Remove all that is in a folder; return how many bytes that were. Raises CheckFailed, NoPlaceError."""
        removed = 0
        for page in self.objects(folder):
            if not page:
                continue
            with s3.asking(f"DeleteObjects under {folder}", IDENTITY):
                errors = remove_objects(self.client, self.bucket, [one for one, _ in page])
            if errors:
                said = f"{errors[0].get('Code')}: {s3.shortened(errors[0].get('Message', ''))}"
                raise NoPlaceError(f"{len(errors)} objects under {folder} could not be removed ({said})")
            removed += sum(size for _, size in page)
        return removed


@dataclass(frozen=True)
class Collection:
    """One time that garbage is collected."""

    connection: "extensions.connection"
    folders: Folders
    before: int
    """In milliseconds since 1970: what was deleted later stays."""
    keeps_registered: bool
    collected: Collected

    def collect(self, kind: Kind) -> None:
        """Remove what is due of one table."""
        due = self._due(kind)
        for start in range(0, len(due), BATCH):
            batch = dict(due[start : start + BATCH])
            with self.connection, self.connection.cursor() as cursor:
                cursor.execute(NO_LIMITS)
                if self.collected.is_dry_run:
                    self._look(batch)
                else:
                    self._remove(cursor, kind, batch)
            print(
                f"{kind.table}: {min(start + BATCH, len(due))} of {len(due)} that are due, "
                f"{self.collected.bytes} bytes so far.",
                flush=True,
            )

    def _due(self, kind: Kind) -> list[tuple[str, str]]:
        """What may go, and its folder. What may not is noted."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(NO_LIMITS)
            cursor.execute(_statement(DELETED, kind, cursor), {"before": self.before, "most": MOST_AT_A_TIME})
            folders = dict(self._folders_of(kind, cursor.fetchall()))
            needed = self._needed(cursor, kind, list(folders))
        self._note_kept(kind, needed)
        return [(id_, folder) for id_, folder in folders.items() if id_ not in needed]

    def _folders_of(self, kind: Kind, rows: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, str]]:
        """Each id with its folder; what has none of its own is noted."""
        for id_, place in rows:
            try:
                yield id_, self.folders.folder_of(id_, place)
            except NoPlaceError as error:
                self._note_failure(kind, id_, error)

    def _needed(self, cursor: "extensions.cursor", kind: Kind, ids: Sequence[str]) -> set[str]:
        """Which of these versions of registered models need."""
        if not self.keeps_registered or not ids:
            return set()
        cursor.execute(_statement(NEEDED, kind, cursor), {"ids": list(ids)})
        return {str(id_) for (id_,) in cursor.fetchall()}

    def _look(self, batch: dict[str, str]) -> None:
        for folder in batch.values():
            self.collected.bytes += self.folders.size(folder)
            self.collected.removed += 1

    def _remove(self, cursor: "extensions.cursor", kind: Kind, batch: dict[str, str]) -> None:
        cursor.execute(_statement(LOCKED, kind, cursor), {"ids": list(batch), "before": self.before})
        still = {str(id_) for (id_,) in cursor.fetchall()}
        needed = self._needed(cursor, kind, sorted(still))
        self._note_kept(kind, needed)
        gone = []
        for id_ in sorted(still - needed):
            try:
                self.collected.bytes += self.folders.remove(batch[id_])
            except NoPlaceError as error:
                self._note_failure(kind, id_, error)
                continue
            gone.append(id_)
        if not gone:
            return
        cursor.execute(CHILDREN, {"table": f"public.{kind.table}"})
        for table, column in cursor.fetchall():
            cursor.execute(_deletion(cursor, table, column), {"ids": gone})
        cursor.execute(_deletion(cursor, kind.table, kind.id), {"ids": gone})
        self.collected.removed += len(gone)

    def _note_kept(self, kind: Kind, ids: set[str]) -> None:
        for id_ in sorted(ids - set(self.collected.kept)):
            print(
                f"{kind.table} {id_} is kept: a version of a registered model needs it. Delete that version first.",
                flush=True,
            )
            self.collected.kept.append(id_)

    def _note_failure(self, kind: Kind, id_: str, error: NoPlaceError) -> None:
        print(f"{kind.table} {id_} is not removed: {error}.", flush=True)
        self.collected.failed.append(id_)


def _statement(text: str, kind: Kind, cursor: "extensions.cursor") -> str:
    """A statement with a kind's table and columns in it."""
    from psycopg2 import sql

    names = {name: sql.Identifier(getattr(kind, name)) for name in ("table", "id", "place", "deleted_at")}
    return sql.SQL(text).format(**names).as_string(cursor)


def _deletion(cursor: "extensions.cursor", table: str, column: str) -> "sql.Composed":
    from psycopg2 import sql

    return sql.SQL("DELETE FROM public.{} WHERE {} = ANY(%(ids)s)").format(
        sql.Identifier(table), sql.Identifier(column)
    )
