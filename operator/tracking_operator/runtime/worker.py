"""The workers: take a key, let the control loop look at it, and plan when to look again."""

import asyncio
import logging
import time
from collections.abc import Callable
from random import uniform
from typing import Final, Protocol

from tracking_operator.reconcile.keys import Key, Outcome
from tracking_operator.runtime.logs import about
from tracking_operator.runtime.metrics import Metrics
from tracking_operator.runtime.work_queue import Priority, Work, WorkQueue

logger = logging.getLogger(__name__)

RESYNC_JITTER: Final = (0.9, 1.1)
LONGEST_RECONCILE_SECONDS: Final = 300.0
"""Every call to the outside has a time-out well below this: a worker that takes longer is stuck."""


class Reconciler(Protocol):
    """The control loop, as the workers see it."""

    async def reconcile(self, key: Key, *, resync: bool) -> Outcome:
        """Look at one resource and put right what can be put right."""
        ...


class WorkerPool:
    """Works on keys side by side, each key by one worker at a time."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconciler: Reconciler,
        metrics: Metrics,
        *,
        size: int,
        resync_seconds: float,
        exists: Callable[[Key], bool],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = uniform,
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._size = size
        self._resync_seconds = resync_seconds
        self._exists = exists
        self._clock = clock
        self._chance = chance
        self._started: dict[Key, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work."""
        self._tasks = [
            asyncio.create_task(self._work(), name=f"worker {number}") for number in range(self._size)
        ]

    async def stop(self, patience: float) -> bool:
        """Take no more keys and wait up to ``patience`` seconds for those in work; return whether all ended."""
        self._queue.close()
        if not self._tasks:
            return True
        _, unfinished = await asyncio.wait(self._tasks, timeout=patience)
        for key in self._started:
            logger.warning("Gave up waiting for %s %s/%s.", key.kind, key.namespace, key.name)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return not unfinished

    def problem(self) -> str | None:
        """Say which key a worker is stuck at, if any; may be called from another thread."""
        now = self._clock()
        for key, started in list(self._started.items()):
            if now - started > LONGEST_RECONCILE_SECONDS:
                return (
                    f"A worker has been at {key.kind} {key.namespace}/{key.name} for {now - started:.0f} s."
                )
        if any(task.done() for task in self._tasks):
            return "A worker has ended."
        return None

    async def _work(self) -> None:
        while work := await self._queue.get():
            with about(work.key):
                await self._work_on(work)
            await asyncio.sleep(0)  # a look that waits for nothing must not keep the Lease from being renewed

    async def _work_on(self, work: Work[Key]) -> None:
        key = work.key
        self._metrics.observe_wait(work.priority.name.lower(), work.waited)
        self._started[key] = started = self._clock()
        outcome: Outcome | None = None
        try:
            outcome = await self._reconciler.reconcile(key, resync=work.resync)
        except Exception:
            logger.exception("Looking at %s %s/%s failed unexpectedly.", key.kind, key.namespace, key.name)
            self._metrics.count_failure(key.kind, "Unexpected")
        finally:
            del self._started[key]
            self._plan_next(key, outcome)
            self._queue.done(key)
        if outcome is not None and (outcome.reason or outcome.failed):
            self._metrics.count_failure(key.kind, outcome.reason or "Failed")
        self._metrics.observe_reconcile(key.kind, _word(outcome), self._clock() - started)

    def _plan_next(self, key: Key, outcome: Outcome | None) -> None:
        if outcome is None or outcome.failed:
            self._queue.failed(key)
            return
        if not self._exists(key):
            self._queue.drop(key)
            return
        self._queue.forget(key)
        if outcome.retry_after is not None:
            self._queue.add_after(key, outcome.retry_after)
        self._queue.add_after(key, self._resync_seconds * self._chance(*RESYNC_JITTER), Priority.RESYNC)


def _word(outcome: Outcome | None) -> str:
    if outcome is None or outcome.failed:
        return "failed"
    return "settled" if outcome.retry_after is None else "waiting"
