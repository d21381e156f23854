"""Runs blocking work in threads, few per store, so that one that hangs delays nobody else.

At most ``LIMIT`` pieces of work, and so as many requests, are under way on one store. Who finds all
places taken waits a moment and is then told to come back, instead of holding up one of the operator's
workers. When a store does not answer, the next callers are told so at once, except for one at a time
who tries again after a growing delay.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Unavailable, Waiting

LIMIT: Final = 4
SECONDS_TO_WAIT_FOR_A_PLACE: Final = 1.0
SECONDS_OF_WORK: Final = 60.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 4.0

NO_ANSWER: Final = frozenset({Reason.STORE_UNREACHABLE, Reason.HOST_NOT_FOUND})
"""The reasons that say something about a whole store, and not about one tenant of it."""

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

    places: asyncio.Semaphore
    threads: ThreadPoolExecutor
    failure: Failure | None = None
    pause: float = 0.0
    try_again_at: float = 0.0
    trying: bool = field(default=False)


class StoreExecutor:
    """Threads for all stores. To be used from one event loop."""

    def __init__(
        self,
        limit: int = LIMIT,
        patience: float = SECONDS_TO_WAIT_FOR_A_PLACE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` is a clock in seconds that never jumps."""
        self._limit = limit
        self._patience = patience
        self._now = now
        self._lanes: dict[Hashable, _Lane] = {}

    async def run(
        self,
        store: Store,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        """Run blocking ``work`` on ``store`` in a thread and return what it returns.

        Work is not interrupted when the caller is cancelled; its place stays taken until it ends.

        Raises:
            Waiting: all places stayed taken; with the reason Busy.
            Failure: the store did not answer a moment ago, or ``work`` raised it.

        """
        return await self.run_within(SECONDS_OF_WORK, store, partial(work, *arguments, **keywords))

    async def run_within(self, seconds: float, store: Store, work: Callable[[], Result]) -> Result:
        """Like ``run``, but give up on the result after ``seconds``.

        Raises:
            Unavailable: the time is over.
            Failure: as ``run`` does.

        """
        lane = self._lane(store)
        self._refuse_while_silent(lane)
        is_trial = lane.failure is not None
        lane.trying = is_trial
        try:
            await self._take_place(lane, store)
            return await self._carry_out(lane, store, work, seconds)
        finally:
            if is_trial:
                lane.trying = False

    def close(self) -> None:
        """Let the threads go; work that is under way ends by its own time-outs."""
        for lane in self._lanes.values():
            lane.threads.shutdown(wait=False, cancel_futures=True)

    async def _carry_out(
        self, lane: _Lane, store: Store, work: Callable[[], Result], seconds: float
    ) -> Result:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(lane.threads, work)
        future.add_done_callback(lambda done: self._finished(lane, done))
        try:
            return await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError:
            raise Unavailable(
                Reason.STORE_UNREACHABLE,
                f"{store.title} did not finish within {seconds:g} s. The operator goes on trying.",
            ) from None

    def _finished(self, lane: _Lane, done: "asyncio.Future[Result]") -> None:
        lane.places.release()
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Failure) and error.reason in NO_ANSWER:
            lane.failure = error
            lane.pause = min(LONGEST_PAUSE, lane.pause * 2 or FIRST_PAUSE)
            lane.try_again_at = self._now() + lane.pause
        elif not done.cancelled():
            lane.failure, lane.pause = None, 0.0

    async def _take_place(self, lane: _Lane, store: Store) -> None:
        try:
            await asyncio.wait_for(lane.places.acquire(), self._patience)
        except TimeoutError:
            raise Waiting(
                Reason.BUSY,
                f"{store.title} is still carrying out {self._limit} other requests; this one comes next.",
                retry_after=self._patience,
            ) from None

    def _refuse_while_silent(self, lane: _Lane) -> None:
        if lane.failure is None:
            return
        if lane.trying or self._now() < lane.try_again_at:
            raise type(lane.failure)(lane.failure.reason, lane.failure.message)

    def _lane(self, store: Store) -> _Lane:
        if store.address not in self._lanes:
            threads = ThreadPoolExecutor(self._limit, thread_name_prefix=store.title.replace(" ", "-"))
            self._lanes[store.address] = _Lane(asyncio.Semaphore(self._limit), threads)
        return self._lanes[store.address]
