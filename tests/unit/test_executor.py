"""A server that hangs keeps its own few threads busy, and nobody else."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.server import PostgresServer
from tracking_operator.executor import FIRST_PAUSE, LIMIT, LONGEST_PAUSE, StoreExecutor
from tracking_operator.failures import Invalid, Unavailable, Waiting

HANGING, HEALTHY = PostgresServer("hanging"), PostgresServer("healthy")


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def executor() -> Iterator[StoreExecutor]:
    executor = StoreExecutor(patience=0.05)
    yield executor
    executor.close()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets hanging work end; at the latest when the test does."""
    event = threading.Event()
    yield event
    event.set()


def unreachable() -> None:
    raise Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")


async def test_work_returns_its_result_and_raises_its_failure(executor: StoreExecutor) -> None:
    assert await executor.run(HEALTHY, lambda one, two: one + two, 1, two=2) == 3

    def wrong() -> None:
        raise Invalid(Reason.LOGIN_REFUSED, "No.")

    with pytest.raises(Invalid):
        await executor.run(HEALTHY, wrong)
    assert await executor.run(HEALTHY, lambda: 1) == 1


async def test_no_more_than_four_at_a_time(executor: StoreExecutor) -> None:
    running, most, lock = 0, 0, threading.Lock()
    patient = StoreExecutor(patience=30)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    await asyncio.gather(*(patient.run(HEALTHY, work) for _ in range(20)))
    patient.close()
    assert most == LIMIT


async def test_one_that_hangs_does_not_delay_another(
    executor: StoreExecutor, release: threading.Event
) -> None:
    hanging = [asyncio.create_task(executor.run(HANGING, release.wait)) for _ in range(LIMIT)]
    await asyncio.sleep(0)
    with pytest.raises(Waiting) as caught:
        await executor.run(HANGING, lambda: None)
    assert caught.value.reason is Reason.BUSY
    assert await executor.run(HEALTHY, lambda: "quick") == "quick"
    release.set()
    assert await asyncio.gather(*hanging) == [True] * LIMIT


async def test_who_gives_up_leaves_the_place_taken_until_the_work_ends(
    executor: StoreExecutor, release: threading.Event
) -> None:
    with pytest.raises(Unavailable, match=r"did not finish within 0\.02 s"):
        await executor.run_within(0.02, HANGING, release.wait)
    rest = [asyncio.create_task(executor.run(HANGING, release.wait)) for _ in range(LIMIT - 1)]
    await asyncio.sleep(0)
    with pytest.raises(Waiting):
        await executor.run(HANGING, lambda: None)
    release.set()
    await asyncio.gather(*rest)
    assert await executor.run(HANGING, lambda: 1) == 1


async def test_a_silent_server_is_asked_by_one_caller_at_a_time(release: threading.Event) -> None:
    clock = Clock()
    executor = StoreExecutor(now=clock)
    asked: list[str] = []
    with pytest.raises(Unavailable):
        await executor.run(HANGING, unreachable)
    with pytest.raises(Unavailable, match="It does not answer"):
        await executor.run(HANGING, asked.append, "too early")
    clock.seconds += FIRST_PAUSE
    trial = asyncio.create_task(executor.run(HANGING, release.wait))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await executor.run(HANGING, asked.append, "while another tries")
    release.set()
    await trial
    await executor.run(HANGING, asked.append, "it is back")
    assert asked == ["it is back"]
    executor.close()


async def test_the_pauses_grow_up_to_a_limit_and_begin_anew_after_an_answer() -> None:
    clock = Clock()
    executor = StoreExecutor(now=clock)
    with pytest.raises(Unavailable):
        await executor.run(HANGING, unreachable)
    pauses = [await seconds_until_asked(executor, clock) for _ in range(7)]
    assert pauses == [1, 2, *[LONGEST_PAUSE] * 5]
    clock.seconds += LONGEST_PAUSE
    assert await executor.run(HANGING, lambda: "back") == "back"
    with pytest.raises(Unavailable):
        await executor.run(HANGING, unreachable)
    assert await seconds_until_asked(executor, clock) == FIRST_PAUSE
    executor.close()


async def seconds_until_asked(executor: StoreExecutor, clock: Clock) -> float:
    """How long callers are kept away from a server that still does not answer."""
    asked: list[float] = []
    since = clock.seconds

    def ask() -> None:
        asked.append(clock.seconds)
        unreachable()

    while not asked:
        clock.seconds += 1
        with pytest.raises(Unavailable):
            await executor.run(HANGING, ask)
    return clock.seconds - since


async def test_a_trial_that_finds_no_place_leaves_the_way_free(release: threading.Event) -> None:
    clock = Clock()
    executor = StoreExecutor(patience=0.05, now=clock)
    hanging = [asyncio.create_task(executor.run(HANGING, release.wait)) for _ in range(LIMIT - 1)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await executor.run(HANGING, unreachable)
    clock.seconds += FIRST_PAUSE
    trial = asyncio.create_task(executor.run(HANGING, release.wait))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await executor.run(HANGING, lambda: None)
    release.set()
    await asyncio.gather(*hanging, trial)
    assert await executor.run(HANGING, lambda: 1) == 1
    executor.close()
