"""The admin's sessions that nobody uses for the moment: the next work logs in nowhere.

A look at a server's database is one query in the maintenance database, and to log in there costs many times that: TLS, a
password that is hashed 4,096 times, and a process. After a restart every server is looked at, so a session stays open for a
moment. Only one that has but looked is kept: nothing of one server's work is left in it for the next. It is the admin's, in
the maintenance database, where no tenant is.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tracking_operator.stores.postgres.connection import Session
from tracking_operator.stores.postgres.database_server import Login, PostgresServer

SECONDS_KEPT: Final = 20.0
MOST_KEPT: Final = 4
"""For each admin of each server: as much work as is done at a time for namespaces (``stores/executor.py``)."""

_Place = tuple[PostgresServer, Login]


@dataclass(frozen=True)
class _Kept:
    session: Session
    until: float


@dataclass
class KeptSessions:
    """Sessions between two pieces of work; may be used from several threads. ``now`` never jumps."""

    seconds: float = SECONDS_KEPT
    now: Callable[[], float] = time.monotonic
    _free: dict[_Place, list[_Kept]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sweeping: bool = False

    def take(self, server: PostgresServer, login: Login) -> Session | None:
        """A session of this admin that is as good as a new one, or None."""
        while kept := self._pop((server, login)):
            if kept.until > self.now() and kept.session.is_as_new:
                return kept.session
            kept.session.close()
        return None

    def give_back(self, session: Session) -> None:
        """Keep a session for whoever comes next, or end it."""
        if not session.is_as_new or not self._put(session):
            session.close()

    def close(self) -> None:
        """End all that are kept."""
        with self._lock:
            over, self._free = self._free, {}
        for kept in [one for free in over.values() for one in free]:
            kept.session.close()

    def _pop(self, place: _Place) -> _Kept | None:
        with self._lock:
            free = self._free.get(place)
            return free.pop() if free else None

    def _put(self, session: Session) -> bool:
        with self._lock:
            free = self._free.setdefault((session.server, session.login), [])
            if len(free) >= MOST_KEPT:
                return False
            free.append(_Kept(session, self.now() + self.seconds))
            if not self._sweeping:
                self._sweep_later()
            return True

    def _sweep_later(self) -> None:
        self._sweeping = True
        timer = threading.Timer(self.seconds, self._sweep)
        timer.daemon = True
        timer.start()

    def _sweep(self) -> None:
        """End what nobody has needed for too long, as long as there is any left."""
        now = self.now()
        with self._lock:
            over = [kept for free in self._free.values() for kept in free if kept.until <= now]
            left = {place: [kept for kept in free if kept.until > now] for place, free in self._free.items()}
            self._free = {place: free for place, free in left.items() if free}
            self._sweeping = False
            if self._free:
                self._sweep_later()
        for kept in over:
            kept.session.close()
