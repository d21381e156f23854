"""Places that namespaces share, so that none can take all of them, and allowances that bound how often one does what."""

import asyncio
from collections import Counter, OrderedDict, deque
from concurrent import futures
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, TypeVar

_Waiter = TypeVar("_Waiter", asyncio.Future[bool], futures.Future[bool])


class _Places(Generic[_Waiter]):
    """Who has a place, who waits for one, and whose turn it is; how to wait is for others to say."""

    def __init__(self, total: int, each: int) -> None:
        self.total: Final = total
        self.each: Final = each
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    def taken_by(self, namespace: str) -> int:
        """How many places a namespace has."""
        return self._taken[namespace]

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(len(waiters) for waiters in self._waiting.values())

    def take_at_once(self, namespace: str) -> bool:
        """Take a place if there is one for which nobody of this namespace waits; return whether there was."""
        if namespace in self._waiting or not self._has_room_for(namespace):
            return False
        self._taken[namespace] += 1
        return True

    def line_up(self, namespace: str, waiter: _Waiter) -> None:
        """Wait for a place: ``waiter`` is told True when there is one, and False when there will be none."""
        self._waiting.setdefault(namespace, deque()).append(waiter)

    def leave(self, namespace: str, waiter: _Waiter) -> None:
        """Wait no longer."""
        waiters = self._waiting.get(namespace)
        if waiters and waiter in waiters:
            waiters.remove(waiter)
        if waiters is not None and not waiters:
            del self._waiting[namespace]

    def take_anyway(self, namespace: str) -> None:
        """Take a place although there may be none: the namespace has it already, and it counts here from now on."""
        self._taken[namespace] += 1

    def give_back(self, namespace: str) -> None:
        """Give a place back, for those who wait."""
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]
        self._serve()

    def turn_away(self, namespace: str) -> None:
        """Tell all who wait for a place of this namespace that there is none."""
        for waiter in self._waiting.pop(namespace, ()):
            if not waiter.done():
                waiter.set_result(False)

    def _serve(self) -> None:
        """Hand free places out, the namespace first that was served longest ago."""
        for namespace in list(self._waiting):
            if self.taken >= self.total:
                return
            if self._has_room_for(namespace) and (waiter := self._next_of(namespace)):
                self._taken[namespace] += 1
                waiter.set_result(True)

    def _next_of(self, namespace: str) -> _Waiter | None:
        waiters = self._waiting[namespace]
        while waiters:
            waiter = waiters.popleft()
            if waiters:
                self._waiting.move_to_end(namespace)
            else:
                del self._waiting[namespace]
            if not waiter.done():
                return waiter
        return None

    def _has_room_for(self, namespace: str) -> bool:
        return self.taken < self.total and self._taken[namespace] < self.each


class Shares(_Places[asyncio.Future[bool]]):
    """At most ``total`` places are taken at a time, and at most ``each`` of them by one namespace.

    Namespaces that wait take turns, whatever the number of their requests. To be used from one event loop.
    """

    async def take(self, namespace: str, patience: float) -> bool:
        """Take a place, for which to wait up to ``patience`` seconds; return whether there was one."""
        if self.take_at_once(namespace):
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.line_up(namespace, waiter)
        granted = False
        try:
            async with asyncio.timeout(patience):
                granted = await waiter
        except TimeoutError:
            granted = _is_granted(waiter)
        except asyncio.CancelledError:
            if _is_granted(waiter):
                self.give_back(namespace)
            raise
        finally:
            self.leave(namespace, waiter)
        return granted


class TurnsOfThreads:
    """One thread at a time has the turn; namespaces that wait take turns as with ``Shares``."""

    def __init__(self) -> None:
        self._places: _Places[futures.Future[bool]] = _Places(1, 1)
        self._guard = Lock()

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        with self._guard:
            return self._places.waiting

    def take(self, namespace: str, patience: float) -> bool:
        """Take the turn, for which to wait up to ``patience`` seconds; return whether it was this thread's."""
        waiter: futures.Future[bool] = futures.Future()
        with self._guard:
            if self._places.take_at_once(namespace):
                return True
            self._places.line_up(namespace, waiter)
        try:
            return waiter.result(patience)
        except TimeoutError:
            with self._guard:
                self._places.leave(namespace, waiter)
                return _is_granted(waiter)

    def give_back(self, namespace: str) -> None:
        """Give the turn back, for those who wait."""
        with self._guard:
            self._places.give_back(namespace)


def _is_granted(waiter: "asyncio.Future[bool] | futures.Future[bool]") -> bool:
    return waiter.done() and not waiter.cancelled() and waiter.result()


@dataclass(frozen=True)
class Pace:
    """An allowance: so many at once, and so many per second for good."""

    burst: float
    per_second: float


class Bucket:
    """How much of an allowance is used up, as of a time: a leaking bucket."""

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._level = 0.0
        self._since = now

    def pause(self, now: float) -> float:
        """The seconds to wait until one more fits in."""
        self._leak(now)
        return max(0.0, self._level + 1 - self._pace.burst) / self._pace.per_second

    def add(self, now: float) -> None:
        """Use one up."""
        self._leak(now)
        self._level += 1

    def is_empty(self, now: float) -> bool:
        """Whether nothing is used up."""
        self._leak(now)
        return self._level == 0

    def _leak(self, now: float) -> None:
        self._level = max(0.0, self._level - (now - self._since) * self._pace.per_second)
        self._since = now
