"""Runs in the init container: is this backend store one that this image's MLflow may open?

    check-backend-store sqlite FILE --version 3.17.2
    check-backend-store postgres SERVICE_FILE --version 3.17.2
    check-backend-store external URI_FILE --version 3.17.2

With ``--login`` the tables of MLflow's own login are looked at, too; they lie in the same database. A SQLite database is brought up to the image's schema, after the old file was put aside. A database on a
server is only looked at: a Job migrates it (``migrate_backend_store.py``). What was found is written as JSON (``reason``, ``message``,
``revision``) to the termination log, from where the operator takes it into the server's conditions.

It does not import mlflow, which would cost seconds at every start of a pod.
"""

import argparse
import contextlib
import errno
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tracking_operator.outcomes import EXIT_CODES, OUTCOMES
from tracking_operator.pod_tools.programs import MOVE_ENCRYPTION, PREPARE_LOGIN, command_line
from tracking_operator.store_answers import Answer, database_answer

if TYPE_CHECKING:
    import sqlalchemy

Found = TypeVar("Found")

TERMINATION_LOG = Path(os.environ.get("TRACKING_OPERATOR_TERMINATION_LOG", "/dev/termination-log"))
EMPTY_DATABASE = Path(
    os.environ.get("TRACKING_OPERATOR_EMPTY_DATABASE", "/usr/local/share/tracking-operator/empty.db")
)
"""A database without a run in it, at the image's own schema; our image has one, others may not."""

PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 1.0
CONNECT_TIMEOUT_SECONDS = 5
ATTEMPT_SECONDS = 20.0
"""For one attempt as a whole: a database server that is frozen accepts connections and questions, and says nothing."""
SCHEMA_TABLE = "alembic_version"
LOGIN_TABLE = "alembic_version_auth"
"""Where Alembic keeps the revision of MLflow's schema, and that of the tables of its login."""
REVISION = {
    SCHEMA_TABLE: "SELECT version_num FROM alembic_version",
    LOGIN_TABLE: "SELECT version_num FROM alembic_version_auth",
}
URI_VARIABLE = "TRACKING_OPERATOR_DATABASE_URI"
UNREADABLE = 3
"""How ``move_encryption.py`` ends where the keys of the Secret do not open everything."""
ENCRYPTED_ROWS = "SELECT COUNT(*) FROM secrets"
"""The table of the AI gateway's API keys."""
CREDENTIALS = Path(os.environ.get("TRACKING_OPERATOR_CREDENTIALS", "/etc/mlflow"))
LOGIN_CREDENTIALS = CREDENTIALS / "login"
ENCRYPTION_CREDENTIALS = CREDENTIALS / "encryption"

SERVICE = "mlflow"
"""The section of libpq's service file that the operator writes."""
SERVICE_URI = f"postgresql+psycopg2:///?service={SERVICE}"
"""No password in it: libpq reads the rest from the service file."""
LONGEST_MESSAGE = 600
"""In characters. Kubelet keeps 4096 bytes of a termination log, and half a JSON object cannot be read."""

FULL_DISK = ("disk is full", "No space left on device", "disk I/O error")


class CheckFailed(Exception):
    """The server must not start on this store; ``reason`` is one of those with an exit code in ``outcomes.py``."""

    def __init__(self, reason: str, message: str, *, is_awaited: bool | None = None) -> None:
        """``is_awaited`` is for what passes otherwise than the table says: whether it may be over within our patience."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.is_awaited = OUTCOMES[reason].pods_wait if is_awaited is None else is_awaited


@dataclass(frozen=True)
class Migrations:
    """The chain of schema revisions that an installed MLflow knows."""

    revisions: frozenset[str]
    head: str


@dataclass(frozen=True)
class Kind:
    """Whose database it is: what somebody should do about a refused login, and what the operator still brings."""

    login: str
    brought: frozenset[str] = frozenset()
    """Reasons that a pod waits for, because the operator is at it."""

    def failure(self, reason: str, message: str) -> CheckFailed:
        """A failure that is waited for, or not, as with this kind of database."""
        return CheckFailed(reason, message, is_awaited=True if reason in self.brought else None)


WAIT_FOR_JOB = "the migration Job brings it up; the server's condition SchemaReady says how far it is."

EXTERNAL = Kind(login="Correct the URI in the Secret.")
POSTGRES = Kind(
    login="The operator makes the login and its Secret: the server's condition BackendStoreReady says how far it is.",
    # The kubelet may still bring the Secret, the operator may still make the role, the Job may still run.
    brought=frozenset({"LoginRefused", "SchemaMissing", "SchemaBehind"}),
)


def main(arguments: list[str] | None = None) -> int:
    """Check the store that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    try:
        require_version(options.version)
        migrations = installed_migrations()
        logins = installed_login_migrations() if options.login else None
        revision, login_revision = check_store(options, migrations, logins)
        unreadable = move_encryption(options)
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    message = f"The backend store is at revision {revision}."
    if unreadable:
        return report(
            "EncryptionKeyLost",
            f"{message} {unreadable}",
            revision,
            login_revision=login_revision,
            is_remark=True,
        )
    return report("", message, revision, login_revision=login_revision)


