"""Databases on a server: the server's own, and somebody else's. Nothing is created, changed or dropped in them."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.schema_revision import REVISION, SCHEMA_TABLE, Migrations, require_known
from tracking_operator.store_answers import Answer, database_answer

if TYPE_CHECKING:
    import sqlalchemy


CONNECT_TIMEOUT_SECONDS = 5
CLOSED = "server closed the connection unexpectedly"
"""What libpq says when a connection ends without a word."""
SERVICE = "mlflow"
"""The section of libpq's service file that the operator writes."""
SERVICE_URI = f"postgresql+psycopg2:///?service={SERVICE}"
"""No password in it: libpq reads the rest from the service file."""
WAIT_FOR_JOB = "the migration Job brings it up; the server's condition SchemaReady says how far it is."


@dataclass(frozen=True)
class Kind:
    """Whose database it is: what somebody should do about a refused login or certificate, and what the operator still brings."""

    login: str
    certificate: str = ""
    brought: frozenset[str] = frozenset()
    """Reasons that a pod waits for, because the operator is at it."""

    def failure(self, reason: str, message: str) -> CheckFailed:
        """A failure that is waited for, or not, as with this kind of database."""
        return CheckFailed(reason, message, is_awaited=True if reason in self.brought else None)


EXTERNAL = Kind(
    login="Correct the URI in the Secret.",
    certificate=" Name the CA that has signed it in spec.backendStore.external.caConfigMapRef, and in the URI the host that it is "
    "for.",
)
POSTGRES = Kind(
    login="The operator makes the login and its Secret: the server's condition BackendStoreReady says how far it is.",
    # The kubelet may still bring the Secret, the operator may still make the role, the Job may still run.
    brought=frozenset({"LoginRefused", "SchemaMissing", "SchemaBehind"}),
)


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
        if CLOSED in str(error.orig) and pools_statements(url):
            answer = Answer.NO_TRANSACTIONS
            raise kind.failure(answer.reason, f"{WORDS[answer]}.") from error
        raise connection_failure(str(error.orig), url.password, kind, sqlstate_of(error.orig)) from error


def pools_statements(url: "sqlalchemy.URL") -> bool:
    """Whether single statements are answered, and a transaction ends the connection: PgBouncer's pool_mode statement.

    It says so in its own log only. SQLAlchemy begins with a transaction, so the driver is asked itself.
    """
    if url.drivername != "postgresql+psycopg2":
        return False
    import psycopg2

    answers = False
    arguments, options = url.get_dialect()().create_connect_args(url)
    with contextlib.suppress(psycopg2.Error):
        connection = psycopg2.connect(*arguments, **{**options, **connect_args(url.drivername)})
        with contextlib.closing(connection), connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT 1")
            answers = True
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1")
            answers = False
    return answers


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
    Answer.NO_TRANSACTIONS: "A pooler before the database lets no transactions through, which MLflow needs: set its pool_mode to "
    "transaction or session, or name the database server itself in the Secret's URI",
    Answer.HOST_NOT_FOUND: "The database's host is not known",
    Answer.TLS_FAILED: "The database's TLS certificate does not verify, or one side asks for TLS and the other has none",
    Answer.TOO_MANY_CONNECTIONS: "The database has no free connection slot",
    Answer.FULL: "The database server has no disk space left",
    Answer.BUSY: "The database is overloaded, or something holds a lock",
    Answer.CHANGED_MEANWHILE: "Something else changed the same in the database",
    Answer.IN_USE: "Something else is in use in the database",
    Answer.CLOSED: "Somebody has closed the database for connections",
    Answer.INVALID: "An interrupted DROP DATABASE has left the database, which has to be dropped and restored",
    Answer.FAILED: "The database fails",
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
    remedy = kind.certificate if answer is Answer.TLS_FAILED else ""
    return kind.failure(
        answer.reason, f"{WORDS.get(answer, 'The database does not answer')}: {line}.{remedy}"
    )
