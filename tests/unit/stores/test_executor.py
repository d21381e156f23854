"""A server that hangs keeps its own few threads busy, and a tenant whose work hangs only that tenant."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.unit.kube.waiting import until
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.stores.executor import (
    FIRST_PAUSE,
    LIMIT,
    LONGEST_PAUSE,
    PLACES_OF_CLASSES,
    SECONDS_OF_MISTRUST,
    SHARE,
    SLOW_LIMIT,
    StoreExecutor,
)
from tracking_operator.stores.postgres.database_server import PostgresServer

HANGING, HEALTHY = PostgresServer("hanging"), PostgresServer("healthy")
SECRET_WORDS = "words of the tenant's own database"


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


def hang(
    executor: StoreExecutor, release: threading.Event, namespace: str, count: int
) -> "list[asyncio.Task[bool]]":
    return [asyncio.create_task(executor.run_for(namespace, HANGING, release.wait)) for _ in range(count)]


async def test_work_returns_its_result_and_raises_its_failure(executor: StoreExecutor) -> None:
    assert await executor.run_for("team-a", HEALTHY, lambda one, two: one + two, 1, two=2) == 3
    assert await executor.run_for_class(HEALTHY, lambda: 3) == 3

    def wrong() -> None:
        raise Invalid(Reason.LOGIN_REFUSED, "No.")

    with pytest.raises(Invalid):
        await executor.run_for("team-a", HEALTHY, wrong)
    with pytest.raises(Invalid):
        await executor.run_for_class(HEALTHY, wrong)
    assert await executor.run_for("team-a", HEALTHY, lambda: 1) == 1


async def test_no_more_than_four_at_a_time_and_never_all_of_one_namespace() -> None:
    running: list[str] = []
    most, most_of_one, lock = 0, 0, threading.Lock()
    patient = StoreExecutor(patience=30)

    def work(namespace: str) -> None:
        nonlocal most, most_of_one
        with lock:
            running.append(namespace)
            most = max(most, len(running))
            most_of_one = max(most_of_one, running.count(namespace))
        threading.Event().wait(0.005)
        with lock:
            running.remove(namespace)

    names = ["team-a", "team-b", "team-c"] * 10
    await asyncio.gather(*(patient.run_for(name, HEALTHY, work, name) for name in names))
    patient.close()
    assert most == LIMIT
    assert most_of_one <= SHARE


async def test_one_store_that_hangs_does_not_delay_another(
    executor: StoreExecutor, release: threading.Event
) -> None:
    hanging = hang(executor, release, "team-a", SHARE)
    await asyncio.sleep(0)
    with pytest.raises(Waiting) as caught:
        await executor.run_for("team-a", HANGING, lambda: None)
    assert caught.value.reason is Reason.BUSY
    assert await executor.run_for("team-a", HEALTHY, lambda: "quick") == "quick"
    release.set()
    assert await asyncio.gather(*hanging) == [True] * SHARE


@pytest.mark.parametrize("reason", list(Reason))
async def test_whatever_a_tenant_fails_with_others_neither_hear_of_it_nor_wait(
    executor: StoreExecutor, reason: Reason
) -> None:
    def fail() -> None:
        raise Unavailable(reason, SECRET_WORDS)

    for _ in range(10):
        with pytest.raises(Failure):
            await executor.run_for("hostile", HEALTHY, fail)
    assert await executor.run_for("honest", HEALTHY, lambda: "well") == "well"
    assert await executor.run_for_class(HEALTHY, lambda: "well") == "well"


async def test_namespace_whose_work_hangs_leaves_places_to_others_and_to_the_class(
    executor: StoreExecutor, release: threading.Event
) -> None:
    hanging = hang(executor, release, "hostile", 10)
    await asyncio.sleep(0)
    assert await executor.run_for("honest", HANGING, lambda: "served") == "served"
    assert await executor.run_for_class(HANGING, lambda: "served") == "served"
    assert executor._lanes[HANGING.address].namespaces.taken_by("hostile") == SHARE
    release.set()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_many_namespaces_whose_work_hangs_lose_their_places_to_others(release: threading.Event) -> None:
    clock = Clock()
    executor = StoreExecutor(patience=0.05, slow_after=0.1, now=clock)
    hanging = [task for number in range(3) for task in hang(executor, release, f"hostile-{number}", 2)]
    await asyncio.wait(hanging, timeout=0.15)
    honest = StoreExecutor(patience=5)
    honest._lanes = executor._lanes  # the same lanes, with more patience
    assert await honest.run_for("honest", HANGING, lambda: "served") == "served"
    assert await executor.run_for_class(HANGING, lambda: "served") == "served"
    with pytest.raises(Waiting):
        await executor.run_for("hostile-0", HANGING, lambda: None)
    release.set()
    await asyncio.gather(*hanging, return_exceptions=True)
    executor.close()


async def test_slow_namespace_is_trusted_again_after_a_while(release: threading.Event) -> None:
    clock = Clock()
    executor = StoreExecutor(patience=0.05, slow_after=0.02, now=clock)
    hanging = hang(executor, release, "slow", 1)
    await asyncio.sleep(0)
    lane = executor._lanes[HANGING.address]
    await until(lambda: lane.slow.taken == 1)
    release.set()
    await asyncio.gather(*hanging)
    assert lane.places_of("slow", clock()) is lane.slow
    clock.seconds += SECONDS_OF_MISTRUST + 1
    assert lane.places_of("slow", clock()) is lane.namespaces
    executor.close()


async def test_number_of_threads_is_bounded_whatever_hangs(release: threading.Event) -> None:
    executor = StoreExecutor(patience=0.3, slow_after=0.01)
    before = threading.active_count()
    hanging = [task for number in range(60) for task in hang(executor, release, f"hostile-{number}", 2)]
    await asyncio.gather(*(asyncio.wait([task], timeout=1) for task in hanging))
    assert threading.active_count() - before <= LIMIT + SLOW_LIMIT + PLACES_OF_CLASSES
    assert await executor.run_for_class(HANGING, lambda: "served") == "served"
    release.set()
    await asyncio.gather(*hanging, return_exceptions=True)
    executor.close()


async def test_class_that_gives_up_leaves_the_place_taken_until_the_work_ends(
    executor: StoreExecutor, release: threading.Event
) -> None:
    for _ in range(PLACES_OF_CLASSES):
        with pytest.raises(Unavailable, match=r"did not finish within 0\.02 s"):
            await executor.run_for_class(HANGING, release.wait, seconds=0.02)
        executor._lanes[HANGING.address].try_again_at = 0.0
    with pytest.raises(Waiting):
        await executor.run_for_class(HANGING, lambda: None)
    release.set()
    await until(executor._idle.is_set)
    executor._lanes[HANGING.address].try_again_at = 0.0
    assert await executor.run_for_class(HANGING, lambda: 1) == 1


async def test_time_out_of_the_class_counts_at_once_though_its_work_goes_on(
    executor: StoreExecutor, release: threading.Event
) -> None:
    with pytest.raises(Unavailable):
        await executor.run_for_class(HANGING, release.wait, seconds=0.02)
    with pytest.raises(Unavailable, match="did not finish"):
        await executor.run_for("team-a", HANGING, lambda: None)


async def test_a_silent_server_is_asked_by_one_class_at_a_time(release: threading.Event) -> None:
    clock = Clock()
    executor = StoreExecutor(now=clock)
    asked: list[str] = []
    with pytest.raises(Unavailable):
        await executor.run_for_class(HANGING, unreachable)
    with pytest.raises(Unavailable, match="It does not answer"):
        await executor.run_for_class(HANGING, lambda: asked.append("too early"))
    clock.seconds += FIRST_PAUSE
    with pytest.raises(Unavailable, match="It does not answer"):
        await executor.run_for("team-a", HANGING, lambda: asked.append("not for the class"))
    trial = asyncio.create_task(executor.run_for_class(HANGING, release.wait))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await executor.run_for_class(HANGING, lambda: asked.append("while another tries"))
    release.set()
    await trial
    await executor.run_for("team-a", HANGING, asked.append, "it is back")
    assert asked == ["it is back"]
    executor.close()


async def test_the_pauses_grow_up_to_a_limit_and_begin_anew_after_an_answer() -> None:
    clock = Clock()
    executor = StoreExecutor(now=clock)
    with pytest.raises(Unavailable):
        await executor.run_for_class(HANGING, unreachable)
    pauses = [await seconds_until_asked(executor, clock) for _ in range(7)]
    assert pauses == [1, 2, *[LONGEST_PAUSE] * 5]
    clock.seconds += LONGEST_PAUSE
    assert await executor.run_for_class(HANGING, lambda: "back") == "back"
    with pytest.raises(Unavailable):
        await executor.run_for_class(HANGING, unreachable)
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
            await executor.run_for_class(HANGING, ask)
    return clock.seconds - since


async def test_stop_waits_for_work_and_says_whether_all_has_ended(release: threading.Event) -> None:
    executor = StoreExecutor(patience=0.05)
    hanging = hang(executor, release, "team-a", 1)
    await asyncio.sleep(0)
    assert not await executor.stop(0.05)
    with pytest.raises(Waiting):
        await executor.run_for("team-b", HANGING, lambda: None)
    release.set()
    assert await executor.stop(5)
    await asyncio.gather(*hanging)
