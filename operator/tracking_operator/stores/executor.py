"""Runs blocking work in threads, few per store, so that one that hangs delays nobody else.

Two kinds of work are kept apart. Work *for the class* is done by the admin in what is the platform team's alone: the
maintenance database, the bucket as a whole. It alone tells whether a store answers, and has places that nobody else gets.
Work *for a namespace* meets what a tenant owns, so that its failure is evidence about that tenant only: it never keeps
others away, and no word of it is told to them.

At most ``LIMIT`` pieces of work for namespaces are under way on one store, never all of them for one namespace. Work
that takes long is counted among the slow from then on, and so is all work of its namespace for a while: slow namespaces
share a few places of their own. Who finds no place waits a moment and is then told to come back, instead of holding up one
of the operator's workers. When a store does not answer the class, everybody is told so at once, except for one at a
time who tries again for the class after a growing delay.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Unavailable, Waiting, failure_for
from tracking_operator.shares import Shares

LIMIT: Final = 4
SHARE: Final = LIMIT - 1
"""Of ``LIMIT``, how many places one namespace gets."""
SLOW_LIMIT: Final = 12
"""How many places all slow namespaces have together; each of them gets one."""
PLACES_OF_CLASSES: Final = 2

SECONDS_TO_WAIT_FOR_A_PLACE: Final = 1.0
SECONDS_OF_WORK: Final = 60.0
SLOW_AFTER: Final = 4.0
SECONDS_OF_MISTRUST: Final = 60.0
"""How long a namespace counts as slow after its last work that took long."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 4.0

NO_ANSWER: Final = frozenset({Reason.STORE_UNREACHABLE, Reason.HOST_NOT_FOUND})
"""The reasons by which work for the class says that a store does not answer."""

