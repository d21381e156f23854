"""The rows of a server's own database as text, table by table: copied out of one snapshot, and into another database.

PostgreSQL's own COPY does both, so any release reads what any other one wrote; the schema itself is not copied, as MLflow's
migrations make it (decision 0070). Statements run with the server's own login.
"""

import contextlib
import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tracking_operator.pod_tools.backup_manifest import DATABASE_FOLDER, Manifest, Table
from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.database_servers import (
    CONNECT_TIMEOUT_SECONDS,
    POSTGRES,
    SERVICE,
    connection_failure,
    sqlstate_of,
)
from tracking_operator.pod_tools.schema_revision import LOGIN_TABLE, SCHEMA_TABLE

if TYPE_CHECKING:
    from psycopg2 import extensions, sql

SCHEMA = "public"
RESTORE_TABLE = "tracking_operator_restore"
"""Says in a database that was filled from a backup from which one, and whether all of it is there."""
NEVER_COPIED = frozenset({SCHEMA_TABLE, LOGIN_TABLE, RESTORE_TABLE})

PIECE_BYTES = 4 << 20
"""So much text is compressed at a time, and is one member of the tar file."""

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
NO_LIMITS = (
    "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name IN "
    "('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)
"""PostgreSQL 17 has a limit for transactions, too."""

COLUMNS = """
SELECT c.relname, a.attname, pg_catalog.pg_get_serial_sequence(
    pg_catalog.quote_ident('public') || '.' || pg_catalog.quote_ident(c.relname), a.attname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY c.relname, a.attnum
"""
FOREIGN_KEYS = """
SELECT c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relnamespace = 'public'::pg_catalog.regnamespace
ORDER BY c.relname, k.conname
"""

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns that say where artifacts are (mlflow/store/tracking/dbmodels/models.py and mlflow/store/model_registry/dbmodels/models.py,
3.18.0)."""
PLACES_IN_TAGS = ("mlflow.artifactLocation", "mlflow.trace.archiveLocation")
"""Tags of traces that do (mlflow/utils/mlflow_tags.py, mlflow/tracing/constant.py, 3.18.0)."""
TAGS_OF_TRACES = "trace_tags"


@contextlib.contextmanager
def own_database() -> Iterator["extensions.connection"]:
    """A session with the server's own login; what the database says no to is raised as CheckFailed."""
    import psycopg2

    try:
        with contextlib.closing(
            psycopg2.connect(
                service=SERVICE,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
        ) as connection:
            connection.set_client_encoding("UTF8")
            yield connection
    except psycopg2.Error as error:
        raise connection_failure(str(error), None, POSTGRES, sqlstate_of(error)) from error


def copy_out(
    connection: "extensions.connection", tar: tarfile.TarFile, left_out: frozenset[str]
) -> tuple[Mapping[str, Table], Mapping[str, int]]:
    """Copy all tables but those ``left_out``, as they are at one moment; return what was copied, and how far columns count."""
    tables: dict[str, Table] = {}
    with connection, connection.cursor() as cursor:
        cursor.execute(SNAPSHOT)
        cursor.execute(NO_LIMITS)
        columns, counters = columns_in(cursor)
        for name, of_table in columns.items():
            if name not in left_out | NEVER_COPIED:
                tables[name] = Table(of_table, copy_table_out(cursor, tar, name, of_table))
                print(f"Copied {tables[name].rows} rows of {name}.", flush=True)
        sequences = {
            column: next_of(cursor, sequence)
            for column, sequence in counters.items()
            if column.partition(".")[0] in tables
        }
    return tables, sequences


def columns_in(cursor: "extensions.cursor") -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The columns of each table, and the sequence of each column that counts, by "table.column"."""
    columns: dict[str, tuple[str, ...]] = {}
    counters: dict[str, str] = {}
    cursor.execute(COLUMNS)
    for table, column, sequence in cursor.fetchall():
        columns[table] = (*columns.get(table, ()), column)
        if sequence:
            counters[f"{table}.{column}"] = sequence
    return columns, counters


def next_of(cursor: "extensions.cursor", sequence: str) -> int:
    """The next number of a sequence, whose name is quoted already."""
    cursor.execute(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608 - quoted by PostgreSQL
    found = cursor.fetchone()
    last, is_called = found or (1, False)
    return int(last) + (1 if is_called else 0)


def copy_table_out(
    cursor: "extensions.cursor", tar: tarfile.TarFile, table: str, columns: tuple[str, ...]
) -> int:
    """Copy the rows of a table; return how many there are."""
    pieces = Pieces(tar, table)
    cursor.copy_expert(copy_statement(cursor, table, columns, "TO STDOUT"), pieces)
    pieces.finish()
    return cursor.rowcount


def copy_statement(cursor: "extensions.cursor", table: str, columns: tuple[str, ...], direction: str) -> str:
    """A COPY with its names quoted."""
    from psycopg2 import sql

    statement = sql.SQL("COPY {} ({}) {}").format(
        sql.Identifier(SCHEMA, table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(direction),
    )
    return statement.as_string(cursor)


class Pieces:
    """Takes the text of a table, and makes compressed members of it: ``database/TABLE/000000.copy.gz`` and so on."""

    def __init__(self, tar: tarfile.TarFile, table: str) -> None:
        self._tar = tar
        self._folder = f"{DATABASE_FOLDER}{table}/"
        self._buffer = bytearray()
        self._count = 0

    def write(self, data: bytes) -> int:
        """Take some of the text."""
        self._buffer += data
        if len(self._buffer) >= PIECE_BYTES:
            self.finish()
        return len(data)

    def finish(self) -> None:
        """Store what is there."""
        if not self._buffer:
            return
        content = gzip.compress(self._buffer, compresslevel=3, mtime=0)
        member = tarfile.TarInfo(f"{self._folder}{self._count:06}.copy.gz")
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        self._buffer.clear()
        self._count += 1


class Text(io.RawIOBase):
    """The text of one table again, read from its members, which follow each other."""

    def __init__(self, tar: tarfile.TarFile, first: tarfile.TarInfo) -> None:
        super().__init__()
        self._tar = tar
        self.table = first.name.removeprefix(DATABASE_FOLDER).rpartition("/")[0]
        self.after: tarfile.TarInfo | None = first
        """The first member that is not of this table any more; None at the end."""
        self._piece: io.BufferedIOBase | None = self._opened(first)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Give the next bytes; 0 at the end of the table."""
        while self._piece is not None:
            if count := self._piece.readinto(buffer):
                return count
            self.after = self._tar.next()
            is_same = self.after and self.after.name.startswith(f"{DATABASE_FOLDER}{self.table}/")
            self._piece = self._opened(self.after) if self.after and is_same else None
        return 0

    def skip(self) -> None:
        """Read to the end."""
        while self.read(PIECE_BYTES):
            pass

    def _opened(self, member: tarfile.TarInfo) -> io.BufferedIOBase:
        content = self._tar.extractfile(member)
        if content is None:
            raise CheckFailed("BackupBroken", f"{member.name} of the backup is no file. Take another backup.")
        return gzip.GzipFile(fileobj=content)


def copy_in(cursor: "extensions.cursor", tar: tarfile.TarFile, manifest: Manifest) -> tarfile.TarInfo | None:
    """Fill empty tables; return the first member of the tar file that is no row of a table."""
    known, _ = columns_in(cursor)
    rows = dict.fromkeys(manifest.tables, 0)
    member = tar.next()
    while member is not None and member.name.startswith(DATABASE_FOLDER):
        text = Text(tar, member)
        table = manifest.tables.get(text.table)
        if table is None or text.table not in known:
            print(f"MLflow has no table {text.table}: its rows are left out.", flush=True)
            rows.pop(text.table, None)
            text.skip()
        else:
            cursor.copy_expert(copy_statement(cursor, text.table, table.columns, "FROM STDIN"), text)
            text.skip()
            rows[text.table] = cursor.rowcount
            print(f"Copied {cursor.rowcount} rows into {text.table}.", flush=True)
        member = text.after
    for name, count in rows.items():
        if count != manifest.tables[name].rows:
            raise CheckFailed(
                "BackupBroken",
                f"Table {name} got {count} rows, and the manifest has {manifest.tables[name].rows}. Take another backup.",
            )
    return member


@contextlib.contextmanager
def without_foreign_keys(cursor: "extensions.cursor") -> Iterator[None]:
    """Have no foreign keys meanwhile, as tables refer to each other and to themselves; afterwards all rows are checked."""
    from psycopg2 import sql

    cursor.execute(FOREIGN_KEYS)
    keys = [
        (sql.Identifier(SCHEMA, table), sql.Identifier(name), sql.SQL(definition))
        for table, name, definition in cursor.fetchall()
    ]
    for table, name, _ in keys:
        cursor.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, name))
    yield
    for table, name, definition in keys:
        cursor.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, name, definition))