def check_store(
    options: argparse.Namespace, migrations: "Migrations", logins: "Migrations | None"
) -> tuple[str, str]:
    """Check the store; return its revision, and that of the login's tables if they are asked for."""
    version = options.version
    match options.kind:
        case "sqlite":
            database = Path(options.place)
            revision = prepare_sqlite(database, migrations, version)
            return revision, prepare_sqlite_login(database, logins, version) if logins else ""
        case "postgres":
            use_service_file(options.place)
            revision = with_retries(lambda: check_postgres(migrations, version))
            return revision, with_retries(
                lambda: check_postgres(logins, version, LOGIN_TABLE)
            ) if logins else ""
        case _:
            uri = read_uri(Path(options.place))
            revision = with_retries(lambda: check_external(uri, migrations, version))
            return revision, with_retries(
                lambda: check_external(uri, logins, version, LOGIN_TABLE)
            ) if logins else ""


def move_encryption(options: argparse.Namespace) -> str:
    """See to it that what is encrypted in the database can be read with the keys of the Secret; say it if it cannot be."""
    if not (ENCRYPTION_CREDENTIALS / "kekPassphrase").is_file():
        return ""
    match options.kind:
        case "sqlite":
            uri, rows = f"sqlite:///{options.place}", encrypted_in_sqlite(Path(options.place))
        case "postgres":
            uri, rows = SERVICE_URI, with_retries(encrypted_in_postgres)
        case _:
            uri = read_uri(Path(options.place))
            rows = with_retries(lambda: encrypted_in_external(uri))
    if not rows:
        return ""
    moved = subprocess.run(
        command_line(MOVE_ENCRYPTION),
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {URI_VARIABLE: uri},
    )
    if moved.returncode == UNREADABLE:
        return (
            "API keys of MLflow's AI gateway in the database cannot be read with the keys of the Secret for encryption: restore that "
            "Secret from a backup, or delete these API keys in MLflow and enter them again."
        )
    if moved.returncode != 0:
        last_line = (moved.stderr.strip().splitlines() or ["no output"])[-1]
        raise CheckFailed(
            "MigrationFailed", f"What is encrypted could not be moved to the server's own key: {last_line}"
        )
    print("What is encrypted in the database is the server's own.", flush=True)
    return ""


def encrypted_in_sqlite(database: Path) -> bool:
    """Whether a file holds encrypted rows."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as connection:
        try:
            return bool(connection.execute(ENCRYPTED_ROWS).fetchone()[0])
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return False
            raise CheckFailed("StoreUnreachable", f"{database} cannot be used: {error}.") from error


def encrypted_in_postgres() -> bool:
    """Whether the server's own database holds encrypted rows."""
    import psycopg2

    try:
        with contextlib.closing(
            psycopg2.connect(service=SERVICE, connect_timeout=CONNECT_TIMEOUT_SECONDS)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(ENCRYPTED_ROWS)
                row = cursor.fetchone()
    except psycopg2.errors.UndefinedTable:
        return False
    except psycopg2.Error as error:
        raise connection_failure(str(error), None, POSTGRES, sqlstate_of(error)) from error
    return bool(row and row[0])


def encrypted_in_external(uri: str) -> bool:
    """Whether somebody else's database holds encrypted rows."""
    import sqlalchemy

    with connected(uri, EXTERNAL) as connection:
        is_there = sqlalchemy.inspect(connection).has_table("secrets")
        return is_there and bool(connection.scalar(sqlalchemy.text(ENCRYPTED_ROWS)))


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["sqlite", "postgres", "external"])
    parser.add_argument(
        "place", help="the SQLite file, libpq's service file, or the file that holds the database URI"
    )
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--login", action="store_true", help="look at the tables of MLflow's login, too")
    return parser.parse_args(arguments)


