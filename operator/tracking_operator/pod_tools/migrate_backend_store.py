"""Runs in the migration Job: brings a database to the schema of this image's MLflow, once, whoever else tries.

    migrate-backend-store postgres SERVICE_FILE --version 3.17.2
    migrate-backend-store external URI_FILE --version 3.17.2

With ``--login`` it brings up the tables of MLflow's own login, too, and makes the admin (``prepare_login.py``). A lock
in the database keeps two runs apart. A run that finds the schema at the image's revision does nothing; one that is
killed leaves what the next one goes on from, because MLflow's migrations are one transaction on PostgreSQL. What happened goes to the termination log, and into the exit code: a Job tries
again after some of them, and not after those for which a person is needed: ``outcomes.py`` has the table.

On PostgreSQL the lock belongs to a transaction, which stays open meanwhile: it ends with the connection, and a pooler that
hands out a session per transaction (PgBouncer's pool_mode transaction) keeps it apart from others' (decision 0054).
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tracking_operator.pod_tools.checks import CheckFailed, report, with_retries
from tracking_operator.pod_tools.database_servers import (
    EXTERNAL,
    POSTGRES,
    SERVICE_URI,
    Kind,
    connected,
    revision_in,
    use_service_file,
)
from tracking_operator.pod_tools.database_uri import read_uri
from tracking_operator.pod_tools.programs import PREPARE_LOGIN, URI_VARIABLE, command_line
from tracking_operator.pod_tools.schema_revision import (
    LOGIN_TABLE,
    SCHEMA_TABLE,
    Migrations,
    installed_login_migrations,
    installed_migrations,
    require_known,
    require_version,
)
from tracking_operator.store_answers import Answer, database_answer

if TYPE_CHECKING:
    import sqlalchemy

KEEP_ALIVE = "&keepalives_idle=30&keepalives_interval=10&keepalives_count=3"
"""The session with the lock is idle while MLflow migrates; what lies between may forget an idle connection."""
NOTICE_DEAD_CLIENTS = (
    "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6 "
    "-c client_connection_check_interval=10000"
)
"""Has the database give up what a lost pod was doing, and its locks, within two minutes instead of hours."""

LOCK_KEY = 5_718_032_964_001
"""Of the advisory lock: any number, and for ever the same one, or two releases of the operator would migrate at once."""
TRY_TO_LOCK = {
    "postgresql": f"SELECT pg_try_advisory_xact_lock({LOCK_KEY})",
    # Locks of MySQL are of the whole server, and their names have at most 64 characters.
    "mysql": f"SELECT GET_LOCK(CONCAT('{LOCK_KEY}/', MD5(DATABASE())), 0)",
    "mariadb": f"SELECT GET_LOCK(CONCAT('{LOCK_KEY}/', MD5(DATABASE())), 0)",
}
"""By dialect, a query that says whether the transaction, or of MySQL the session, has the lock now. Elsewhere only the Job keeps
to one pod."""
WAIT_WHILE_IDLE = (
    "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings "
    "WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)
"""The transaction with the lock lasts while MLflow migrates. PostgreSQL 17 has a limit for that, too."""
SECONDS_BETWEEN_SIGNS = 10.0
"""What lies between may end a transaction that says nothing, and the lock with it."""
LOCK_PATIENCE_SECONDS = 600.0
LOCK_RETRY_SECONDS = 1.0

LOCK_IS_LOST = (
    "The database, or a pooler before it, ended the session with the lock of the migration, which was stopped for that. The Job tries "
    "again by itself."
)
UNDER_WAY: "set[subprocess.Popen[str]]" = set()
"""The programs that work on the database under the lock."""

UPGRADE = [sys.executable, "-m", "mlflow", "db", "upgrade"]
UPGRADE_WITHOUT_ARGUMENTS = (
    "import os, runpy, sys; "
    f"sys.argv = ['mlflow', 'db', 'upgrade', os.environ['{URI_VARIABLE}']]; "
    "runpy.run_module('mlflow', run_name='__main__')"
)
"""`mlflow db upgrade` takes the URI as an argument only, and everybody on a node may read arguments."""
LINES_KEPT = 400
KILLED = 128
"""Exit codes above this one stand for a signal; none of them is terminal for the Job."""

ERROR_LINE = re.compile(r"^[\w.]+(Error|Exception|Exit|Interrupt)\b")
OUTLASTED = {
    Answer.FULL: "The database server has no disk space left: give it more, the Job tries again by itself.",
    Answer.BUSY: "Something else held a lock on the tables; the Job tries again by itself, nothing was changed.",
    Answer.CHANGED_MEANWHILE: "Something else held a lock on the tables; the Job tries again by itself, nothing was changed.",
    Answer.TOO_MANY_CONNECTIONS: "The database has no free connection slot; the Job tries again by itself.",
    Answer.UNREACHABLE: "The database went away during the migration.",
}
"""What says nothing about the migration itself, so that another attempt may go well."""
LOST = re.compile(r"(Operational|Interface)Error: \(psycopg")
"""What PostgreSQL's drivers raise when the database or the connection went away. In MySQL's it can be anything, and the number
tells."""


@dataclass(frozen=True)
class Store:
    """A database to migrate: how to reach it, and the command with which MLflow does."""

    kind: Kind
    uri: str = field(repr=False)
    upgrade: list[str]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    is_own: bool = False
    """Whether it is the server's own, and nobody else's."""

    def without_secrets(self, text: str) -> str:
        """The text, fit for a log."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def main(arguments: list[str] | None = None) -> int:
    """Migrate the database that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    try:
        require_version(options.version)
        migrations = installed_migrations()
        logins = installed_login_migrations() if options.login else None
        revision, login_revision = migrate(store_of(options), migrations, logins, options.version)
    except Killed as killed:
        report("MigrationFailed", killed.message)
        return KILLED + killed.signal
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report(
        "", f"The backend store is at revision {revision}.", revision, login_revision=login_revision
    )


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["postgres", "external"])
    parser.add_argument("place", help="libpq's service file, or the file that holds the database URI")
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--login", action="store_true", help="bring up the tables of MLflow's login, too")
    return parser.parse_args(arguments)


def store_of(options: argparse.Namespace) -> Store:
    """Find out how to reach the database that the command line names."""
    if options.kind == "postgres":
        use_service_file(options.place)
        os.environ["PGOPTIONS"] = f"{os.environ.get('PGOPTIONS', '')} {NOTICE_DEAD_CLIENTS}".strip()
        return Store(POSTGRES, SERVICE_URI + KEEP_ALIVE, [*UPGRADE, SERVICE_URI], is_own=True)
    uri = read_uri(Path(options.place))
    command = [sys.executable, "-c", UPGRADE_WITHOUT_ARGUMENTS]
    return Store(EXTERNAL, uri, command, (uri, *passwords_in(uri)))


def passwords_in(uri: str) -> tuple[str, ...]:
    """The password of a URI, as it is and as URIs write it."""
    import sqlalchemy

    try:
        password = sqlalchemy.make_url(uri).password
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return ()
    return (str(password), quote(str(password), safe="")) if password else ()


def migrate(store: Store, migrations: Migrations, logins: Migrations | None, version: str) -> tuple[str, str]:
    """Bring the database to the image's head, alone; return its revision, and that of the login's tables if there are any."""
    with locked(store):
        revision = bring_up_schema(store, revision_of(store), migrations, version)
        if logins is not None:
            require_known(revision_of(store, LOGIN_TABLE) or logins.head, logins, version)
            prepare_login(store)
    revision = revision or prove(store, migrations)
    return revision, prove(store, logins, LOGIN_TABLE) if logins else ""


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold the lock while the block runs, in a session of its own."""
    with contextlib.ExitStack() as session:
        connection = with_retries(lambda: connect(store, session))
        take_lock(connection)
        with held(connection):
            yield


