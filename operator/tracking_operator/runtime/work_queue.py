"""A queue of keys: each waits at most once, is worked on by one worker at a time, and comes back when asked to.

It is client-go's work queue with priorities: a user's fresh edit overtakes the routine check of a thousand
servers. Keys belong to groups (namespaces) that take turns within each priority, have a share of the workers, and are
paced: whatever one of them does, a key of another is handed out after a few others. Nothing starves: every third key may
be one of a lower priority that has waited long. Time and chance are passed in; ``take`` and everything else but ``get``
is plain synchronous code, and costs O(log n).
"""

import asyncio
import heapq
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from itertools import count
from random import uniform
from typing import Final, Generic, TypeVar

from tracking_operator.shares import Bucket, Pace

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF_SECONDS: Final = 1.0
LONGEST_BACKOFF_SECONDS: Final = 300.0
JITTER: Final = (0.5, 1.0)
"""A backoff is multiplied by a random number between these, so that many failures do not come back at once."""


class Priority(IntEnum):
    """Who waits for a key; lower goes first."""

    USER = 0
    """Somebody edited the resource and looks on."""
    CHANGE = 1
    """Something that belongs to the resource changed, or its retry is due."""
    RESYNC = 2
    """Nothing is known to have changed; the external systems are looked at again."""


class Lane(Enum):
    """Which kinds of work have a worker that is never at anything else."""

    CLASSES = "classes"
    DELETIONS = "deletions"
    SERVERS = "servers"


PACE_OF_KEY: Final = {Priority.USER: Pace(5.0, 1.0), Priority.CHANGE: Pace(100.0, 5.0)}
"""How often one key may be worked on.

Nothing that is well needs as much. A script that edits a resource again and again, and two controllers that undo each
other's writes, would go on without a limit.
"""
PACE_OF_GROUP: Final = {Priority.USER: Pace(200.0, 10.0), Priority.CHANGE: Pace(1000.0, 25.0)}
"""How often the keys of one group together may be worked on."""

AGED_SECONDS: Final = {Priority.CHANGE: 2.0, Priority.RESYNC: 10.0}
"""A key that has waited this long need not wait for all of a higher priority any more."""
TURN_OF_THE_AGED: Final = 3
"""Every so many keys one that has aged goes first."""

MOST_PACED_GROUPS: Final = 10_000
"""Of how many groups the paces are remembered before those that have used nothing up are forgotten."""


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
    lane: Lane
    ticket: int = -1
    """Which of the key's entries counts; those from before its priority rose are passed over."""


_Entries = deque[tuple[int, Key]]


@dataclass
class _Level(Generic[Key]):
    """What waits in one lane with one priority: per group, and the groups in the order of their turns."""

    turns: "OrderedDict[Hashable, _Entries[Key]]" = field(default_factory=OrderedDict)
    resting: "dict[Hashable, _Entries[Key]]" = field(default_factory=dict)
    """Groups that have used their allowance up."""

    def add(self, group: Hashable, entry: tuple[int, Key]) -> None:
        entries = self.resting.get(group)
        if entries is None:
            entries = self.turns.setdefault(group, deque())
        entries.append(entry)


_LANES_IN_TURN: Final = (
    (Lane.CLASSES, Lane.SERVERS, Lane.DELETIONS),
    (Lane.CLASSES, Lane.DELETIONS, Lane.SERVERS),
)


def _all_servers(key: Hashable) -> Lane:
    return Lane.SERVERS


def _one_group(key: Hashable) -> Hashable:
    return None


def _tell_nobody(key: Hashable) -> None:
    """Let a key that begins to wait pass."""


