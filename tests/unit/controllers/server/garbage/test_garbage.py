"""When what a team has deleted is removed: when a Job is made, what it may, and what is told of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import POSTGRES, S3, Manifest, plan_of, server, tracking_class
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemories
from tracking_operator.controllers.server.database.schema_gate import Gate
from tracking_operator.controllers.server.garbage.plan import LONGEST_JITTER
from tracking_operator.controllers.server.garbage.step import GarbageStep
from tracking_operator.controllers.server.managed_stores.states import ArtifactState, BackendState
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import JOB, KubeObject
from tracking_operator.resources.network_policy import build_network_policies

CLASS = tracking_class({"postgres": POSTGRES, "s3": S3}, is_default=True)
PLAN: Manifest = {"schedule": "0 3 * * *"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NIGHT = datetime(2026, 1, 2, 3, tzinfo=UTC) + LONGEST_JITTER
OPEN = Gate(
    ConditionResult(ConditionType.SCHEMA_READY, Verdict.OK, Reason.AS_EXPECTED, ""), True, revision="abc"
)
FOUND: Manifest = {
    "dryRun": False,
    "removed": 985,
    "bytes": 5000,
    "keptCount": 10,
    "kept": ["a", "b"],
    "failedCount": 5,
    "failed": ["c"],
}


class Events:
    """Keeps what would be posted."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str]] = []

    def record(self, _: Manifest, type_: str, reason: str, message: str) -> None:
        """Remember an Event."""
        self.recorded.append((type_, reason, message))


class World:
    """A server with a plan, whose stores are ready."""

    def __init__(self, plan: Manifest | None = None, **spec: object) -> None:
        self.api, self.events = MemoryApi(), Events()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.step = GarbageStep(self.api.as_client(), self.cache, cast(EventRecorder, self.events))
        self.spec: Manifest = {"maintenance": {"garbageCollection": PLAN | (plan or {})}, **spec}
        self.now, self.gate, self.status = NOON, OPEN, cast(Manifest, {})
        self.requeue_after: float | None = None

    async def look(self, now: datetime | None = None) -> Manifest:
        """Look at the server; return what is told."""
        self.now = now or self.now
        for obj in self.api.objects.values():
            self.cache.upsert(obj)
        artifacts = {"kind": "s3", "bucket": "b", "prefix": "p", "checked": "digest"}
        resource = server(self.spec, status={"maintenance": self.status, "artifactStore": artifacts})
        context = ReconcileContext({}, resource, ServerMemories(self.cache).of(ObjectMeta()), self.now)
        context.plan = plan_of(resource, CLASS)
        context.model = context.plan.model
        context.gate = self.gate
        context.backend_state = BackendState(login="", revision="abc")
        context.artifact_state = ArtifactState(None)
        result = await self.step.look(context)
        self.requeue_after = result.requeue_after
        self.status = result.found.as_kubernetes() if result.found else {}
        found: Manifest = self.status.get("garbageCollection", {})
        return found

    @property
    def job(self) -> KubeObject | None:
        return self.api.objects.get((JOB, "team-a", "mlflow-collect-garbage"))

    @property
    def command(self) -> str:
        assert self.job is not None
        return " ".join(self.job["spec"]["template"]["spec"]["containers"][0]["command"])

    def end(self, exit_code: int = 0, **changes: object) -> None:
        """What the Job controller and the kubelet do."""
        job = self.job
        assert job is not None
        at = self.now.isoformat().replace("+00:00", "Z")
        condition = {
            "type": "Failed" if exit_code else "Complete",
            "status": "True",
            "lastTransitionTime": at,
        }
        metadata = job["metadata"] | {"creationTimestamp": at}
        status = {"conditions": [condition], "completionTime": at}
        self.api.store(job | {"metadata": metadata, "status": status})
        found = FOUND | {"dryRun": "--dry-run" in self.command} | changes
        said = {
            "reason": "StoreUnreachable" if exit_code else "",
            "message": "That was it.",
            **({} if exit_code else {"collected": found}),
        }
        state = {"terminated": {"exitCode": exit_code, "message": json.dumps(said), "finishedAt": at}}
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "j",
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "p",
                "namespace": "team-a",
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [owner],
            },
            "status": {
                "phase": "Succeeded",
                "containerStatuses": [{"name": "collect-garbage", "state": state}],
            },
        }
        self.api.store(pod)

    async def collected(self, now: datetime, **changes: object) -> Manifest:
        """Have a Job made and ended."""
        await self.look(now)
        self.end(**changes)  # type: ignore[arg-type]
        told = await self.look()
        for obj in [one for one in self.api.objects.values() if one["kind"] == "Pod"]:
            self.cache.remove(obj)
        self.api.objects = {key: one for key, one in self.api.objects.items() if one["kind"] != "Pod"}
        self.forget_job()
        return told

    def forget_job(self) -> None:
        if self.job is None and (known := self.cache.get(JOB, "team-a", "mlflow-collect-garbage")):
            self.cache.remove(known)


