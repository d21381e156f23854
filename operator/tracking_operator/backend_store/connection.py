"""Sessions with a PostgreSQL server that never wait longer than they are told to.

libpq's own time-outs end when a connection is made, and ``statement_timeout`` is kept by the very server
that may hang. So sessions run in psycopg2's asynchronous mode, and every wait here has a deadline. Nothing
is left to the environment or home folder of the process (PGSSLMODE, ~/.pgpass, …).
"""

import os
import select
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, make_dsn
from psycopg2.sql import SQL, Composable

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.errors import Attempt, TimedOut, failure_from
from tracking_operator.backend_store.server import DEFAULT_TIMEOUTS, Login, PostgresServer, Timeouts
from tracking_operator.failures import Invalid

Row = tuple[Any, ...]
Connection = psycopg2.extensions.connection

APPLICATION_NAME: Final = "tracking-operator"
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
        self._connection = self._connect()

    @property
    def server_version(self) -> int:
        """The server's version as a number: 150018 is 15.18."""
        return int(self._connection.info.server_version)

    def rows(
        self,
        statement: Composable,
        parameters: Mapping[str, object] | None = None,
        *,
        doing: str,
        slow: bool = False,
    ) -> list[Row]:
        """Send a statement, which may be a transaction of several, and return what the last of them returns.

        ``doing`` completes the sentence "PostgreSQL did not …". A session whose statement failed is closed.
        """
        if self._watch:
            self._watch(statement)
        seconds = self._timeouts.slow_statement if slow else self._timeouts.statement
        try:
            cursor = self._connection.cursor()
            if slow:
                self._send(
                    cursor, SQL("SET statement_timeout = {}").format(_milliseconds(seconds)), None, seconds
                )
            self._send(cursor, statement, parameters, seconds)
            return cursor.fetchall() if cursor.description else []
        except (psycopg2.Error, TimedOut) as error:
            self.close()
            # Not chained: the text of the original quotes statements, and so may show a verifier.
            raise failure_from(error, self._attempt(doing)) from None

    def close(self) -> None:
        """End the session; does nothing when it has ended."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> Connection:
        doing = f"let {self.login.username} into database {self.database}"
        with _ca_file(self.server) as ca_file:
            try:
                connection = psycopg2.connect(make_dsn(None, **self._parameters(ca_file)), async_=True)
                _wait_for(connection, self._timeouts.connect)
            except (psycopg2.Error, TimedOut) as error:
                raise failure_from(error, self._attempt(doing)) from None
        return connection

    def _parameters(self, ca_file: str) -> dict[str, str | int]:
        server_seconds = self._timeouts.statement
        parameters: dict[str, str | int] = {
            "host": self.server.host,
            "port": self.server.port,
            "dbname": self.database,
            "user": self.login.username,
            "password": self.login.password,
            "passfile": os.devnull,
            "application_name": APPLICATION_NAME,
            "client_encoding": "UTF8",
            "gssencmode": "disable",
            "sslmode": str(self.server.ssl_mode),
            "sslcert": os.devnull + ".none",
            "options": f"-c statement_timeout={int(server_seconds * 1000)}",
        }
        return {**parameters, "sslrootcert": ca_file} if ca_file else parameters

    def _send(
        self,
        cursor: psycopg2.extensions.cursor,
        statement: Composable,
        parameters: Mapping[str, object] | None,
        seconds: float,
    ) -> None:
        cursor.execute(statement, parameters)
        _wait_for(self._connection, seconds + GRACE_SECONDS)

    def _attempt(self, doing: str) -> Attempt:
        return Attempt(self.server, self.login, doing, self.database)


class Sessions:
    """The sessions that one piece of work needs with one server: one per database, opened when first used."""

    def __init__(
        self,
        server: PostgresServer,
        login: Login,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        watch: Watcher | None = None,
    ) -> None:
        self.server = server
        self.login = login
        self._timeouts = timeouts
        self._watch = watch
        self._open: dict[str, Session] = {}

    def session(self, database: str | None = None) -> Session:
        """The session in ``database``, or in the maintenance database."""
        name = self.server.maintenance_database if database is None else database
        if name not in self._open:
            self._open[name] = self.new_session(self.login, name)
        return self._open[name]

    def new_session(self, login: Login, database: str) -> Session:
        """A session as any login, which the caller closes."""
        return Session(self.server, login, database, self._timeouts, self._watch)

    def close_session(self, database: str) -> None:
        """End the session in ``database``, if there is one: it would stand in the way of dropping it."""
        if session := self._open.pop(database, None):
            session.close()

    def close(self) -> None:
        """End all sessions."""
        for database in list(self._open):
            self.close_session(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait_for(connection: Connection, seconds: float) -> None:
    """Let a connection do what it has begun."""
    deadline = time.monotonic() + seconds
    try:
        while (state := connection.poll()) != POLL_OK:
            _wait_for_socket(connection, state, deadline - time.monotonic())
    except TimedOut:
        connection.close()
        raise TimedOut(seconds) from None


def _wait_for_socket(connection: Connection, state: int, seconds: float) -> None:
    events = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}[state]
    waiting = select.poll()
    waiting.register(connection.fileno(), events)
    if seconds <= 0 or not waiting.poll(seconds * 1000):
        raise TimedOut(seconds)


def _milliseconds(seconds: float) -> SQL:
    return SQL(str(int(seconds * 1000)))


@contextmanager
def _ca_file(server: PostgresServer) -> Iterator[str]:
    """A file with the CAs to trust, for as long as a connection is being made; empty where none is needed."""
    if not server.ssl_mode.verifies:
        yield ""
        return
    if server.ca_certificates is None:
        yield _system_ca_file(server)
        return
    # libpq wants a file; one in memory leaves nothing behind and needs no writable folder.
    descriptor = os.memfd_create("ca", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "w") as file:
            file.write(server.ca_certificates)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _system_ca_file(server: PostgresServer) -> str:
    paths = ssl.get_default_verify_paths()
    for candidate in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            return candidate
    raise Invalid(
        Reason.TLS_FAILED,
        f"sslMode {server.ssl_mode} needs a CA to verify PostgreSQL at {server} with, and the system has none: "
        "name a ConfigMap with one in postgres.caConfigMapRef of the class.",
    )
