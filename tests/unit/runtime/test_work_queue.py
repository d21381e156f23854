"""The queue loses no key, hands none out twice at a time, puts people first, and is fair to namespaces."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.runtime.clock import Clock
from tracking_operator.runtime.work_queue import (
    AGED_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    PACE_OF_GROUP,
    PACE_OF_KEY,
    Lane,
    Priority,
    Work,
    WorkQueue,
)

LONGEST_RUSH = PACE_OF_KEY[Priority.CHANGE].burst
RUSH_PER_SECOND = PACE_OF_KEY[Priority.CHANGE].per_second


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


def group_of(key: str) -> str:
    """Keys are called like ``namespace/name``."""
    return key.partition("/")[0]


def lane_of(key: str) -> Lane:
    """What a key is for can be read from its name."""
    if key.startswith("class"):
        return Lane.CLASSES
    return Lane.DELETIONS if "deleted" in key else Lane.SERVERS


@pytest.fixture
def shared(clock: Clock) -> WorkQueue[str]:
    """A queue of eight workers for keys of several namespaces."""
    return WorkQueue(workers=8, group=group_of, lane=lane_of, clock=clock, chance=lambda low, high: high)


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize("noisy_priority", Priority)
def test_one_noisy_namespace_delays_an_honest_key_by_a_few_steps(
    shared: WorkQueue[str], clock: Clock, priority: Priority, noisy_priority: Priority
) -> None:
    """Of higher priority or not: an honest key is handed out soon, at the latest when it has aged."""
    for number in range(10_000):
        shared.add(f"noisy/{number}", noisy_priority)
    shared.add("honest/server", priority)
    if noisy_priority < priority:
        clock.now += AGED_SECONDS[priority]
    served = []
    for _ in range(4):
        work = take(shared)
        served.append(work.key)
        shared.done(work.key)
    assert "honest/server" in served


def test_many_noisy_namespaces_delay_an_honest_key_by_one_key_each(shared: WorkQueue[str]) -> None:
    for number in range(3000):
        shared.add(f"noisy-{number % 3}/{number}", Priority.USER)
    shared.add("honest/server", Priority.USER)
    served = []
    for _ in range(4):
        work = take(shared)
        served.append(work.key)
        shared.done(work.key)
    assert served[-1] == "honest/server"


def test_namespace_never_has_all_workers(shared: WorkQueue[str]) -> None:
    for number in range(100):
        shared.add(f"noisy/{number}")
    for _ in range(4):
        take(shared)
    assert shared.take() is None
    for number in range(100):
        shared.add(f"other/{number}")
    assert [group_of(take(shared).key) for _ in range(2)] == ["other", "other"]
    assert shared.take() is None  # the rest of the workers is for namespaces that have none
    shared.add("honest/server", Priority.RESYNC)
    assert take(shared).key == "honest/server"


def test_share_comes_back_when_work_ends_and_what_is_slow_counts_for_its_namespace_only(
    shared: WorkQueue[str],
) -> None:
    for number in range(10):
        shared.add(f"noisy/{number}")
    mine = [take(shared).key for _ in range(4)]
    shared.done(mine[0])
    mine[0] = take(shared).key
    for key in mine:
        shared.write_off(key)
    assert shared.take() is None
    for name in ("a", "b", "c"):
        shared.add(f"{name}/1")
        shared.add(f"{name}/2")
    assert len([take(shared) for _ in range(6)]) == 6
    for key in mine:
        shared.done(key)
    assert group_of(take(shared).key) == "noisy"


def test_classes_and_deletions_are_handed_out_whatever_else_waits(shared: WorkQueue[str]) -> None:
    for number in range(1000):
        shared.add(f"noisy/{number}", Priority.USER)
    shared.add("class", Priority.RESYNC)
    shared.add("honest/deleted", Priority.CHANGE)
    work = shared.take(Lane.CLASSES)
    assert work
    assert work.key == "class"
    work = shared.take(Lane.DELETIONS)
    assert work
    assert work.key == "honest/deleted"
    assert shared.take(Lane.DELETIONS) is None


def test_namespace_that_deletes_thousands_delays_the_deletion_of_another_by_one(
    shared: WorkQueue[str],
) -> None:
    for number in range(2000):
        shared.add(f"noisy/deleted-{number}", Priority.USER)
    shared.add("honest/deleted", Priority.USER)
    served = []
    for _ in range(2):
        work = shared.take(Lane.DELETIONS)
        assert work
        served.append(work.key)
        shared.done(work.key)
    assert "honest/deleted" in served


def test_key_that_becomes_a_deletion_while_it_waits_changes_its_lane(clock: Clock) -> None:
    lane = Lane.SERVERS
    queue: WorkQueue[str] = WorkQueue(workers=8, group=group_of, lane=lambda key: lane, clock=clock)
    queue.add("a/server", Priority.USER)
    lane = Lane.DELETIONS
    queue.add("a/server")
    work = queue.take(Lane.DELETIONS)
    assert work
    assert work.priority is Priority.USER
    assert queue.take() is None


def test_edits_of_one_object_are_paced_and_the_first_is_looked_at_at_once(
    shared: WorkQueue[str], clock: Clock
) -> None:
    looked_at = []
    for tick in range(1000):
        shared.add("noisy/edited", Priority.USER)
        while work := shared.take():
            looked_at.append(tick)
            shared.done(work.key)
        clock.now += 0.01
    pace = PACE_OF_KEY[Priority.USER]
    assert looked_at[0] == 0
    assert len(looked_at) <= pace.burst + 10 * pace.per_second + 1
    shared.add("noisy/edited", Priority.USER)
    clock.now += 1.0
    assert take(shared).key == "noisy/edited"


def test_edits_of_a_whole_namespace_are_paced_and_cost_little_while_they_wait(
    shared: WorkQueue[str], clock: Clock
) -> None:
    count = 0
    for tick in range(1000):
        for number in range(20):
            shared.add(f"noisy/{tick % 100}-{number}", Priority.USER)
        while work := shared.take():
            count += 1
            shared.done(work.key)
        clock.now += 0.01
    pace = PACE_OF_GROUP[Priority.USER]
    assert count <= pace.burst + 10 * pace.per_second + 1
    shared.add("honest/server", Priority.USER)
    assert take(shared).key == "honest/server"


def test_keys_of_a_paced_namespace_come_back_all_of_them(shared: WorkQueue[str], clock: Clock) -> None:
    wanted = {f"noisy/{number}" for number in range(1000)}
    for key in wanted:
        shared.add(key, Priority.USER)
    found = set()
    for _ in range(1000):
        while work := shared.take():
            found.add(work.key)
            shared.done(work.key)
        clock.now += 0.1
    assert found == wanted
    assert len(shared) == 0


def test_lower_priorities_do_not_starve(shared: WorkQueue[str], clock: Clock) -> None:
    """More edits than can be looked at, for ever: a change and a resync are still served."""
    shared.add("honest/changed", Priority.CHANGE)
    shared.add("honest/routine", Priority.RESYNC)
    served = []
    for step in range(200):
        shared.add(f"busy-{step % 50}/{step}", Priority.USER)
        shared.add(f"busy-{step % 50}/{step}-more", Priority.USER)
        work = take(shared)
        served.append(work.key)
        shared.done(work.key)
        clock.now += 0.1
    assert served.index("honest/changed") <= 25
    assert served.index("honest/routine") <= 110


async def test_worker_of_a_lane_wakes_for_its_lane_only() -> None:
    queue: WorkQueue[str] = WorkQueue(workers=8, group=group_of, lane=lane_of)
    waiting = asyncio.create_task(queue.get(Lane.DELETIONS))
    await asyncio.sleep(0)
    queue.add("a/server")
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.add("a/deleted")
    async with asyncio.timeout(5):
        work = await waiting
    assert work
    assert work.key == "a/deleted"


async def test_get_wakes_for_a_namespace_whose_pace_allows_it_again() -> None:
    queue: WorkQueue[str] = WorkQueue(workers=8, group=group_of)
    for number in range(int(PACE_OF_GROUP[Priority.USER].burst) + 1):
        queue.add(f"a/{number}", Priority.USER)
    while work := queue.take():
        queue.done(work.key)
    async with asyncio.timeout(5):
        assert await queue.get()


async def test_get_wakes_for_a_share_that_comes_back() -> None:
    queue: WorkQueue[str] = WorkQueue(workers=2, group=group_of)
    queue.add("a/1")
    queue.add("a/2")
    assert take(queue).key == "a/1"
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.done("a/1")
    async with asyncio.timeout(5):
        work = await waiting
    assert work
    assert work.key == "a/2"


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
        self.queue: WorkQueue[str] = WorkQueue(
            pace_of_key={}, clock=self.clock, chance=lambda low, high: high
        )
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
        is_first = work.priority == min(priority for priority, _ in free.values())
        assert is_first or work.waited >= AGED_SECONDS[work.priority]
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