async def test_the_first_time_is_at_once_and_only_looks() -> None:
    world = World()
    await world.look()
    assert "--dry-run" in world.command
    world.end()
    told = await world.look()
    assert (told["dryRun"], told["deletedRuns"], told["totalFreedBytes"]) == (True, 985, 0)
    ((type_, reason, message),) = world.events.recorded
    assert (type_, reason) == ("Normal", "GarbageCollected")
    assert "This was the first look: at 2026-01-02T03:0" in message
    assert world.job is None


async def test_after_that_it_is_done_at_its_times_and_told_with_what_was_kept() -> None:
    world = World()
    await world.collected(NOON)
    await world.look(NOON + timedelta(hours=1))
    assert world.job is None
    assert 13 * 3600 < (world.requeue_after or 0) <= 14 * 3600 + LONGEST_JITTER.total_seconds()
    told = await world.collected(NIGHT)
    assert told == {
        "begunAt": told["begunAt"],
        "lastRun": "2026-01-02T03:10:00Z",
        "firstDryRun": "2026-01-01T12:00:00Z",
        "dryRun": False,
        "deletedRuns": 985,
        "freedBytes": 5000,
        "skippedRegistered": 10,
        "registered": ["a", "b"],
        "failed": 5,
        "failing": ["c"],
        "message": "That was it.",
        "totalFreedBytes": 5000,
    }
    assert world.events.recorded[-1] == ("Normal", "GarbageCollected", "That was it.")


async def test_two_weeks_that_were_missed_are_one_time() -> None:
    world = World()
    await world.collected(NOON)
    later = NOON + timedelta(days=14)
    await world.collected(later)
    await world.look(later + timedelta(minutes=1))
    assert world.job is None
    assert len(world.events.recorded) == 2


async def test_a_first_look_that_failed_is_one_still() -> None:
    world = World()
    await world.look()
    world.end(exit_code=20)
    told = await world.look()
    assert "firstDryRun" not in told
    assert world.events.recorded[0][:2] == ("Warning", "GarbageCollectionFailed")
    assert "It is tried again at 2026-01-02T03:0" in world.events.recorded[0][2]
    world.forget_job()
    world.cache.remove(next(one for one in world.api.objects.values() if one["kind"] == "Pod"))
    await world.look(NIGHT)
    assert "--dry-run" in world.command


async def test_a_plan_that_only_looks_never_removes() -> None:
    world = World({"dryRun": True})
    await world.collected(NOON)
    assert (await world.collected(NIGHT))["dryRun"]
    assert "This was the first look" not in world.events.recorded[-1][2]


async def test_the_job_is_told_what_the_plan_says() -> None:
    world = World({"olderThan": "2d"})
    await world.look()
    assert "--older-than-hours=48" in world.command
    assert "--keep-registered" in world.command
    assert "--prefix=" in world.command
    world = World({"keepRegistered": False})
    await world.look()
    assert "--keep-registered" not in world.command


async def test_a_server_that_sleeps_is_collected_too() -> None:
    world = World(suspend=True)
    await world.look()
    assert world.job is not None


async def test_it_waits_for_the_schema_and_for_a_backup() -> None:
    world = World()
    world.gate = replace(OPEN, is_open=False)
    await world.look()
    assert world.job is None
    world.gate = OPEN
    backup = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "mlflow-backup", "namespace": "team-a"},
    }
    world.api.store(backup)
    await world.look()
    assert (world.job, world.requeue_after) == (None, 30.0)
    world.api.store(backup | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    await world.look()
    assert world.job is not None


async def test_without_a_plan_nothing_runs_and_nothing_is_told() -> None:
    world = World()
    await world.look()
    world.spec = {}
    assert await world.look() == {}
    assert world.job is None


async def test_a_pod_that_lies_about_what_it_did_tells_nothing() -> None:
    world = World()
    await world.look()
    world.end(removed=-1)
    await world.look()
    told = await world.look(NOON + timedelta(minutes=2))
    assert "deletedRuns" not in told


def test_its_pods_reach_both_stores_and_nobody_reaches_them() -> None:
    planned = plan_of(server({"maintenance": {"garbageCollection": PLAN}}), CLASS).model
    policies = {one["metadata"]["name"]: one["spec"] for one in build_network_policies(planned)}
    assert policies["mlflow-collect-garbage"]["ingress"] == []
    plain = {one["metadata"]["name"] for one in build_network_policies(plan_of(server({}), CLASS).model)}
    assert "mlflow-collect-garbage" not in plain


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"schedule": "0 25 * * *"}, "schedule cannot be read"),
        ({"schedule": "0 3 * * *", "timeZone": "Europe/Atlantis"}, "Europe/Atlantis"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(plan: Manifest, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        plan_of(server({"maintenance": {"garbageCollection": plan}}), CLASS)


def test_stores_of_others_are_not_collected() -> None:
    with pytest.raises(Invalid, match="run `mlflow gc` yourself"):
        plan_of(server({"maintenance": {"garbageCollection": PLAN}}))
