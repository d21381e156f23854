"""The workers: take a key, let the control loop look at it, and plan when to look again."""

import asyncio
import logging
import time
from collections.abc import Callable
from random import uniform
from typing import Final, Protocol

from tracking_operator.controllers.request import Outcome, Request
from tracking_operator.runtime.logs import about
from tracking_operator.runtime.metrics import Metrics
from tracking_operator.runtime.work_queue import Lane, Priority, Work, WorkQueue

logger = logging.getLogger(__name__)

RESYNC_JITTER: Final = (0.9, 1.1)
SLOW_SECONDS: Final = 5.0
"""After this a worker leaves a look to itself and goes on with another key: a tenant's things may answer late."""
MOST_SLOW: Final = 32
"""How many looks are left to themselves at most."""
DEADLINE_SECONDS: Final = 240.0
"""When a look is given up, for what is looked at answers whenever it likes."""
LONGEST_RECONCILE_SECONDS: Final = 300.0
"""A look that goes on although it was given up is stuck, and the operator with it."""


class Reconciler(Protocol):
    """The control loop, as the workers see it."""

    async def reconcile(self, key: Request, *, resync: bool) -> Outcome:
        """Look at one resource and put right what can be put right."""
        ...


class WorkerPool:
    """Works on keys side by side, each key by one worker at a time.

    Beside ``size`` workers for everything there is one for classes and one for deletions.
    """

    def __init__(
        self,
        queue: WorkQueue[Request],
        reconciler: Reconciler,
        metrics: Metrics,
        *,
        size: int,
        resync_seconds: float,
        exists: Callable[[Request], bool],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = uniform,
        slow_seconds: float = SLOW_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._size = size
        self._resync_seconds = resync_seconds
        self._exists = exists
        self._clock = clock
        self._chance = chance
        self._slow_seconds = slow_seconds
        self._deadline_seconds = deadline_seconds
        self._started: dict[Request, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._looks: set[asyncio.Task[None]] = set()
        self._slow: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to work."""
        lanes = (*(None for _ in range(self._size)), Lane.CLASSES, Lane.DELETIONS)
        self._tasks = [
            asyncio.create_task(self._work(lane), name=f"worker {number}")
            for number, lane in enumerate(lanes)
        ]

    async def stop(self, patience: float) -> bool:
        """Take no more keys and wait up to ``patience`` seconds for those in work; return whether all ended."""
        self._queue.close()
        if not self._tasks:
            return True
        _, unfinished = await asyncio.wait({*self._tasks, *self._looks}, timeout=patience)
        for key in self._started:
            logger.warning("Gave up waiting for %s %s/%s.", key.kind, key.namespace, key.name)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        return not unfinished

    def in_work(self) -> list[tuple[str, float]]:
        """Return the kind of each key in work, and the seconds since it began; may be called from another thread."""
        now = self._clock()
        return [(key.kind, now - started) for key, started in list(self._started.items())]

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

    async def _work(self, lane: Lane | None) -> None:
        while work := await self._queue.get(lane):
            with about(work.key):
                look = asyncio.create_task(self._work_on(work), name=f"look at {work.key}")
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
            await self._accompany(work.key, look)
            await asyncio.sleep(0)  # a look that waits for nothing must not keep the Lease from being renewed

    async def _accompany(self, key: Request, look: "asyncio.Task[None]") -> None:
        """Wait for a look to end; one that takes long is left to itself, if not too many are."""
        done, _ = await asyncio.wait({look}, timeout=self._slow_seconds)
        if done:
            return
        if len(self._slow) >= MOST_SLOW:
            await asyncio.wait({look})
            return
        self._slow.add(look)
        look.add_done_callback(self._slow.discard)
        self._queue.write_off(key)

    async def _work_on(self, work: Work[Request]) -> None:
        key = work.key
        self._metrics.observe_wait(key.kind, work.priority.name.lower(), work.waited)
        self._started[key] = started = self._clock()
        outcome: Outcome | None = None
        try:
            async with asyncio.timeout(self._deadline_seconds):
                outcome = await self._reconciler.reconcile(key, resync=work.resync)
        except TimeoutError:
            logger.warning("Looking at %s %s/%s took too long.", key.kind, key.namespace, key.name)
            self._metrics.count_failure(key.kind, "TooLong")
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

    def _plan_next(self, key: Request, outcome: Outcome | None) -> None:
        """Plan the next look: the earlier of the backoff and what the loop asks for, and a resync in any case."""
        has_failed = outcome is None or outcome.failed
        has_ended = outcome is not None and not has_failed and outcome.requeue_after is None
        if has_ended and not self._exists(key):
            self._queue.drop(key)
            return
        if has_failed:
            self._queue.failed(key)
            self._metrics.count_retry(key.kind)
        else:
            self._queue.forget(key)
        if outcome is not None and outcome.requeue_after is not None:
            self._queue.add_after(key, outcome.requeue_after)
        if self._exists(key):
            resync_after = self._resync_seconds * self._chance(*RESYNC_JITTER)
            self._queue.add_after(key, resync_after, Priority.RESYNC)


def _word(outcome: Outcome | None) -> str:
    if outcome is None or outcome.failed:
        return "failed"
    return "settled" if outcome.requeue_after is None else "waiting"