def report(
    reason: str, message: str, revision: str = "", *, login_revision: str = "", is_remark: bool = False
) -> int:
    """Tell the log and the operator what was found; return the exit code that says the same.

    A remark has a reason although all is well: the exit code is 0.
    """
    print(message, file=sys.stderr if reason else sys.stdout, flush=True)
    # Outside a pod there may be no termination log; what was found is already printed.
    with contextlib.suppress(OSError):
        said = {"reason": reason, "message": message[:LONGEST_MESSAGE], "revision": revision}
        said |= {"loginRevision": login_revision} if login_revision else {}
        TERMINATION_LOG.write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
    return EXIT_CODES[reason] if reason and not is_remark else 0


def require_version(wanted: str) -> None:
    """Refuse an image whose MLflow is not the version that the TrackingServer names."""
    try:
        found = importlib.metadata.version("mlflow")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != wanted:
        raise CheckFailed(
            "ImageVersionMismatch",
            f"The image holds MLflow {found}, but version {wanted} is asked for: "
            "set spec.version to what the image holds, or choose another image.",
        )


def installed_migrations() -> Migrations:
    """Read the schema revisions from the migration scripts of the installed MLflow, without importing it."""
    return migrations_below("store", "db_migrations", "versions")


def installed_login_migrations() -> Migrations:
    """The same for the tables of MLflow's own login."""
    return migrations_below("server", "auth", "db", "migrations", "versions")


def migrations_below(*folders: str) -> Migrations:
    """Read the revisions from a folder of the installed MLflow."""
    package = importlib.util.find_spec("mlflow")
    if package is None or not package.submodule_search_locations:
        raise CheckFailed("ImageVersionMismatch", "The image holds no MLflow package.")
    folder = Path(package.submodule_search_locations[0]).joinpath(*folders)
    return migrations_in(path.read_text() for path in folder.glob("*.py"))


def migrations_in(scripts: Iterable[str]) -> Migrations:
    """Work out the chain of revisions that Alembic scripts describe."""
    revisions: set[str] = set()
    replaced: set[str] = set()
    for script in scripts:
        for name, value in re.findall(r"^(revision|down_revision)\b[^=\n]*=(.*)", script, re.MULTILINE):
            found = revisions if name == "revision" else replaced
            found.update(re.findall(r"""["'](\w+)["']""", value))
    heads = revisions - replaced
    if len(heads) != 1:
        raise CheckFailed("MigrationFailed", f"The image's migrations have {len(heads)} heads, not one.")
    return Migrations(frozenset(revisions), heads.pop())


# SQLite: the only kind of store whose schema the pod itself changes. The Deployment's Recreate strategy
# guarantees that no other pod has the file open.


def prepare_sqlite(database: Path, migrations: Migrations, version: str) -> str:
    """Create or upgrade the database file; return its revision."""
    try:
        return bring_to_head(database, migrations, version)
    except (OSError, sqlite3.Error) as error:
        if is_full(error):
            raise full_volume(database) from error
        raise CheckFailed("StoreUnreachable", f"{database} cannot be used: {error}.") from error


def bring_to_head(database: Path, migrations: Migrations, version: str) -> str:
    """Make ``database`` a file at the image's newest revision, whatever it is now."""
    discard_unfinished(database)
    try:
        if not database.exists() or database.stat().st_size == 0:
            create(database, migrations)
        found = sqlite_revision(database)
        if found == migrations.head:
            return found
        if found is not None and found not in migrations.revisions:
            raise too_new(found, version)
        migrate(database, found, version)
    finally:
        discard_unfinished(database)
    return migrations.head


