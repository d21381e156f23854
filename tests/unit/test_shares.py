"""No namespace takes all places, and none waits for ever, whatever the others ask for."""

import asyncio
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import wait_until
from tracking_operator.shares import Shares, TurnsOfThreads


async def test_a_namespace_gets_its_share_and_no_more() -> None:
    shares = Shares(4, 2)
    assert [await shares.take("noisy", 0.01) for _ in range(3)] == [True, True, False]
    assert [await shares.take("honest", 0.01) for _ in range(2)] == [True, True]
    assert not await shares.take("another", 0.01)


async def test_who_waits_is_served_when_a_place_is_given_back() -> None:
    shares = Shares(1, 1)
    assert await shares.take("a", 0)
    waiting = asyncio.create_task(shares.take("b", 5))
    await asyncio.sleep(0)
    shares.give_back("a")
    assert await waiting
    assert (shares.taken, shares.taken_by("b")) == (1, 1)


async def test_namespaces_take_turns_whatever_the_number_of_their_requests() -> None:
    shares = Shares(1, 1)
    assert await shares.take("noisy", 0)
    served: list[str] = []

    async def work(namespace: str) -> None:
        assert await shares.take(namespace, 5)
        served.append(namespace)
        await asyncio.sleep(0)
        shares.give_back(namespace)

    tasks = [asyncio.create_task(work("noisy")) for _ in range(50)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(work("honest")) for _ in range(2)]
    await asyncio.sleep(0)
    shares.give_back("noisy")
    await asyncio.gather(*tasks)
    assert served[:4] == ["noisy", "honest", "noisy", "honest"]


async def test_who_is_cancelled_or_loses_patience_leaves_nothing_behind() -> None:
    shares = Shares(1, 1)
    assert await shares.take("a", 0)
    waiting = asyncio.create_task(shares.take("b", 5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not await shares.take("b", 0.01)
    shares.give_back("a")
    assert shares.taken == 0
    assert await shares.take("c", 0)


async def test_who_is_cancelled_with_a_place_in_hand_gives_it_back() -> None:
    shares = Shares(1, 1)
    assert await shares.take("a", 0)
    waiting = asyncio.create_task(shares.take("b", 5))
    await asyncio.sleep(0)
    shares.give_back("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert shares.taken == 0


async def test_who_is_turned_away_need_not_wait() -> None:
    shares = Shares(1, 1)
    assert await shares.take("a", 0)
    waiting = [asyncio.create_task(shares.take("b", 60)) for _ in range(3)]
    await asyncio.sleep(0)
    shares.turn_away("b")
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [False] * 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 3))
def test_nobody_has_more_than_the_share_and_everybody_is_served(names: str, total: int, each: int) -> None:
    async def all_of_them() -> None:
        shares = Shares(total, each)

        async def work(name: str) -> None:
            assert await shares.take(name, 30)
            assert shares.taken <= total
            assert shares.taken_by(name) <= each
            await asyncio.sleep(0)
            shares.give_back(name)

        await asyncio.gather(*(work(name) for name in names))
        assert shares.taken == 0

    asyncio.run(all_of_them())


def test_threads_take_turns_by_namespace_whatever_their_number() -> None:
    turns, served = TurnsOfThreads(), []
    assert turns.take("noisy", 0)

    def work(namespace: str) -> None:
        assert turns.take(namespace, 30)
        served.append(namespace)
        turns.give_back(namespace)

    threads = [threading.Thread(target=work, args=["noisy"]) for _ in range(50)]
    for thread in threads:
        thread.start()
    wait_until(lambda: turns.waiting == 50, 10, "all of the noisy ones wait")
    threads.append(threading.Thread(target=work, args=["honest"]))
    threads[-1].start()
    wait_until(lambda: turns.waiting == 51, 10, "the honest one waits")
    turns.give_back("noisy")
    for thread in threads:
        thread.join(30)
    assert "honest" in served[:2]
    assert len(served) == 51
    assert turns.take("another", 0)


def test_a_thread_that_loses_patience_leaves_nothing_behind() -> None:
    turns = TurnsOfThreads()
    assert turns.take("a", 0)
    assert not turns.take("b", 0.01)
    assert not turns.take("a", 0.01)
    assert turns.waiting == 0
    turns.give_back("a")
    assert turns.take("b", 0)
