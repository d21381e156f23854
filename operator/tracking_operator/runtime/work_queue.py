"""A queue of keys: each waits at most once, is worked on by one worker at a time, and comes back when asked to.

It is client-go's work queue with priorities: a user's fresh edit overtakes the routine check of a thousand
servers. Time and chance are passed in; ``take`` and everything else but ``get`` is plain synchronous code.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from random import uniform
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF_SECONDS: Final = 1.0
LONGEST_BACKOFF_SECONDS: Final = 300.0
JITTER: Final = (0.5, 1.0)
"""A backoff is multiplied by a random number between these, so that many failures do not come back at once."""


LONGEST_RUSH: Final = 100
RUSH_PER_SECOND: Final = 5.0
"""A key may be worked on this often for changes in a row, and this often per second for good.

Nothing that is well needs as much. Two controllers that undo each other's writes would go on without a limit.
"""


class Priority(IntEnum):
    """Who waits for a key; lower goes first."""

    USER = 0
    """Somebody edited the resource and looks on."""
    CHANGE = 1
    """Something that belongs to the resource changed, or its retry is due."""
    RESYNC = 2
    """Nothing is known to have changed; the external systems are looked at again."""


@dataclass(frozen=True)
class Work(Generic[Key]):
    """A key to work on. ``resync`` is true when one of the reasons was a resync."""

    key: Key
    priority: Priority
    resync: bool
    waited: float
    """Seconds since it was first added."""


@dataclass
class _Waiting:
    priority: Priority
    resync: bool
    since: float


@dataclass
class _Rush:
    """How much of its allowance a key has used up, as of a time: a leaking bucket."""

    level: float
    since: float


class WorkQueue(Generic[Key]):
    """Hands out keys, the most urgent first.

    A key that is added again while somebody works on it is handed out again after ``done``.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = uniform,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._waiting: dict[Key, _Waiting] = {}
        self._ready: list[tuple[Priority, int, Key]] = []
        self._later: list[tuple[float, int, Key, Priority]] = []
        self._due: dict[tuple[Key, Priority], float] = {}
        self._in_work: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._rushes: dict[Key, _Rush] = {}
        self._order = count()
        self._closed = False
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait for a worker now."""
        return len(self._waiting)

    @property
    def in_work(self) -> int:
        """How many keys are being worked on."""
        return len(self._in_work)

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Let a key be worked on soon. One that waits already stays one, with the higher priority."""
        waiting = self._waiting.get(key)
        resync = priority is Priority.RESYNC
        if waiting is None:
            self._waiting[key] = _Waiting(priority, resync, self._clock())
        else:
            waiting.resync = waiting.resync or resync
            if priority >= waiting.priority:
                return
            waiting.priority = priority
        if key not in self._in_work:
            self._make_ready(key)

    def add_after(self, key: Key, delay: float, priority: Priority = Priority.CHANGE) -> None:
        """Add the key ``delay`` seconds from now; per priority the earliest such wish counts."""
        due = self._clock() + delay
        if due >= self._due.get((key, priority), float("inf")):
            return
        self._due[(key, priority)] = due
        heapq.heappush(self._later, (due, next(self._order), key, priority))
        self._news.set()

    def take(self) -> Work[Key] | None:
        """Hand out the most urgent key, or None when none waits."""
        self._promote_due()
        while self._ready:
            priority, _, key = heapq.heappop(self._ready)
            waiting = self._waiting.get(key)
            if waiting is None or waiting.priority is not priority or key in self._in_work:
                continue  # an entry from before its priority rose
            if priority is Priority.CHANGE and (pause := self._pause(key)):
                self._put_off(key, pause)
                continue
            del self._waiting[key]
            self._in_work.add(key)
            return Work(key, priority, waiting.resync, self._clock() - waiting.since)
        return None

    async def get(self) -> Work[Key] | None:
        """Wait for a key and hand it out; None once the queue is closed."""
        while not self._closed:
            if work := self.take():
                return work
            self._news.clear()
            try:
                async with asyncio.timeout(self._seconds_to_next()):
                    await self._news.wait()
            except TimeoutError:
                continue
        return None

    def done(self, key: Key) -> None:
        """Say that the work on a key has ended; if it was added meanwhile, it is handed out again."""
        self._in_work.discard(key)
        if key in self._waiting:
            self._make_ready(key)

    def failed(self, key: Key) -> float:
        """Let the key come back after a delay that grows with each failure in a row; return the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 30), LONGEST_BACKOFF_SECONDS)
        delay = longest * self._chance(*JITTER)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Forget the failures of a key: the last time went well."""
        self._failures.pop(key, None)

    def drop(self, key: Key) -> None:
        """Forget what is planned for later for a key whose resource is gone; one that waits already stays."""
        self.forget(key)
        self._rushes.pop(key, None)
        for priority in Priority:
            self._due.pop((key, priority), None)

    def close(self) -> None:
        """Hand out nothing any more."""
        self._closed = True
        self._news.set()

    def _make_ready(self, key: Key) -> None:
        heapq.heappush(self._ready, (self._waiting[key].priority, next(self._order), key))
        self._news.set()

    def _pause(self, key: Key) -> float:
        """Count one more look at the key; return the seconds to wait first if there were too many."""
        now = self._clock()
        rush = self._rushes.setdefault(key, _Rush(0.0, now))
        level = max(0.0, rush.level - (now - rush.since) * RUSH_PER_SECOND)
        if level + 1 > LONGEST_RUSH:
            return (level + 1 - LONGEST_RUSH) / RUSH_PER_SECOND
        rush.level, rush.since = level + 1, now
        return 0.0

    def _put_off(self, key: Key, pause: float) -> None:
        waiting = self._waiting.pop(key)
        self.add_after(key, pause, Priority.RESYNC if waiting.resync else Priority.CHANGE)

    def _promote_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key, priority = heapq.heappop(self._later)
            if self._due.get((key, priority)) == due:  # not replaced by an earlier wish, nor dropped
                del self._due[(key, priority)]
                self.add(key, priority)

    def _seconds_to_next(self) -> float | None:
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None