def create(database: Path, migrations: Migrations) -> None:
    """Put a new database in place, in one step that a crash cannot leave half done."""
    unfinished = working_copy(database)
    if EMPTY_DATABASE.exists() and sqlite_revision(EMPTY_DATABASE, "ro") == migrations.head:
        shutil.copyfile(EMPTY_DATABASE, unfinished)
    else:
        upgrade(unfinished)
    unfinished.replace(database)


def migrate(database: Path, found: str | None, version: str) -> None:
    """Upgrade a copy, keep the old file beside it, then put the copy in its place."""
    unfinished = copy_of(database)
    upgrade(unfinished)
    aside = database.with_name(f"{database.name}.{found or 'unversioned'}.before-{version}")
    aside.unlink(missing_ok=True)
    os.link(database, aside)
    unfinished.replace(database)
    print(f"The database was upgraded from {found}; the old one is kept as {aside.name}.", flush=True)


def prepare_sqlite_login(database: Path, migrations: Migrations, version: str) -> str:
    """Bring up the tables of MLflow's login in the database file, and see to its admin; return their revision."""
    try:
        found = sqlite_revision(database, table=LOGIN_TABLE)
        if found is not None:
            require_known(found, migrations, version)
        if found != migrations.head or not is_admin_known(database):
            prepare_login_in_copy(database)
        return migrations.head
    except (OSError, sqlite3.Error) as error:
        if is_full(error):
            raise full_volume(database) from error
        raise CheckFailed("StoreUnreachable", f"{database} cannot be used: {error}.") from error
    finally:
        discard_unfinished(database)


def is_admin_known(database: Path) -> bool:
    """Whether the admin can log in with what the Secret holds; what MLflow itself would ask costs seconds."""
    from werkzeug.security import check_password_hash  # MLflow's own

    name = (LOGIN_CREDENTIALS / "username").read_text().strip()
    files = [LOGIN_CREDENTIALS / "password", LOGIN_CREDENTIALS / "nextPassword"]
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "SELECT password_hash FROM users WHERE username = ? AND is_admin"
        row = connection.execute(query, [name]).fetchone()
    passwords = [file.read_text().strip() for file in files if file.is_file()]
    return row is not None and any(check_password_hash(row[0], one) for one in passwords)


def prepare_login_in_copy(database: Path) -> None:
    """Let MLflow prepare its login in a copy, then put that in its place: SQLite has no migrations that a crash undoes."""
    unfinished = copy_of(database)
    run_mlflow(
        command_line(PREPARE_LOGIN, "--own-store"),
        database,
        "The preparation of the login",
        {URI_VARIABLE: f"sqlite:///{unfinished}"},
    )
    with contextlib.closing(sqlite3.connect(unfinished)) as copy:
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    unfinished.replace(database)


def upgrade(database: Path) -> None:
    """Run MLflow's own migrations on a file that nobody else has open."""
    run_mlflow(
        [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database}"],
        database,
        "mlflow db upgrade",
    )


def run_mlflow(
    command: list[str], database: Path, what: str, variables: Mapping[str, str] | None = None
) -> None:
    """Run what changes a file that nobody else has open."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | dict(variables or {})
    )
    if done.returncode == 0:
        return
    print(done.stderr, file=sys.stderr, flush=True)
    if any(sign in done.stderr for sign in FULL_DISK):
        raise full_volume(database)
    last_line = (done.stderr.strip().splitlines() or ["no output"])[-1]
    raise CheckFailed("MigrationFailed", f"{what} failed on {database.name}: {last_line}")


def copy_of(database: Path) -> Path:
    """Copy the whole database to where it is made ready."""
    unfinished = working_copy(database)
    with contextlib.closing(sqlite3.connect(database)) as source:
        # Also writes back what a killed server may have left in its write-ahead log.
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.closing(sqlite3.connect(unfinished)) as copy:
            source.backup(copy)
    return unfinished


def working_copy(database: Path) -> Path:
    """Where a database is made ready before it takes its place."""
    return database.with_name(f"{database.name}.unfinished")


def discard_unfinished(database: Path) -> None:
    """Remove a working copy that an interrupted or failed run left behind: it takes the room of the real one."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        unfinished = working_copy(database)
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def sqlite_revision(database: Path, mode: str = "rw", table: str = SCHEMA_TABLE) -> str | None:
    """Read a revision from a SQLite file; None if it has none.

    ``rw``, because a transaction that a killed server left half done is rolled back by whoever opens the file next.
    """
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode={mode}", uri=True)) as connection:
        try:
            row = connection.execute(REVISION[table]).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return str(row[0]) if row else None