@contextlib.contextmanager
def held(connection: "sqlalchemy.Connection") -> Iterator[None]:
    """Give a sign of life now and then; without an answer the lock may be gone, and what runs under it is ended.

    Raises:
        CheckFailed: the lock was lost.

    """
    is_over, is_lost = threading.Event(), threading.Event()

    def keep() -> None:
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        while not is_over.wait(SECONDS_BETWEEN_SIGNS):
            try:
                connection.scalar(text("SELECT 1"))
            except SQLAlchemyError:  # whatever it is: nobody knows whose the lock is now
                is_lost.set()
                for one in list(UNDER_WAY):
                    one.kill()
                return

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    except Killed as killed:
        if is_lost.is_set():
            raise CheckFailed(Answer.UNREACHABLE.reason, LOCK_IS_LOST) from killed
        raise
    finally:
        is_over.set()
        keeper.join()


def bring_up_schema(store: Store, found: str | None, migrations: Migrations, version: str) -> str:
    """Migrate what was ``found``; return the revision if nothing had to be done, and nothing to prove."""
    if found == migrations.head:
        print("The schema is up to date.", flush=True)
        return found
    if found is not None:
        require_known(found, migrations, version)
    print(f"Migrating from revision {found or '(none)'} to {migrations.head}.", flush=True)
    run_upgrade(store, store.upgrade, "mlflow db upgrade", {URI_VARIABLE: store.uri})
    return ""