class WorkQueue(Generic[Key]):
    """Hands out keys, the most urgent first.

    A key that is added again while somebody works on it is handed out again after ``done``.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        group: Callable[[Key], Hashable] = _one_group,
        lane: Callable[[Key], Lane] = _all_servers,
        pace_of_key: Mapping[Priority, Pace] = PACE_OF_KEY,
        on_added: Callable[[Key], None] = _tell_nobody,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = uniform,
    ) -> None:
        """``group`` tells the groups apart that share ``workers``; without a number of these there are no shares.

        A group is never at work on more than half as many keys as there are workers, and the last quarter of the workers
        is for groups that have none. ``on_added`` is called for each key that begins to wait.
        """
        self._share = max(1, workers // 2) if workers else None
        self._common = workers - workers // 4 if workers else 0
        self._group = group
        self._lane = lane
        self._paces_of_keys = pace_of_key
        self._on_added = on_added
        self._clock = clock
        self._chance = chance
        self._waiting: dict[Key, _Waiting] = {}
        self._levels = {priority: {lane: _Level[Key]() for lane in Lane} for priority in Priority}
        self._wakings: list[tuple[float, int, Priority, Lane, Hashable]] = []
        self._later: list[tuple[float, int, Key, Priority]] = []
        self._due: dict[tuple[Key, Priority], float] = {}
        self._in_work: dict[Key, bool] = {}
        self._at_work: Counter[Hashable] = Counter()
        self._slow = 0
        self._failures: dict[Key, int] = {}
        self._paces: dict[tuple[Key, Priority], Bucket] = {}
        self._group_paces: dict[tuple[Hashable, Priority], Bucket] = {}
        self._order = count()
        self._handed_out = 0
        self._closed = False
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait for a worker now."""
        return len(self._waiting)

    @property
    def in_work(self) -> int:
        """How many keys are being worked on."""
        return len(self._in_work)

    def waiting(self) -> list[Key]:
        """Return the keys that wait for a worker now; may be called from another thread."""
        return list(self._waiting)

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Let a key be worked on soon. One that waits already stays one, with the higher priority."""
        waiting, lane = self._waiting.get(key), self._lane(key)
        resync = priority is Priority.RESYNC
        if waiting is None:
            self._waiting[key] = _Waiting(priority, resync, self._clock(), lane)
            self._on_added(key)
        else:
            waiting.resync = waiting.resync or resync
            if priority >= waiting.priority and lane is waiting.lane:
                return
            waiting.priority, waiting.lane = min(priority, waiting.priority), lane
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

    def take(self, lane: Lane | None = None) -> Work[Key] | None:
        """Hand out the most urgent key, of one lane or of all, or None when none may be worked on now."""
        self._promote_due()
        for priority in self._priorities(lane):
            for one in self._lanes(lane):
                if work := self._take_from(priority, one):
                    self._handed_out += 1
                    return work
        return None

    async def get(self, lane: Lane | None = None) -> Work[Key] | None:
        """Wait for a key, of one lane or of any, and hand it out; None once the queue is closed."""
        while not self._closed:
            if work := self.take(lane):
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
        is_slow = self._in_work.pop(key, None)
        if is_slow is not None:
            self._slow -= is_slow
            group = self._group(key)
            self._at_work[group] -= 1
            if not self._at_work[group]:
                del self._at_work[group]
            self._news.set()
        if key in self._waiting:
            self._make_ready(key)

    def write_off(self, key: Key) -> None:
        """Say that the work on a key takes long: it counts for its group only, and its worker has gone on."""
        if self._in_work.get(key) is False:
            self._in_work[key] = True
            self._slow += 1
            self._news.set()

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
        for priority in Priority:
            self._due.pop((key, priority), None)
            self._paces.pop((key, priority), None)

    def close(self) -> None:
        """Hand out nothing any more."""
        self._closed = True
        self._news.set()

    def _priorities(self, lane: Lane | None) -> tuple[Priority, ...]:
        """In which order to look: every third time first at a lower priority whose turn has not come for long."""
        if self._handed_out % TURN_OF_THE_AGED == TURN_OF_THE_AGED - 1:
            for priority in sorted(AGED_SECONDS, reverse=True):
                if any(self._has_aged(priority, one) for one in self._lanes(lane)):
                    return (priority, *(other for other in Priority if other is not priority))
        return tuple(Priority)

    def _lanes(self, lane: Lane | None) -> tuple[Lane, ...]:
        return (lane,) if lane else _LANES_IN_TURN[self._handed_out % len(_LANES_IN_TURN)]

    def _has_aged(self, priority: Priority, lane: Lane) -> bool:
        """Whether the key whose turn it is has waited long."""
        turns = self._levels[priority][lane].turns
        if not turns:
            return False
        ticket, key = next(iter(turns.values()))[0]
        waiting = self._waiting.get(key)
        if waiting is None or waiting.ticket != ticket:
            return False
        return self._clock() - waiting.since >= AGED_SECONDS[priority]

    def _take_from(self, priority: Priority, lane: Lane) -> Work[Key] | None:
        level = self._levels[priority][lane]
        passed_over = 0
        while level.turns and passed_over <= len(self._at_work):
            group = next(iter(level.turns))
            if not self._may_work(group, lane):
                level.turns.move_to_end(group)
                passed_over += 1
            elif pause := self._pause_of_group(group, priority):
                self._let_rest(level, priority, lane, group, pause)
            elif work := self._next_of(level, group, priority):
                return work
        return None

    def _may_work(self, group: Hashable, lane: Lane) -> bool:
        """Whether the group has a share left."""
        mine = self._at_work[group]
        if self._share is None or not mine or lane is Lane.CLASSES:
            return True
        return mine < self._share and len(self._in_work) - self._slow < self._common

    def _next_of(self, level: _Level[Key], group: Hashable, priority: Priority) -> Work[Key] | None:
        """The group's next key that may be worked on now; the group's next turn is the last."""
        entries = level.turns[group]
        work = None
        while entries and work is None:
            ticket, key = entries.popleft()
            waiting = self._waiting.get(key)
            if waiting is None or waiting.ticket != ticket:
                continue  # an entry from before its priority rose
            if pause := self._pause_of_key(key, priority):
                self._put_off(key, pause)
                continue
            work = self._hand_out(key, group, waiting)
        if entries:
            level.turns.move_to_end(group)
        else:
            del level.turns[group]
        return work

    def _hand_out(self, key: Key, group: Hashable, waiting: _Waiting) -> Work[Key]:
        now = self._clock()
        del self._waiting[key]
        self._in_work[key] = False
        self._at_work[group] += 1
        if waiting.priority in self._paces_of_keys:
            self._bucket_of_key(key, waiting.priority).add(now)
        if waiting.priority in PACE_OF_GROUP:
            self._bucket_of_group(group, waiting.priority).add(now)
        return Work(key, waiting.priority, waiting.resync, now - waiting.since)

    def _make_ready(self, key: Key) -> None:
        waiting = self._waiting[key]
        waiting.ticket = next(self._order)
        self._levels[waiting.priority][waiting.lane].add(self._group(key), (waiting.ticket, key))
        self._news.set()

    # Pace

    def _pause_of_key(self, key: Key, priority: Priority) -> float:
        return (
            self._bucket_of_key(key, priority).pause(self._clock())
            if priority in self._paces_of_keys
            else 0.0
        )

    def _pause_of_group(self, group: Hashable, priority: Priority) -> float:
        if priority not in PACE_OF_GROUP or group is None:
            return 0.0
        return self._bucket_of_group(group, priority).pause(self._clock())

    def _bucket_of_key(self, key: Key, priority: Priority) -> Bucket:
        found = self._paces.get((key, priority))
        if found is None:
            found = self._paces[(key, priority)] = Bucket(self._paces_of_keys[priority], self._clock())
        return found

    def _bucket_of_group(self, group: Hashable, priority: Priority) -> Bucket:
        found = self._group_paces.get((group, priority))
        if found is None:
            self._forget_idle_groups()
            found = self._group_paces[(group, priority)] = Bucket(PACE_OF_GROUP[priority], self._clock())
        return found

    def _forget_idle_groups(self) -> None:
        if len(self._group_paces) >= MOST_PACED_GROUPS:
            now = self._clock()
            self._group_paces = {
                one: bucket for one, bucket in self._group_paces.items() if not bucket.is_empty(now)
            }

    def _let_rest(
        self, level: _Level[Key], priority: Priority, lane: Lane, group: Hashable, pause: float
    ) -> None:
        """Take all keys of a group out of the turns until its allowance has room again."""
        level.resting[group] = level.turns.pop(group)
        due = self._clock() + pause
        heapq.heappush(self._wakings, (due, next(self._order), priority, lane, group))

    def _put_off(self, key: Key, pause: float) -> None:
        waiting = self._waiting.pop(key)
        self.add_after(key, pause, waiting.priority)
        if waiting.resync:
            self.add_after(key, pause, Priority.RESYNC)

    # Time

    def _promote_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key, priority = heapq.heappop(self._later)
            if self._due.get((key, priority)) == due:  # not replaced by an earlier wish, nor dropped
                del self._due[(key, priority)]
                self.add(key, priority)
        while self._wakings and self._wakings[0][0] <= now:
            _, _, priority, lane, group = heapq.heappop(self._wakings)
            level = self._levels[priority][lane]
            level.turns[group] = level.resting.pop(group)

    def _seconds_to_next(self) -> float | None:
        """The seconds until something is due that nobody will tell of; None if nothing is."""
        times = [one[0][0] for one in (self._later, self._wakings) if one]
        return max(0.0, min(times) - self._clock()) if times else None