def is_full(error: Exception) -> bool:
    """Whether an error means that the volume has no room left."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
        sign in str(error) for sign in FULL_DISK
    )


def full_volume(database: Path) -> CheckFailed:
    """Say that there is no room, and what to do."""
    free = shutil.disk_usage(database.parent).free // 1024
    return CheckFailed(
        "VolumeFull",
        f"The volume of the backend store is full ({free} KiB free): raise spec.backendStore.sqlite.size "
        "where the storage class can expand volumes, or remove files from it.",
    )


# Databases on a server. Nothing is created, changed or dropped in them.


def with_retries(
    check: Callable[[], Found],
    *,
    what: str = "The database",
    seconds: float | None = None,
    attempt_seconds: float | None = None,
) -> Found:
    """Repeat a check while its failure may pass by itself: for so many seconds, or a minute; each attempt is bounded, too."""
    deadline = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
    said = ""
    while True:
        try:
            return bounded(check, what, attempt_seconds)
        except CheckFailed as failure:
            if not failure.is_awaited or time.monotonic() >= deadline:
                raise
            if failure.message != said:
                said = failure.message
                print(f"{said} Trying again.", file=sys.stderr, flush=True)
        time.sleep(RETRY_SECONDS)


def bounded(check: Callable[[], Found], what: str = "The database", seconds: float | None = None) -> Found:
    """Run a check in a thread that can be left behind: what hangs in a C library cannot be interrupted."""
    outcome: Future[Found] = Future()

    def run() -> None:
        try:
            outcome.set_result(check())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    limit = ATTEMPT_SECONDS if seconds is None else seconds
    wait([outcome], limit)
    if not outcome.done():
        raise CheckFailed(
            "StoreUnreachable",
            f"{what} does not answer: it said nothing for {limit:.0f} s.",
        )
    return outcome.result()


def check_revision(found: str | None, kind: Kind, migrations: Migrations, version: str) -> str:
    """Compare a database's schema revision with the image's; return it if they are the same."""
    if found == migrations.head:
        return found
    if found is None:
        raise kind.failure("SchemaMissing", f"The database holds no MLflow schema: {WAIT_FOR_JOB}")
    require_known(found, migrations, version)
    raise kind.failure(
        "SchemaBehind",
        f"The database is at revision {found}, MLflow {version} needs {migrations.head}: {WAIT_FOR_JOB}",
    )


def require_known(found: str, migrations: Migrations, version: str) -> None:
    """Refuse a schema that comes from a newer MLflow."""
    if found not in migrations.revisions:
        raise too_new(found, version)


# Postgres: the server's own database, with the login that the operator made.


def use_service_file(place: str) -> None:
    """Have libpq read its settings from this file, anew for each connection."""
    os.environ["PGSERVICEFILE"] = place


def check_postgres(migrations: Migrations, version: str, table: str = SCHEMA_TABLE) -> str:
    """Log in, read a revision and compare it with the image's; return it."""
    return check_revision(postgres_revision(table), POSTGRES, migrations, version)


