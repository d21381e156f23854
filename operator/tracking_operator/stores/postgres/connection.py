"""Sessions with a PostgreSQL server that never wait longer than they are told to.

libpq's own time-outs end when a connection is made, and ``statement_timeout`` is kept by the very server
that may hang. So sessions run in psycopg2's asynchronous mode, and every wait here has a deadline. Nothing
is left to the environment or home folder of the process (PGSSLMODE, ~/.pgpass, …).

A tenant can make functions, operators, types and tables of any name in its own database, and give its roles
settings. So every session asks for its settings when it connects, which goes before what ALTER ROLE and ALTER
DATABASE say, and reads the search path back: a connection pooler may have dropped it. Statements name the
schema of whatever they use, beside that (decision 0019).
"""

import os
import select
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE, make_dsn
from psycopg2.sql import SQL, Composable

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, failure_for
from tracking_operator.stores.ca_files import ca_file
from tracking_operator.stores.postgres.answer_limit import LOOPBACK, Relay
from tracking_operator.stores.postgres.database_server import (
    DEFAULT_TIMEOUTS,
    Login,
    PostgresServer,
    Timeouts,
)
from tracking_operator.stores.postgres.errors import NAME_THE_SERVER, Attempt, TimedOut, TooMuch, failure_from

Row = tuple[Any, ...]
Connection = psycopg2.extensions.connection

APPLICATION_NAME: Final = "tracking-operator"
SEARCH_PATH: Final = "pg_catalog, pg_temp"
"""Where names are looked for: never in a schema that a tenant can write to. Temporary tables, which PostgreSQL
looks at first unless they are named, come last."""

SETTINGS: Final = {
    "search_path": SEARCH_PATH.replace(" ", ""),
    "standard_conforming_strings": "on",
    "client_min_messages": "error",
    "row_security": "off",
}
"""What a session begins with. With ``row_security`` off a policy of a tenant is an error instead of code that runs."""

READ_BACK: Final = SQL(
    "SELECT pg_catalog.current_setting('search_path'::pg_catalog.text), pg_catalog.pg_backend_pid()"
)
"""What a session is asked first."""

MOST_BYTES: Final = 256 * 1024
"""What a server may answer to one statement, and while it lets us in: many times what it ever needs. Rows of it take a few
MiB of memory."""

MOST_BYTES_OF_CATALOG: Final = 16 * 1024 * 1024
"""The same in the maintenance database, where no tenant writes what we ask for, and lists are as long as there are servers."""

GRACE_SECONDS: Final = 1.0
"""How much later than the server's own time-out we give up, so that nothing goes on there unseen."""

Watcher = Callable[[Composable], None]
"""Called with each statement before it is sent: for metrics, and for tests that count or interrupt."""


