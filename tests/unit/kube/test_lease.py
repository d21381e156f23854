"""One leader at a time: handed over at once when released, and after the duration when it just vanishes."""

import asyncio
import contextlib
import time

from tests.unit.kube.fake_client import FakeClient
from tests.unit.kube.waiting import until
from tracking_operator.api.labels_and_annotations import OPERATOR_VERSION_ANNOTATION
from tracking_operator.kube.errors import NO_ANSWER, ApiError
from tracking_operator.kube.lease import LeaderElection, LeaseTimes
from tracking_operator.kube.objects import LEASE, KubeObject

FAST = LeaseTimes(duration=1.5, renew_deadline=1.0, renew_period=0.1, poll_period=0.1)


class Candidate:
    """An operator that stands for election."""

    def __init__(self, client: FakeClient, identity: str, version: str = "") -> None:
        self.news: list[tuple[str, float]] = []
        self.election = LeaderElection(
            client.as_client(),
            "operators",
            "lease",
            identity,
            on_started=lambda: self.news.append(("started", time.monotonic())),
            on_lost=lambda: self.news.append(("lost", time.monotonic())),
            times=FAST,
            version=version,
        )
        self.task = asyncio.create_task(self.election.run())

    @property
    def is_leader(self) -> bool:
        return self.election.runs_out_at is not None

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.news]

    async def kill(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def lease_in(client: FakeClient) -> KubeObject:
    return client.stored[(LEASE, "operators", "lease")]


async def test_first_candidate_leads_and_renews() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: client.verbs().count("replace") >= 3)
    assert one.words == ["started"]
    assert one.is_leader
    assert lease_in(client)["spec"]["holderIdentity"] == "one"
    await one.kill()


async def test_lease_tells_the_version_of_its_holder_and_keeps_what_others_wrote_beside_it() -> None:
    client = FakeClient()
    older = Candidate(client, "older", "0.1.0")
    await until(lambda: older.is_leader)
    assert lease_in(client)["metadata"]["annotations"] == {OPERATOR_VERSION_ANNOTATION: "0.1.0"}
    await older.election.release()
    lease_in(client)["metadata"]["annotations"]["example.com/note"] = "kept"
    assert lease_in(client)["metadata"]["annotations"][OPERATOR_VERSION_ANNOTATION] == "0.1.0"
    newer = Candidate(client, "newer", "0.2.0")
    await until(lambda: newer.is_leader)
    assert lease_in(client)["metadata"]["annotations"] == {
        OPERATOR_VERSION_ANNOTATION: "0.2.0",
        "example.com/note": "kept",
    }
    await newer.kill()


async def test_second_candidate_waits_while_the_first_renews() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    two = Candidate(client, "two")
    began = time.monotonic()
    await until(lambda: time.monotonic() > began + 1.5 * FAST.duration)
    assert two.words == []
    await one.kill()
    await two.kill()


async def test_released_lease_is_taken_over_at_the_next_look() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    two = Candidate(client, "two")
    released = time.monotonic()
    await one.election.release()
    await until(lambda: two.is_leader)
    assert time.monotonic() - released < FAST.duration
    await until(one.task.done)
    assert one.words == ["started"]
    assert lease_in(client)["spec"]["leaseTransitions"] == 1
    await two.kill()


async def test_lease_of_a_vanished_holder_is_taken_over_after_its_duration() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    two = Candidate(client, "two")
    await until(lambda: ("get", "lease") in client.calls[-3:])
    await one.kill()
    killed = time.monotonic()
    await until(lambda: two.is_leader)
    taken = time.monotonic() - killed
    assert (
        FAST.duration - FAST.renew_period - FAST.poll_period <= taken < FAST.duration + 10 * FAST.poll_period
    )
    await two.kill()


async def test_holder_that_cannot_renew_is_told_before_others_may_take_over() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    client.errors = [ApiError(NO_ANSWER, "NoAnswer", "refused")] * 1000
    cut_off = time.monotonic()
    await until(lambda: "lost" in one.words)
    assert one.news[-1][1] - cut_off < FAST.duration
    assert not one.is_leader
    await one.kill()


async def test_holder_that_stood_still_too_long_does_not_renew_but_is_lost() -> None:
    """After SIGSTOP, or a blocked event loop: somebody else may lead by now."""
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    time.sleep(FAST.renew_deadline + 0.1)  # noqa: ASYNC251 — blocks the event loop on purpose
    writes = client.verbs().count("replace")
    await until(lambda: "lost" in one.words)
    assert client.verbs().count("replace") == writes


async def test_holder_whose_lease_was_taken_is_told_at_once() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    stolen = lease_in(client) | {"spec": {**lease_in(client)["spec"], "holderIdentity": "thief"}}
    client.put(stolen)
    await until(lambda: "lost" in one.words)
    assert lease_in(client)["spec"]["holderIdentity"] == "thief"


async def test_edit_of_the_lease_by_somebody_does_not_end_the_leadership() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    edited = lease_in(client)
    edited["metadata"]["labels"] = {"note": "edited"}
    client.put(edited)
    writes = client.verbs().count("replace")
    await until(lambda: client.verbs().count("replace") >= writes + 4)
    assert one.words == ["started"]
    await one.kill()


async def test_release_without_leading_writes_nothing() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    two = Candidate(client, "two")
    await two.kill()
    await two.election.release()
    assert lease_in(client)["spec"]["holderIdentity"] == "one"
    await one.kill()


async def test_release_works_although_a_renewal_was_under_way() -> None:
    client = FakeClient()
    one = Candidate(client, "one")
    await until(lambda: one.is_leader)
    await one.kill()
    client.put(lease_in(client))  # the renewal that reached the server, and whose answer was not awaited
    await one.election.release()
    assert lease_in(client)["spec"]["holderIdentity"] == ""
