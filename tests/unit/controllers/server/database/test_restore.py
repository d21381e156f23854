"""What comes before a new server's first migration where it starts from a backup."""

from datetime import UTC, datetime
from typing import cast

import pytest

from tests.unit.controllers.live import said
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import POSTGRES, S3, Manifest, model, plan_of, server, tracking_class
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.controllers.server.database.restore import Restores, backup_to_restore
from tracking_operator.controllers.server.database.schema_gate import Gate
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import JOB, NETWORK_POLICY, SECRET, KubeObject
from tracking_operator.stores.s3.backups import SignedUrls

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SPEC: Manifest = {"bootstrap": {"fromBackup": {"name": "nightly"}}}
CLASS = tracking_class({"postgres": POSTGRES, "s3": S3}, is_default=True)
DIGEST = "d" * 64
URL = "https://s3.example.com/part?X-Amz-Signature=letters"


class Signing:
    """Stands in for the bucket."""

    async def sign_downloads(self, backup: TrackingServerBackup) -> SignedUrls:
        return SignedUrls({"manifest.json": URL}, {})


class World:
    """A new server that starts from a backup, whose stores are ready."""

    def __init__(self, *, complete: bool = True, class_name: str = "standard", replicas: int = 1) -> None:
        self.api, self.cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
        self.restores = Restores(self.api.as_client(), self.cache, cast(StoredBackups, Signing()))
        self.server = model(SPEC | {"replicas": replicas}, CLASS)
        condition = {
            "type": "Complete",
            "status": str(complete),
            "reason": "AsExpected",
            "message": "",
            "lastTransitionTime": "2026-01-01T11:00:00Z",
        }
        self.backup: Manifest = {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerBackup",
            "metadata": {"name": "nightly", "namespace": "team-a"},
            "spec": {"serverRef": {"name": "old"}},
            "status": {"conditions": [condition], "sha256": DIGEST, "className": class_name},
        }

    async def gate(self, *, are_stores_ready: bool = True) -> Gate | None:
        for obj in self.api.objects.values():
            self.cache.upsert(obj)
        return await self.restores.gate(
            self.server, "nightly", "standard", NOW, are_stores_ready=are_stores_ready
        )

    async def begun(self) -> KubeObject:
        """The Job, once it is there."""
        self.api.store(self.backup)
        await self.gate()
        return self.api.objects[JOB, "team-a", "mlflow-restore"]

    def end(self, *, reason: str = "", exit_code: int = 0, at: str = "2026-01-01T11:59:50Z") -> None:
        job = self.api.objects[JOB, "team-a", "mlflow-restore"]
        condition = {
            "type": "Failed" if exit_code else "Complete",
            "status": "True",
            "lastTransitionTime": at,
        }
        self.api.store(job | {"status": {"conditions": [condition], "completionTime": at}})
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "mlflow-restore",
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        state = {"terminated": {"exitCode": exit_code, "message": said(reason, "Why."), "finishedAt": at}}
        self.api.store(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": "mlflow-restore-1",
                    "namespace": "team-a",
                    "labels": job["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [owner],
                },
                "status": {
                    "phase": "Failed",
                    "containerStatuses": [{"name": "restore-backup", "state": state}],
                },
            }
        )

    def left(self) -> set[str]:
        """What is there because of the Job."""
        kinds = (JOB, SECRET, NETWORK_POLICY)
        return {str(kind) for kind in kinds if (kind, "team-a", "mlflow-restore") in self.api.objects}


async def test_a_job_fills_the_stores_and_nothing_is_left_that_reads_the_backup() -> None:
    world = World()
    job = await world.begun()
    command = " ".join(job["spec"]["template"]["spec"]["containers"][0]["command"])
    assert f"--manifest-sha256={DIGEST}" in command
    assert URL not in str(job)
    gate = await world.gate()
    assert gate is not None
    assert (gate.is_open, gate.condition_result.reason) == (False, Reason.PROGRESSING)
    assert world.left() == {"Job", "Secret", "NetworkPolicy"}
    world.end()
    assert await world.gate() is None
    assert world.left() == {"Job"}


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_backup_that_is_not_there_or_not_complete_is_waited_for(*, is_there: bool) -> None:
    world = World(complete=False)
    if is_there:
        world.api.store(world.backup)
    with pytest.raises(Failure) as refused:
        await world.gate()
    assert refused.value.reason is Reason.BACKUP_NOT_FOUND
    assert world.left() == set()


async def test_a_backup_of_another_class_is_refused() -> None:
    world = World(class_name="other")
    world.api.store(world.backup)
    with pytest.raises(Invalid, match="'other'"):
        await world.gate()


async def test_a_server_that_sleeps_or_whose_stores_are_not_ready_waits() -> None:
    asleep = await World(replicas=0).gate()
    unready = await World().gate(are_stores_ready=False)
    assert asleep is not None
    assert unready is not None
    assert (asleep.is_open, unready.is_open) == (True, False)


async def test_a_failed_job_is_made_anew_after_a_minute_where_that_may_help() -> None:
    world = World()
    await world.begun()
    world.end(reason="StoreUnreachable", exit_code=20)
    gate = await world.gate()
    assert gate is not None
    assert (gate.requeue_after, gate.condition_result.reason) == (50.0, Reason.STORE_UNREACHABLE)
    world.end(reason="StoreUnreachable", exit_code=20, at="2026-01-01T11:58:00Z")
    await world.gate()
    assert "Job" not in world.left()


@pytest.mark.parametrize("reason", [Reason.BACKUP_BROKEN, Reason.RESTORE_REFUSED])
async def test_a_job_that_cannot_succeed_is_left_to_a_person(reason: Reason) -> None:
    world = World()
    await world.begun()
    world.end(reason=reason.value, exit_code={Reason.BACKUP_BROKEN: 51, Reason.RESTORE_REFUSED: 52}[reason])
    gate = await world.gate()
    assert gate is not None
    assert (gate.requeue_after, gate.condition_result.reason) == (None, reason)
    assert "Job" in world.left()


def test_it_counts_once_before_the_first_start() -> None:
    assert backup_to_restore(server(SPEC)) == "nightly"
    assert backup_to_restore(server({})) is None
    assert backup_to_restore(server(SPEC, status={"restoredFrom": "nightly"})) is None
    assert backup_to_restore(server(SPEC, status={"schemaRevision": "f4a9b2c7d1e6"})) is None


def test_other_stores_are_refused() -> None:
    with pytest.raises(Invalid, match=r"spec\.bootstrap\.fromBackup needs"):
        plan_of(server(SPEC), tracking_class({"postgres": POSTGRES}, is_default=True))