_CLASSES: Final = ""
"""Who has the places of classes; no namespace is called like it."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Store(Protocol):
    """A PostgreSQL server or an object store, as far as the executor is concerned."""

    @property
    def address(self) -> Hashable:
        """What tells stores apart: equal ones share their places."""

    @property
    def title(self) -> str:
        """How a sentence calls it, for example "PostgreSQL at pg.db.svc:5432"."""


@dataclass
class _Lane:
    """The places of one store, and what is known about whether it answers."""

    threads: ThreadPoolExecutor
    classes: Shares = field(default_factory=lambda: Shares(PLACES_OF_CLASSES, PLACES_OF_CLASSES))
    namespaces: Shares = field(default_factory=lambda: Shares(LIMIT, SHARE))
    slow: Shares = field(default_factory=lambda: Shares(SLOW_LIMIT, 1))
    slow_until: dict[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    pause: float = 0.0
    try_again_at: float = 0.0
    trying: bool = False

    def places_of(self, namespace: str, now: float) -> Shares:
        """Where a namespace has to look for a place."""
        self.slow_until = {name: until for name, until in self.slow_until.items() if until > now}
        is_slow = namespace in self.slow_until or self.slow.taken_by(namespace) > 0
        return self.slow if is_slow else self.namespaces


@dataclass
class _Place:
    """A place that somebody has until the work ends."""

    shares: Shares
    namespace: str

    def give_back(self) -> None:
        self.shares.give_back(self.namespace)


class StoreExecutor:
    """Threads for all stores. To be used from one event loop."""

    def __init__(
        self,
        patience: float = SECONDS_TO_WAIT_FOR_A_PLACE,
        slow_after: float = SLOW_AFTER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` is a clock in seconds that never jumps."""
        self._patience = patience
        self._slow_after = slow_after
        self._now = now
        self._lanes: dict[Hashable, _Lane] = {}
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    async def run_for(
        self,
        namespace: str,
        store: Store,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        """Run blocking ``work`` for a tenant of ``namespace`` in a thread and return what it returns.

        Work is not interrupted when the caller is cancelled or gives up; its place stays taken until it ends.

        Raises:
            Waiting: there was no place; with the reason Busy.
            Failure: the store did not answer the class a moment ago, the time is over, or ``work`` raised it.

        """
        lane = self._lane(store)
        if lane.failure is not None:
            raise _repeated(lane.failure)
        place = await self._take_place(lane.places_of(namespace, self._now()), namespace, store)
        future = self._start(lane, place, partial(work, *arguments, **keywords))
        turning_slow = asyncio.get_running_loop().call_later(
            self._slow_after, self._turn_slow, lane, place, future
        )
        future.add_done_callback(lambda _: turning_slow.cancel())
        return await self._result(future, store, SECONDS_OF_WORK)

    async def run_for_class(
        self, store: Store, work: Callable[[], Result], *, seconds: float = SECONDS_OF_WORK
    ) -> Result:
        """Run blocking ``work`` of the admin, who meets nothing of a tenant there, as ``run_for`` does.

        It gives up on the result after ``seconds``. What becomes of it tells everybody whether the store answers.
        """
        lane = self._lane(store)
        self._refuse_while_silent(lane)
        is_trial = lane.failure is not None
        lane.trying = is_trial
        try:
            place = await self._take_place(lane.classes, _CLASSES, store)
            result = await self._result(self._start(lane, place, work), store, seconds)
        except Failure as failure:
            self._note(lane, failure)
            raise
        finally:
            if is_trial:
                lane.trying = False
        self._note(lane, None)
        return result

    def close(self) -> None:
        """Let the threads go; work that is under way ends by its own time-outs."""
        self._stopping = True
        for lane in self._lanes.values():
            lane.threads.shutdown(wait=False, cancel_futures=True)

    async def stop(self, patience: float) -> bool:
        """Begin no more work and wait up to ``patience`` seconds for that under way; return whether all has ended."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        self.close()
        return self._idle.is_set()

    def _start(self, lane: _Lane, place: _Place, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        try:
            future = asyncio.get_running_loop().run_in_executor(lane.threads, work)
        except RuntimeError:  # the threads were let go
            place.give_back()
            raise
        self._under_way += 1
        self._idle.clear()
        future.add_done_callback(lambda done: self._finished(place, done))
        return future

    async def _result(self, future: "asyncio.Future[Result]", store: Store, seconds: float) -> Result:
        try:
            return await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError:
            raise Unavailable(
                Reason.STORE_UNREACHABLE,
                f"{store.title} did not finish within {seconds:g} s. The operator goes on trying.",
            ) from None

    def _finished(self, place: _Place, done: "asyncio.Future[Result]") -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()
        place.give_back()
        if not done.cancelled():
            done.exception()  # whoever gave up does not ask for it

    def _turn_slow(self, lane: _Lane, place: _Place, future: "asyncio.Future[Result]") -> None:
        """Count work among the slow: others get its place, and its namespace waits with its like."""
        if future.done() or place.shares is not lane.namespaces:
            return
        lane.slow_until[place.namespace] = self._now() + SECONDS_OF_MISTRUST
        lane.namespaces.turn_away(place.namespace)
        if lane.slow.taken < SLOW_LIMIT:
            lane.slow.take_anyway(place.namespace)
            place.give_back()
            place.shares = lane.slow

    def _note(self, lane: _Lane, failure: Failure | None) -> None:
        """Remember how work for the class has ended."""
        if failure is not None and failure.reason in NO_ANSWER:
            lane.failure = failure
            lane.pause = min(LONGEST_PAUSE, lane.pause * 2 or FIRST_PAUSE)
            lane.try_again_at = self._now() + lane.pause
        elif not (isinstance(failure, Waiting) and failure.reason is Reason.BUSY):
            if lane.failure is not None:
                lane.slow_until.clear()  # who was slow while the store was silent is not to blame
            lane.failure, lane.pause = None, 0.0

    async def _take_place(self, shares: Shares, namespace: str, store: Store) -> _Place:
        if self._stopping or not await shares.take(namespace, self._patience):
            raise Waiting(
                Reason.BUSY,
                f"{store.title} is still carrying out other requests; this one comes next.",
                retry_after=self._patience,
            )
        return _Place(shares, namespace)

    def _refuse_while_silent(self, lane: _Lane) -> None:
        if lane.failure is not None and (lane.trying or self._now() < lane.try_again_at):
            raise _repeated(lane.failure)

    def _lane(self, store: Store) -> _Lane:
        if store.address not in self._lanes:
            most = PLACES_OF_CLASSES + LIMIT + SLOW_LIMIT
            threads = ThreadPoolExecutor(most, thread_name_prefix=store.title.replace(" ", "-"))
            self._lanes[store.address] = _Lane(threads)
        return self._lanes[store.address]


def _repeated(failure: Failure) -> Failure:
    return failure_for(failure.reason, failure.message)