def prepare_login(store: Store, *options: str) -> None:
    """Bring up the login's tables and make its users."""
    own_store = ["--own-store"] if store.is_own else []
    uri = store.uri.removesuffix(KEEP_ALIVE)
    command = command_line(PREPARE_LOGIN, *own_store, *options)
    run_upgrade(store, command, "The preparation of the login", {URI_VARIABLE: uri})


def connect(store: Store, session: contextlib.ExitStack) -> "sqlalchemy.Connection":
    """Log in."""
    return session.enter_context(connected(store.uri, store.kind))


def take_lock(connection: "sqlalchemy.Connection") -> None:
    """Wait until no other run holds the lock, and hold it from then on for as long as the transaction, or session, lives."""
    from sqlalchemy import text

    query = TRY_TO_LOCK.get(connection.dialect.name)
    if connection.dialect.name == "postgresql":
        connection.execute(text(WAIT_WHILE_IDLE))
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    waits = False
    while query and not connection.scalar(text(query)):
        if time.monotonic() >= deadline:
            raise CheckFailed(
                "Busy",
                f"Another migration of this database has not ended within {LOCK_PATIENCE_SECONDS / 60:.0f} minutes; "
                "the Job tries again by itself.",
            )
        if not waits:
            waits = True
            print("Another migration of this database is running: waiting for its end.", flush=True)
        time.sleep(LOCK_RETRY_SECONDS)


def run_upgrade(
    store: Store, command: list[str], what: str, variables: Mapping[str, str] | None = None
) -> None:
    """Run MLflow's own migrations; their words go to the log as they come."""
    said: deque[str] = deque(maxlen=LINES_KEPT)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(variables or {})
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as upgrade:
        UNDER_WAY.add(upgrade)
        try:
            for line in upgrade.stdout or ():
                said.append(store.without_secrets(line.rstrip()))
                print(said[-1], flush=True)
        except BaseException:
            upgrade.kill()  # or it would migrate on without the lock
            raise
        finally:
            UNDER_WAY.discard(upgrade)
    if upgrade.returncode < 0:
        raise Killed(-upgrade.returncode)
    if upgrade.returncode > 0:
        raise failure_of(store, error_in(list(said)), what)


def error_in(output: list[str]) -> str:
    """The line that says what went wrong: SQLAlchemy writes more lines after it."""
    lines = [line for line in output if line.strip()] or ["no output"]
    return next((line for line in reversed(lines) if ERROR_LINE.match(line)), lines[-1])


def failure_of(store: Store, error: str, what: str = "mlflow db upgrade") -> CheckFailed:
    """Tell apart what another attempt may cure, and what a person must look at."""
    answer = database_answer("", error)
    if answer not in OUTLASTED and LOST.search(error):
        answer = Answer.UNREACHABLE
    if answer in OUTLASTED:
        return CheckFailed(answer.reason, f"{OUTLASTED[answer]} {error}")
    try:
        with connected(store.uri, store.kind):
            pass
    except CheckFailed as failure:
        return failure
    return CheckFailed(
        "MigrationFailed",
        f"{what} failed: {error} - read the log of the migration Job's pod for the rest.",
    )


def prove(store: Store, migrations: Migrations, table: str = SCHEMA_TABLE) -> str:
    """Look, through another connection, whether the database is where the migration should have brought it."""
    found = revision_of(store, table)
    if found != migrations.head:
        raise CheckFailed(
            "MigrationFailed",
            f"mlflow db upgrade ended well, but the database is at revision {found}, not {migrations.head}: "
            "read the log of the migration Job's pod, and see whether something else writes to the database.",
        )
    return found


def revision_of(store: Store, table: str = SCHEMA_TABLE) -> str | None:
    """Read a revision through a connection of its own: the transaction with the lock has no lock of a table."""
    with contextlib.ExitStack() as session:
        return revision_in(with_retries(lambda: connect(store, session)), table)


class Killed(Exception):
    """Somebody ended the migration with a signal."""

    def __init__(self, signal: int) -> None:
        self.signal = signal
        self.message = (
            f"mlflow db upgrade was killed by signal {signal}, for example because spec.resources.limits.memory is too "
            "little for it; the Job tries again by itself."
        )
        super().__init__(self.message)