def postgres_revision(table: str = SCHEMA_TABLE) -> str | None:
    """Read a revision from the server's own database; None if the table is not there."""
    import psycopg2  # other kinds of store need no driver, or another one

    try:
        with contextlib.closing(
            psycopg2.connect(service=SERVICE, connect_timeout=CONNECT_TIMEOUT_SECONDS)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(REVISION[table])
                row = cursor.fetchone()
    except psycopg2.errors.UndefinedTable:
        return None
    except psycopg2.Error as error:
        raise connection_failure(str(error), None, POSTGRES, sqlstate_of(error)) from error
    return str(row[0]) if row else None


# External: somebody else's database.


def read_uri(place: Path) -> str:
    """Read the database URI that the mounted Secret holds."""
    uri = place.read_text().strip()
    if not uri:
        raise CheckFailed("UnsupportedUri", "The Secret's database URI is empty: write a SQLAlchemy URI.")
    return uri


def check_external(uri: str, migrations: Migrations, version: str, table: str = SCHEMA_TABLE) -> str:
    """Log in, read a revision and compare it with the image's; return it."""
    return check_revision(external_revision(uri, table), EXTERNAL, migrations, version)


def external_revision(uri: str, table: str = SCHEMA_TABLE) -> str | None:
    """Read a revision through the login that the URI holds; None if the table is not there."""
    with connected(uri, EXTERNAL) as connection:
        return revision_in(connection, table)


@contextlib.contextmanager
def connected(uri: str, kind: Kind) -> Iterator["sqlalchemy.Connection"]:
    """A connection while the block runs; whatever the database says no to is raised as CheckFailed."""
    import sqlalchemy  # only needed here, and not cheap

    try:
        url = sqlalchemy.make_url(uri)
        engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.NullPool, connect_args=connect_args(url.drivername)
        )
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError, ValueError) as error:
        # The text of these errors may repeat the URI, password and all.
        raise CheckFailed(
            "UnsupportedUri",
            f"The Secret's database URI cannot be used ({type(error).__name__}): write dialect+driver://user:password@"
            "host:port/database with a driver that the image holds, for example postgresql+psycopg2.",
        ) from error
    if url.get_backend_name() == "sqlite":
        raise CheckFailed(
            "UnsupportedUri",
            "The Secret's database URI names a SQLite file, which is no external database: use spec.backendStore.sqlite.",
        )
    try:
        with engine.connect() as connection:
            yield connection
    except sqlalchemy.exc.DBAPIError as error:
        raise connection_failure(str(error.orig), url.password, kind, sqlstate_of(error.orig)) from error


def revision_in(connection: "sqlalchemy.Connection", table: str = SCHEMA_TABLE) -> str | None:
    """Read a revision; None if the table is not there."""
    import sqlalchemy

    if not sqlalchemy.inspect(connection).has_table(table):
        return None
    row = connection.execute(sqlalchemy.text(REVISION[table])).first()
    return str(row[0]) if row else None


def connect_args(driver: str) -> dict[str, int]:
    """Bound the time that one attempt to connect may take, in the driver's own words."""
    return (
        {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
        if driver.startswith(("postgresql", "mysql", "mariadb"))
        else {}
    )


def sqlstate_of(error: BaseException | None) -> str:
    """The SQLSTATE of a driver's error; empty where it tells none."""
    return str(getattr(error, "pgcode", None) or "")


WORDS = {
    Answer.UNKNOWN_OPTION: "The driver does not take the Secret's database URI",
    Answer.SETTINGS_DROPPED: "The database, or a pooler before it, does not take the options of the Secret's database URI",
    Answer.HOST_NOT_FOUND: "The database's host is not known",
    Answer.TLS_FAILED: "The database's TLS certificate does not verify, or one side asks for TLS and the other has none",
    Answer.TOO_MANY_CONNECTIONS: "The database has no free connection slot",
    Answer.FULL: "The database server has no disk space left",
    Answer.BUSY: "The database is overloaded, or something holds a lock",
    Answer.CHANGED_MEANWHILE: "Something else changed the same in the database",
    Answer.IN_USE: "Something else is in use in the database",
    Answer.CLOSED: "The database takes no connections now",
    Answer.READ_ONLY: "The database server is a standby",
}
"""How a sentence begins that says what the database answered."""


def connection_failure(text: str, password: object, kind: Kind = EXTERNAL, sqlstate: str = "") -> CheckFailed:
    """Say in one line why the database did not let us in, without the password."""
    line = " ".join(text.split())
    if password:
        line = line.replace(str(password), "***")
    answer = database_answer(sqlstate, line) or Answer.UNREACHABLE
    if answer.reason == "LoginRefused":
        return kind.failure("LoginRefused", f"The database refused the login: {line}. {kind.login}")
    return kind.failure(answer.reason, f"{WORDS.get(answer, 'The database does not answer')}: {line}.")


def too_new(found: str, version: str) -> CheckFailed:
    """Say that the schema comes from a newer MLflow."""
    return CheckFailed(
        "SchemaTooNew",
        f"The database is at revision {found}, which MLflow {version} does not know: it was written by a newer "
        "version. Set spec.version to that version again.",
    )
