"""Workers plan the next look from what the control loop answers, and survive its mistakes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.kube.waiting import until
from tests.unit.runtime.clock import Clock
from tracking_operator.controllers.request import Outcome, Request
from tracking_operator.kube.errors import ApiError
from tracking_operator.runtime.metrics import Metrics
from tracking_operator.runtime.work_queue import Priority, WorkQueue
from tracking_operator.runtime.worker import LONGEST_RECONCILE_SECONDS, WorkerPool

KEY = Request("TrackingServer", "team-a", "mlflow")


class Loop:
    """A control loop that answers what a test wants, and notes what it was asked."""

    def __init__(self) -> None:
        self.outcome: Outcome | Exception = Outcome()
        self.seen: list[tuple[Request, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0

    async def reconcile(self, key: Request, *, resync: bool) -> Outcome:
        self.seen.append((key, resync))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await self.gate.wait()
        self.at_once -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Bench:
    """A pool of workers with everything around it in the test's hands."""

    def __init__(self, *, slow_seconds: float = 60.0, deadline_seconds: float = 60.0) -> None:
        self.clock = Clock()
        self.loop = Loop()
        self.gone: set[Request] = set()
        self.registry = CollectorRegistry()
        self.queue: WorkQueue[Request] = WorkQueue(clock=self.clock, chance=lambda low, high: high)
        self.pool = WorkerPool(
            self.queue,
            self.loop,
            Metrics(self.registry),
            size=3,
            resync_seconds=600.0,
            exists=lambda key: key not in self.gone,
            clock=self.clock,
            chance=lambda low, high: low,
            slow_seconds=slow_seconds,
            deadline_seconds=deadline_seconds,
        )

    async def look(self, count: int = 1) -> None:
        """Wait until the loop has been asked so many times and nobody is at work."""
        await until(lambda: len(self.loop.seen) >= count and not self.queue.in_work)

    def due_after(self, seconds: float) -> list[tuple[Request, Priority]]:
        self.clock.now += seconds
        found = []
        while work := self.queue.take():
            found.append((work.key, work.priority))
        return found


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.pool.start()
    yield bench
    bench.loop.gate.set()
    await bench.pool.stop(1.0)


async def test_settled_key_comes_back_at_the_next_resync_only(bench: Bench) -> None:
    bench.queue.add(KEY)
    await bench.look()
    await bench.pool.stop(1.0)
    assert bench.due_after(539.0) == []
    assert bench.due_after(1.0) == [(KEY, Priority.RESYNC)]


async def test_resync_is_announced_to_the_control_loop(bench: Bench) -> None:
    bench.queue.add(KEY, Priority.RESYNC)
    await bench.look()
    bench.queue.add(KEY)
    await bench.look(2)
    assert bench.loop.seen == [(KEY, True), (KEY, False)]


async def test_key_that_waits_comes_back_when_it_asked_to(bench: Bench) -> None:
    bench.loop.outcome = Outcome(requeue_after=15.0)
    bench.queue.add(KEY)
    await bench.look()
    await bench.pool.stop(1.0)
    assert bench.due_after(14.0) == []
    assert bench.due_after(1.0) == [(KEY, Priority.CHANGE)]


@pytest.mark.parametrize(
    "outcome", [Outcome(failed=True), ApiError(500, "InternalError", "etcd"), ValueError("a mistake")]
)
async def test_failed_key_backs_off(bench: Bench, outcome: Outcome | Exception) -> None:
    bench.loop.outcome = outcome
    bench.queue.add(KEY)
    await bench.look()
    bench.clock.now += 1.0
    bench.queue.add_after(Request("TrackingServer", "team-a", "other"), 0.0)  # wakes the workers
    await bench.look(2)
    await bench.pool.stop(1.0)
    assert bench.due_after(0.9) == []
    assert KEY in [key for key, _ in bench.due_after(1.2)]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(failed=True),
        Outcome(failed=True, requeue_after=15.0),
        Outcome(requeue_after=1.0),
        ApiError(409, "Conflict", "changed meanwhile"),
        ValueError("a mistake"),
    ],
    ids=str,
)
async def test_resync_is_planned_whatever_becomes_of_a_look(
    bench: Bench, outcome: Outcome | Exception
) -> None:
    bench.loop.outcome = outcome
    bench.queue.add(KEY)
    await bench.look()
    await bench.pool.stop(1.0)
    assert (KEY, Priority.RESYNC) not in bench.due_after(539.0)
    bench.queue.done(KEY)
    assert [key for key, _ in bench.due_after(1.0)] == [KEY]


async def test_resync_of_a_key_that_fails_again_and_again_is_not_put_off(bench: Bench) -> None:
    bench.loop.outcome = Outcome(failed=True)
    bench.queue.add(KEY)
    for count in range(1, 6):
        await bench.look(count)
        bench.clock.now += 100.0
        bench.queue.add(KEY)
    await bench.look(6)
    bench.clock.now += 40.0  # 540 s after the first
    bench.queue.add_after(Request("TrackingServer", "team-a", "other"), 0.0)  # wakes the workers
    await bench.look(8)
    assert (KEY, True) in bench.loop.seen


