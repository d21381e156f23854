"""What is said of pods that the API server refuses: its words, without what changes at each attempt, and what helps."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.controllers.live import live, owned_by
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, model, s3_class
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.artifacts.checks import live_check
from tracking_operator.controllers.server.children.pods import PodProblem
from tracking_operator.controllers.server.children.refused_pods import refusal_of_server, with_refusal
from tracking_operator.kube.errors import ApiError

MADE = datetime(2026, 1, 1, 9, tzinfo=UTC)
QUOTA = "exceeded quota: cpu, requested: limits.cpu=8, used: limits.cpu=0, limited: limits.cpu=4"
RANGE = "minimum memory usage per Container is 256Mi, but request is 128Mi"
POLICY = (
    "ValidatingAdmissionPolicy 'cost' with binding 'cost' denied request: pods need the label cost-center"
)


def refused(words: str, pod: str = "mlflow-check-artifacts-x1") -> str:
    return f'Error creating: pods "{pod}" is forbidden: {words}'


def event(job: Manifest, message: str, at: str = "2026-01-01T09:00:10Z", name: str = "one") -> Manifest:
    return live(
        "v1",
        "Event",
        name,
        involvedObject={"uid": job["metadata"]["uid"]},
        reason="FailedCreate",
        message=message,
        lastTimestamp=at,
    )


class World:
    """A Job that tries a prefix out, and its Events."""

    def __init__(self) -> None:
        self.server = model({}, s3_class())
        self.api = MemoryApi()
        self.job = live(
            "batch/v1", "Job", "mlflow-check-artifacts", metadata=owned_by(self.server.uid), status={}
        )

    async def heard(self, *pods: Manifest, seconds: float = 20) -> tuple[PodProblem | None, float | None]:
        job = live_check([self.job, *pods], self.server)
        found = await with_refusal(self.api.as_client(), job, MADE + timedelta(seconds=seconds))
        assert found.job
        return found.job.problem, found.look_again


@pytest.mark.parametrize(
    ("words", "reason"),
    [(QUOTA, Reason.QUOTA_EXCEEDED), (RANGE, Reason.POD_REFUSED), (POLICY, Reason.POD_REFUSED)],
)
async def test_a_job_without_a_pod_says_what_its_controller_was_told(words: str, reason: Reason) -> None:
    world = World()
    world.api.store(event(world.job, refused(words)))
    problem, look_again = await world.heard()
    assert problem and problem.reason is reason
    assert words in problem.message
    assert "spec.jobs.resources" in problem.message
    assert "-x1" not in problem.message
    assert look_again and look_again < 60


async def test_the_newest_words_count() -> None:
    world = World()
    world.api.store(event(world.job, refused(QUOTA), "2026-01-01T09:00:20Z", "b"))
    world.api.store(event(world.job, refused(RANGE), "2026-01-01T09:00:40Z", "a"))
    problem, _ = await world.heard(seconds=60)
    assert problem and RANGE in problem.message


async def test_events_are_asked_for_only_while_a_pod_is_missing() -> None:
    world = World()
    owned = owned_by(world.job["metadata"]["uid"], kind="Job")
    assert await world.heard(live("v1", "Pod", "one", metadata=owned)) == (None, None)
    assert await world.heard(seconds=0.5) == (None, 1.5)
    assert world.api.calls == []


async def test_without_an_event_it_is_looked_again() -> None:
    problem, look_again = await World().heard()
    assert problem is None
    assert look_again


async def test_an_operator_that_may_not_read_events_goes_on_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def forbidden(*_: object, **__: object) -> list[Manifest]:
        raise ApiError(403, "Forbidden", "events is forbidden: User cannot list")

    world = World()
    monkeypatch.setattr(world.api, "list", forbidden)
    assert (await world.heard())[0] is None


def test_a_roll_without_room_for_one_more_pod_names_the_other_strategy() -> None:
    rolls = refusal_of_server(refused(QUOTA), is_surge=True)
    starts = refusal_of_server(refused(QUOTA), is_surge=False)
    assert rolls.reason is starts.reason is Reason.QUOTA_EXCEEDED
    assert "spec.podTemplate.rollout.strategy to StopFirst" in rolls.message
    assert "StopFirst" not in starts.message
