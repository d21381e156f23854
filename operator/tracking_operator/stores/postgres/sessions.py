"""The sessions of one piece of work: the admin's, in the maintenance database and in what it has just made."""

from types import TracebackType
from typing import Self

from tracking_operator.stores.postgres.connection import Session, Watcher
from tracking_operator.stores.postgres.database_server import (
    DEFAULT_TIMEOUTS,
    Login,
    PostgresServer,
    Timeouts,
)
from tracking_operator.stores.postgres.kept_sessions import KeptSessions


class Sessions:
    """The sessions that one piece of work needs with one server: one per database, opened when first used."""

    def __init__(
        self,
        server: PostgresServer,
        login: Login,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        watch: Watcher | None = None,
        kept: KeptSessions | None = None,
    ) -> None:
        """``kept`` has sessions in the maintenance database to begin with, and gets this one's afterwards."""
        self.server = server
        self.login = login
        self._timeouts = timeouts
        self._watch = watch
        self._kept = kept
        self._open: dict[str, Session] = {}

    def session(self, database: str | None = None) -> Session:
        """The session in ``database``, or in the maintenance database."""
        name = self.server.maintenance_database if database is None else database
        if name not in self._open:
            self._open[name] = self._kept_session(name) or self.new_session(self.login, name)
        return self._open[name]

    def new_session(self, login: Login, database: str) -> Session:
        """A session as any login, which the caller closes."""
        return Session(self.server, login, database, self._timeouts, self._watch)

    def close_session(self, database: str) -> None:
        """End the session in ``database``, if there is one: it would stand in the way of dropping it."""
        if session := self._open.pop(database, None):
            session.close()

    def close(self) -> None:
        """End all sessions, but those that are kept for the next work."""
        if self._kept and (session := self._open.pop(self.server.maintenance_database, None)):
            self._kept.give_back(session)
        for database in list(self._open):
            self.close_session(database)

    def _kept_session(self, database: str) -> Session | None:
        is_shared = database == self.server.maintenance_database
        return self._kept.take(self.server, self.login) if self._kept and is_shared else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