@pytest.mark.parametrize(
    ("failures", "requeue_after", "due"),
    [(0, 15.0, 1.0), (6, 15.0, 15.0), (6, None, 64.0)],
    ids=["the backoff", "what was asked for", "nothing was asked for"],
)
async def test_earlier_of_backoff_and_what_was_asked_for_counts(
    bench: Bench, failures: int, requeue_after: float | None, due: float
) -> None:
    for _ in range(failures):
        bench.queue.failed(KEY)
    bench.due_after(100.0)
    bench.queue.done(KEY)
    bench.loop.outcome = Outcome(failed=True, requeue_after=requeue_after)
    seen = len(bench.loop.seen)
    bench.queue.add(KEY)
    await bench.look(seen + 1)
    await bench.pool.stop(1.0)
    assert bench.due_after(due - 0.1) == []
    assert bench.due_after(0.1) == [(KEY, Priority.CHANGE)]


async def test_mistake_in_the_program_is_logged_with_its_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.loop.outcome = ValueError("a mistake")
    with caplog.at_level(logging.ERROR):
        bench.queue.add(KEY)
        await bench.look()
    (record,) = caplog.records
    assert "TrackingServer team-a/mlflow" in record.getMessage()
    assert record.exc_info
    labels = {"kind": "TrackingServer", "reason": "Unexpected"}
    assert bench.registry.get_sample_value("tracking_operator_failures_total", labels) == 1.0


async def test_what_keeps_a_resource_from_being_well_is_counted_by_its_reason(bench: Bench) -> None:
    bench.loop.outcome = Outcome(reason="ClassNotFound")
    bench.queue.add(KEY)
    await bench.look()
    labels = {"kind": "TrackingServer", "reason": "ClassNotFound"}
    assert bench.registry.get_sample_value("tracking_operator_failures_total", labels) == 1.0


async def test_key_whose_resource_is_gone_does_not_come_back(bench: Bench) -> None:
    bench.loop.outcome = Outcome()
    bench.gone.add(KEY)
    bench.queue.add(KEY)
    await bench.look()
    await bench.pool.stop(1.0)
    assert bench.due_after(10_000.0) == []


async def test_what_is_to_be_done_after_a_resource_is_gone_is_gone_on_with(bench: Bench) -> None:
    bench.loop.outcome = Outcome(requeue_after=5.0)
    bench.gone.add(KEY)
    bench.queue.add(KEY)
    await bench.look()
    await bench.pool.stop(1.0)
    assert bench.due_after(4.0) == []
    assert [key for key, _ in bench.due_after(6.0)] == [KEY]


async def test_keys_are_worked_on_side_by_side_one_key_never_twice(bench: Bench) -> None:
    bench.loop.gate.clear()
    others = [Request("TrackingServer", "team-a", f"s{number}") for number in range(4)]
    for key in (KEY, *others):
        bench.queue.add(key)
    await until(lambda: len(bench.loop.seen) == 3)
    bench.queue.add(KEY)
    bench.loop.gate.set()
    await bench.look(6)
    assert bench.loop.most_at_once == 3
    assert sorted(key for key, _ in bench.loop.seen) == sorted([KEY, KEY, *others])


async def test_stop_waits_for_what_is_in_work_and_takes_no_more(bench: Bench) -> None:
    bench.loop.gate.clear()
    bench.queue.add(KEY)
    await until(lambda: bench.queue.in_work == 1)
    stopping = asyncio.create_task(bench.pool.stop(5.0))
    await asyncio.sleep(0)
    bench.queue.add(Request("TrackingServer", "team-a", "later"))
    bench.loop.gate.set()
    assert await stopping
    assert [key for key, _ in bench.loop.seen] == [KEY]


async def test_stop_gives_up_on_a_stuck_worker(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.loop.gate.clear()
    bench.queue.add(KEY)
    await until(lambda: bench.queue.in_work == 1)
    assert not await bench.pool.stop(0.01)
    assert "Gave up waiting for TrackingServer team-a/mlflow." in caplog.messages


async def test_stuck_worker_is_a_health_problem(bench: Bench) -> None:
    bench.loop.gate.clear()
    bench.queue.add(KEY)
    await until(lambda: bench.queue.in_work == 1)
    assert bench.pool.problem() is None
    bench.clock.now += LONGEST_RECONCILE_SECONDS + 1
    problem = bench.pool.problem()
    assert problem is not None
    assert "team-a/mlflow" in problem


async def test_looks_that_take_long_do_not_keep_workers_from_other_keys() -> None:
    bench = Bench(slow_seconds=0.01)
    bench.pool.start()
    bench.loop.gate.clear()
    for number in range(12):
        bench.queue.add(Request("TrackingServer", "team-a", f"s{number}"))
    await until(lambda: len(bench.loop.seen) == 12)
    assert bench.queue.in_work == 12
    bench.loop.gate.set()
    await bench.look(12)
    assert await bench.pool.stop(1.0)


async def test_stop_waits_for_looks_that_take_long_too() -> None:
    bench = Bench(slow_seconds=0.01)
    bench.pool.start()
    bench.loop.gate.clear()
    for number in range(6):
        bench.queue.add(Request("TrackingServer", "team-a", f"s{number}"))
    await until(lambda: len(bench.loop.seen) == 6)
    assert not await bench.pool.stop(0.01)
    await until(lambda: not bench.queue.in_work)


async def test_look_without_an_end_is_given_up_and_tried_again() -> None:
    bench = Bench(deadline_seconds=0.01)
    bench.pool.start()
    bench.loop.gate.clear()
    bench.queue.add(KEY)
    await until(lambda: len(bench.loop.seen) == 1 and not bench.queue.in_work)
    await bench.pool.stop(1.0)
    assert KEY in [key for key, _ in bench.due_after(1.0)]


async def test_pool_that_was_never_started_stops_at_once() -> None:
    bench = Bench()
    assert bench.pool.problem() is None
    with contextlib.suppress(TimeoutError):
        assert await bench.pool.stop(1.0)
