"""The queue loses no key, hands none out twice at a time, and puts people first."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.runtime.clock import Clock
from tracking_operator.runtime.work_queue import (
    LONGEST_BACKOFF_SECONDS,
    LONGEST_RUSH,
    RUSH_PER_SECOND,
    Priority,
    Work,
    WorkQueue,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, chance=lambda low, high: high)


def take(queue: WorkQueue[str]) -> Work[str]:
    work = queue.take()
    assert work is not None
    return work


def test_urgent_keys_go_first_and_equals_in_order(queue: WorkQueue[str]) -> None:
    queue.add("routine", Priority.RESYNC)
    queue.add("first change")
    queue.add("second change")
    queue.add("edit", Priority.USER)
    assert [take(queue).key for _ in range(4)] == ["edit", "first change", "second change", "routine"]


def test_key_waits_once(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1
    take(queue)
    queue.done("a")
    assert queue.take() is None


def test_waiting_key_takes_the_higher_priority_and_keeps_its_resync(queue: WorkQueue[str]) -> None:
    queue.add("a", Priority.RESYNC)
    queue.add("b")
    queue.add("a", Priority.USER)
    queue.add("a")
    work = take(queue)
    assert (work.key, work.priority, work.resync) == ("a", Priority.USER, True)
    assert not take(queue).resync


def test_key_added_while_in_work_is_handed_out_again_after_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    take(queue)
    queue.add("a", Priority.USER)
    assert queue.take() is None
    queue.done("a")
    assert take(queue).priority is Priority.USER


def test_delayed_key_comes_when_it_is_due(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    clock.now += 4.9
    assert queue.take() is None
    clock.now += 0.1
    assert take(queue).key == "a"


def test_earliest_of_several_delays_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 50.0)
    queue.add_after("a", 5.0)
    queue.add_after("a", 20.0)
    clock.now += 5.0
    assert take(queue).key == "a"
    queue.done("a")
    clock.now += 100.0
    assert queue.take() is None


def test_retry_does_not_put_off_the_resync(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 10.0, Priority.RESYNC)
    for _ in range(3):
        queue.add_after("a", 3.0)
        clock.now += 3.0
        assert not take(queue).resync
        queue.done("a")
    clock.now += 1.0
    assert take(queue).resync


def test_failures_back_off_up_to_five_minutes(queue: WorkQueue[str]) -> None:
    delays = [queue.failed("a") for _ in range(12)]
    assert delays[:4] == [1.0, 2.0, 4.0, 8.0]
    assert delays[-1] == LONGEST_BACKOFF_SECONDS


def test_backoff_is_half_a_second_at_least(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock, chance=lambda low, high: low)
    assert queue.failed("a") == 0.5


def test_success_ends_the_backoff(queue: WorkQueue[str]) -> None:
    for _ in range(5):
        queue.failed("a")
    queue.forget("a")
    assert queue.failed("a") == 1.0


def test_failing_key_is_worked_on_at_once_when_something_changes(queue: WorkQueue[str]) -> None:
    for _ in range(10):
        queue.failed("a")
    queue.add("a")
    assert take(queue).key == "a"


def test_dropped_key_does_not_come_back_by_itself(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    queue.failed("a")
    queue.add_after("a", 600.0, Priority.RESYNC)
    queue.drop("a")
    clock.now += 1000.0
    assert queue.take() is None


def test_dropped_key_that_was_added_again_meanwhile_is_still_handed_out(queue: WorkQueue[str]) -> None:
    queue.add("a")
    take(queue)
    queue.add("a")
    queue.drop("a")
    queue.done("a")
    assert take(queue).key == "a"


def test_work_says_how_long_it_waited(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", Priority.RESYNC)
    clock.now += 3.0
    queue.add("a", Priority.USER)
    assert take(queue).waited == 3.0


def looks(queue: WorkQueue[str], clock: Clock, seconds: float, priority: Priority = Priority.CHANGE) -> int:
    """Count how often a key is handed out that changes every hundredth of a second."""
    count = 0
    for _ in range(round(seconds * 100)):
        queue.add("fought over", priority)
        if queue.take():
            count += 1
            queue.done("fought over")
        clock.now += 0.01
    return count


def test_fight_over_a_resource_is_slowed_down(queue: WorkQueue[str], clock: Clock) -> None:
    assert looks(queue, clock, 10.0) <= LONGEST_RUSH + 10 * RUSH_PER_SECOND + 1
    assert looks(queue, clock, 10.0) <= 10 * RUSH_PER_SECOND + 1


def test_fight_over_one_resource_does_not_slow_down_others(queue: WorkQueue[str], clock: Clock) -> None:
    looks(queue, clock, 10.0)
    queue.add("other")
    assert take(queue).key == "other"


def test_edit_by_a_person_is_looked_at_during_a_fight(queue: WorkQueue[str], clock: Clock) -> None:
    looks(queue, clock, 10.0)
    queue.add("fought over", Priority.USER)
    assert take(queue).key == "fought over"


def test_last_change_of_a_fight_is_looked_at_in_the_end(queue: WorkQueue[str], clock: Clock) -> None:
    looks(queue, clock, 10.0)
    queue.add("fought over")
    if queue.take():
        queue.done("fought over")
        queue.add("fought over")
    clock.now += 1.0
    assert take(queue).key == "fought over"


def test_allowance_comes_back_after_a_quiet_time(queue: WorkQueue[str], clock: Clock) -> None:
    looks(queue, clock, 10.0)
    clock.now += LONGEST_RUSH / RUSH_PER_SECOND
    assert looks(queue, clock, 0.5) == 50


def test_ordinary_life_is_never_slowed_down(queue: WorkQueue[str], clock: Clock) -> None:
    for _ in range(300):
        queue.add("fought over")
        take(queue)
        queue.done("fought over")
        clock.now += 1.0


async def test_get_wakes_for_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    async with asyncio.timeout(5):
        work = await waiting
    assert work is not None
    assert work.key == "a"


async def test_get_wakes_for_a_key_that_falls_due_earlier_than_another() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 3600.0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("soon", 0.01)
    async with asyncio.timeout(5):
        work = await waiting
    assert work is not None
    assert work.key == "soon"


async def test_each_of_many_waiting_workers_gets_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(8)]
    await asyncio.sleep(0)
    for number in range(8):
        queue.add(f"{number}")
    async with asyncio.timeout(5):
        works = await asyncio.gather(*workers)
    assert sorted(work.key for work in works if work) == [f"{number}" for number in range(8)]


async def test_closed_queue_sends_all_workers_home() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*workers) == [None, None, None]
    queue.add("a")
    assert await queue.get() is None


keys = st.sampled_from("abc")
priorities = st.sampled_from(Priority)


class QueueMachine(RuleBasedStateMachine):
    """Compares the queue with the plainest description of what it promises."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock, chance=lambda low, high: high)
        self.wanted: dict[str, tuple[Priority, bool]] = {}
        self.later: dict[tuple[str, Priority], float] = {}
        self.in_work: set[str] = set()

    def want(self, key: str, priority: Priority) -> None:
        before, resync = self.wanted.get(key, (Priority.RESYNC, False))
        self.wanted[key] = min(before, priority), resync or priority is Priority.RESYNC

    def pass_time(self) -> None:
        for (key, priority), due in list(self.later.items()):
            if due <= self.clock.now:
                del self.later[(key, priority)]
                self.want(key, priority)

    @rule(key=keys, priority=priorities)
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.want(key, priority)

    @rule(key=keys, delay=st.sampled_from([0.0, 1.0, 5.0]), priority=priorities)
    def add_after(self, key: str, delay: float, priority: Priority) -> None:
        self.queue.add_after(key, delay, priority)
        due = self.clock.now + delay
        self.later[(key, priority)] = min(due, self.later.get((key, priority), due))

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        work = self.queue.take()
        self.pass_time()
        free = {key: wish for key, wish in self.wanted.items() if key not in self.in_work}
        if not free:
            assert work is None
            return
        assert work is not None
        assert work.key in free
        assert (work.priority, work.resync) == free[work.key]
        assert work.priority == min(priority for priority, _ in free.values())
        del self.wanted[work.key]
        self.in_work.add(work.key)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_work)))
        self.queue.done(key)
        self.in_work.discard(key)

    @rule(key=keys)
    def drop(self, key: str) -> None:
        self.queue.drop(key)
        for priority in Priority:
            self.later.pop((key, priority), None)

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.in_work == len(self.in_work)

    def teardown(self) -> None:
        """Nothing is lost: whatever is wanted can be had once everybody is done."""
        for key in self.in_work:
            self.queue.done(key)
        self.in_work.clear()
        self.clock.now += 1000.0
        self.pass_time()
        found = set()
        while work := self.queue.take():
            found.add(work.key)
            self.queue.done(work.key)
        assert found == set(self.wanted)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
