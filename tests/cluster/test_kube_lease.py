"""How long nobody is active: with the times that the operator really uses, on a real Lease."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from dev.development_cluster import DevelopmentCluster
from tests.cluster.kube_objects import Desk, a_desk
from tests.unit.kube.waiting import until
from tests.waiting import patient
from tracking_operator.kube.lease import LeaderElection
from tracking_operator.kube.objects import LEASE

SECONDS_AFTER_RELEASE = 2.0
SECONDS_AFTER_VANISHING = 17.0


@pytest.fixture
async def desk(cluster: DevelopmentCluster, namespace: str) -> AsyncIterator[Desk]:
    async with a_desk(cluster.kubeconfig_path, namespace) as desk:
        yield desk


class Candidate:
    """An operator that stands for election."""

    def __init__(self, desk: Desk, identity: str) -> None:
        self.started = 0.0
        self.lost = False
        self.election = LeaderElection(
            desk.client, desk.namespace, "leader", identity, on_started=self._start, on_lost=self._lose
        )
        self.task = asyncio.create_task(self.election.run())

    def _start(self) -> None:
        self.started = time.monotonic()

    def _lose(self) -> None:
        self.lost = True

    async def vanish(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def test_successor_is_active_within_two_seconds_of_a_release(desk: Desk) -> None:
    one = Candidate(desk, "one")
    await until(lambda: one.started)
    two = Candidate(desk, "two")
    await until(lambda: "get" in [call.verb for call in desk.calls[-2:]])
    released = time.monotonic()
    await one.election.release()
    await until(lambda: two.started)
    assert two.started - released < patient(SECONDS_AFTER_RELEASE)
    live = await desk.live(LEASE, "leader")
    assert live["spec"]["holderIdentity"] == "two"
    assert live["spec"]["leaseDurationSeconds"] == 15
    assert not one.lost
    await two.vanish()


async def test_successor_is_active_within_seventeen_seconds_of_a_sudden_end(desk: Desk) -> None:
    one = Candidate(desk, "one")
    await until(lambda: one.started)
    two = Candidate(desk, "two")
    await until(lambda: len(desk.calls) > 4)
    await one.vanish()
    vanished = time.monotonic()
    await until(lambda: two.started, seconds=SECONDS_AFTER_VANISHING + 5)
    assert two.started - vanished < patient(SECONDS_AFTER_VANISHING)
    await two.vanish()


async def test_of_many_candidates_one_wins(desk: Desk) -> None:
    candidates = [Candidate(desk, f"candidate-{number}") for number in range(5)]
    await until(lambda: any(candidate.started for candidate in candidates))
    await until(lambda: len(desk.calls) > 20)
    assert sum(1 for candidate in candidates if candidate.started) == 1
    assert not any(candidate.lost for candidate in candidates)
    for candidate in candidates:
        await candidate.vanish()