def empty_tables(cursor: "extensions.cursor") -> None:
    """Remove what MLflow's migrations, or an attempt before, have put into the tables."""
    from psycopg2 import sql

    columns, _ = columns_in(cursor)
    names = [sql.Identifier(SCHEMA, name) for name in columns if name not in NEVER_COPIED]
    if names:
        cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names)))


def go_on_counting(cursor: "extensions.cursor", manifest: Manifest) -> None:
    """Have columns that count go on where those of the backup were."""
    _, counters = columns_in(cursor)
    for column, sequence in counters.items():
        if column in manifest.sequences:
            cursor.execute("SELECT pg_catalog.setval(%s, %s, false)", (sequence, manifest.sequences[column]))


def move_places(cursor: "extensions.cursor", old: str, new: str) -> int:
    """Have rows that say where artifacts are name the new place instead of the old one; return how many did."""
    from psycopg2 import sql

    if old == new:
        return 0
    columns, _ = columns_in(cursor)
    moved = 0
    for table, column in PLACES:
        if column in columns.get(table, ()):
            cursor.execute(*moving(sql.Identifier(SCHEMA, table), sql.Identifier(column), old, new))
            moved += cursor.rowcount
    if TAGS_OF_TRACES in columns:
        statement, values = moving(sql.Identifier(SCHEMA, TAGS_OF_TRACES), sql.Identifier("value"), old, new)
        cursor.execute(statement + sql.SQL(" AND key = ANY(%s)"), (*values, list(PLACES_IN_TAGS)))
        moved += cursor.rowcount
    return moved


def moving(
    table: "sql.Identifier", column: "sql.Identifier", old: str, new: str
) -> "tuple[sql.Composed, tuple[str | int, ...]]":
    """The statement, and its values: what is at the old place or below it. No place begins like another one by chance."""
    from psycopg2 import sql

    statement = sql.SQL(
        "UPDATE {table} SET {column} = %s || pg_catalog.substr({column}, %s) "
        "WHERE ({column} = %s OR pg_catalog.starts_with({column}, %s))"
    ).format(table=table, column=column)
    return statement, (new, len(old) + 1, old, f"{old}/")