class Session:
    """One connection to one database as one login; not to be shared between threads."""

    def __init__(
        self,
        server: PostgresServer,
        login: Login,
        database: str,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        watch: Watcher | None = None,
    ) -> None:
        """Connect.

        Raises:
            Failure: of the kind and reason that ``errors`` makes of libpq's answer.

        """
        self.server = server
        self.login = login
        self.database = database
        self._timeouts = timeouts
        self._watch = watch
        is_shared = database == server.maintenance_database
        self._most_bytes = MOST_BYTES_OF_CATALOG if is_shared else MOST_BYTES
        self._has_only_looked = True
        self._relay, self._connection = self._connect()
        self._require_session()

    @property
    def server_version(self) -> int:
        """The server's version as a number: 150018 is 15.18."""
        return int(self._connection.info.server_version)

    @property
    def is_as_new(self) -> bool:
        """Whether it is open, has only looked, and the server has said nothing since, such as that it ends."""
        is_open = not self._connection.closed and not self._relay.has_news()
        is_between = self._connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        return self._has_only_looked and is_open and is_between

    def rows(
        self, statement: Composable, parameters: Mapping[str, object] | None = None, *, doing: str
    ) -> list[Row]:
        """Look: what a query returns, in a transaction that cannot write.

        ``doing`` completes the sentence "PostgreSQL did not …". A session whose statement failed is closed.
        """
        # One message is one transaction (PostgreSQL's documentation, "Multiple Statements in a Simple Query").
        return self._answer(SQL("SET TRANSACTION READ ONLY; ") + statement, parameters, doing, slow=False)

    @contextmanager
    def looking(self, *, doing: str) -> Iterator[None]:
        """Hold the locks of several looks until the block ends: they are one transaction that cannot write."""
        self._answer(SQL("BEGIN TRANSACTION READ ONLY"), None, doing, slow=False)
        yield
        self._answer(SQL("COMMIT"), None, doing, slow=False)

    def rows_undone(
        self,
        changes: Sequence[Composable],
        query: Composable,
        parameters: Mapping[str, object] | None = None,
        *,
        doing: str,
    ) -> list[Row]:
        """What a query returns after changes that nobody else sees, and that are never committed. ``doing`` is as in ``rows``."""
        self._has_only_looked = False
        statement = SQL("; ").join([SQL("BEGIN"), *changes, query])
        rows = self._answer(statement, parameters, doing, slow=False)
        self._answer(SQL("ROLLBACK"), None, doing, slow=False)
        return rows

    def execute(self, statement: Composable, *, doing: str, slow: bool = False) -> None:
        """Change something by a statement, which may be a transaction of several. ``doing`` is as in ``rows``."""
        self._has_only_looked = False
        if slow:
            seconds = self._timeouts.slow_statement
            patience = SQL("SET statement_timeout = {}").format(_milliseconds(seconds))
            self._answer(patience, None, doing, slow=False)
        self._answer(statement, None, doing, slow=slow)

    def close(self) -> None:
        """End the session; does nothing when it has ended."""
        self._connection.close()
        self._relay.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> tuple[Relay, Connection]:
        doing = f"let {self.login.username} into database {self.database}"
        deadline = time.monotonic() + self._timeouts.connect
        relay, parameters = None, self._parameters()
        try:
            relay = Relay(self.server, MOST_BYTES, deadline)
            connection = psycopg2.connect(make_dsn(None, **parameters, port=relay.port), async_=True)
            _wait_for(connection, relay, deadline)
        except (psycopg2.Error, TimedOut, TooMuch) as error:
            if relay:
                relay.close()
            if isinstance(error, TimedOut):
                error = TimedOut(self._timeouts.connect)
            raise failure_from(error, self._attempt(doing)) from None
        relay.shut_door()
        return relay, connection

    def _parameters(self) -> dict[str, str]:
        settings = {**SETTINGS, "statement_timeout": str(int(self._timeouts.statement * 1000))}
        parameters = {
            "host": self.server.host,
            "hostaddr": LOOPBACK,
            "dbname": self.database,
            "user": self.login.username,
            "password": self.login.password,
            "passfile": os.devnull,
            "application_name": APPLICATION_NAME,
            "client_encoding": "UTF8",
            "gssencmode": "disable",
            "sslmode": str(self.server.ssl_mode),
            "sslcert": os.devnull + ".none",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        }
        if self.server.ssl_mode.verifies:
            parameters["sslrootcert"] = ca_file(self.server.ca_certificates) or _system_ca_file(self.server)
        return parameters

    def _require_session(self) -> None:
        """The session is one of PostgreSQL's own, with the settings that it asked for.

        A pooler names a process of its own making to its clients, and hands their statements to another one.
        """
        doing = f"tell the search path of its session in database {self.database}"
        ((found, process),) = self._answer(READ_BACK, None, doing, slow=False)
        if found != SEARCH_PATH.replace(" ", ""):
            raise self._pooled("without the search_path that they ask for when they connect")
        if process != self._connection.info.backend_pid:
            raise self._pooled("in another process than the one that it names when they connect")

    def _pooled(self, how: str) -> Invalid:
        self.close()
        return Invalid(
            Reason.SESSION_SETTINGS_DROPPED,
            f"PostgreSQL at {self.server} runs sessions of {self.login.username} in database {self.database} {how}. "
            f"{NAME_THE_SERVER}",
        )

    def _answer(
        self, statement: Composable, parameters: Mapping[str, object] | None, doing: str, *, slow: bool
    ) -> list[Row]:
        if self._watch:
            self._watch(statement)
        seconds = self._timeouts.slow_statement if slow else self._timeouts.statement
        try:
            cursor = self._connection.cursor()
            cursor.execute(statement, parameters)
            self._relay.allow(self._most_bytes)
            _wait_for(self._connection, self._relay, time.monotonic() + seconds + GRACE_SECONDS)
            return cursor.fetchall() if cursor.description else []
        except (psycopg2.Error, TimedOut, TooMuch) as error:
            self.close()
            if isinstance(error, TimedOut):
                error = TimedOut(seconds + GRACE_SECONDS)
            # Not chained: the text of the original quotes statements, and so may show a verifier.
            raise failure_from(error, self._attempt(doing)) from None

    def _attempt(self, doing: str) -> Attempt:
        return Attempt(self.server, self.login, doing, self.database)


def _wait_for(connection: Connection, relay: Relay, deadline: float) -> None:
    """Let a connection do what it has begun, until a deadline that no drop of an answer puts off."""
    try:
        while (state := connection.poll()) != POLL_OK:
            relay.carry_until(connection, _EVENTS[state], deadline)
    except (TimedOut, TooMuch):
        connection.close()
        raise


_EVENTS: Final = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}


def _milliseconds(seconds: float) -> SQL:
    return SQL(str(int(seconds * 1000)))


def _system_ca_file(server: PostgresServer) -> str:
    paths = ssl.get_default_verify_paths()
    for candidate in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            return candidate
    raise failure_for(
        Reason.TLS_FAILED,
        f"sslMode {server.ssl_mode} needs a CA to verify PostgreSQL at {server} with, and the system has none: "
        "name a ConfigMap with one in postgres.caConfigMapRef of the class.",
    )
