"""The loop of a TrackingServerBackup, on an API of a few dictionaries, with a bucket that is a variable."""

from datetime import UTC, datetime
from typing import cast

import pytest
from pydantic import ValidationError

from tests.unit.controllers.live import said
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.controllers.server.test_reconciler import Events
from tests.unit.examples import (
    POSTGRES,
    S3,
    SETTINGS,
    UID,
    Manifest,
    namespace,
    placed,
    plan_of,
    server,
    tracking_class,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION, FINALIZER, SERVER_LABEL
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.controllers.backup.reconciler import BackupReconciler
from tracking_operator.controllers.conditions.unreadable import status_with, unreadable_result
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP
from tracking_operator.controllers.request import Outcome, Request
from tracking_operator.controllers.server.children.mounted_secrets import Credentials
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server_class.scratch_databases import ScratchDatabases
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.controllers.watches import requests_for
from tracking_operator.failures import Failure, Invalid, Unavailable
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import JOB, NETWORK_POLICY, POD, SECRET, KubeObject
from tracking_operator.pod_tools.backup_manifest import Manifest as Stored
from tracking_operator.pod_tools.backup_manifest import Part, Table
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.stores.s3.backups import SignedUrls

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
STORED = Stored(
    "3.18.0", "f4a9b2c7d1e6", "s3://ml-artifacts/team-a/mlflow", {"runs": Table(("run_uuid",), 3)}, {}, [Part(7, "00")], objects=2
)  # fmt: skip
SECRET_URL = "https://s3.example.com/part?X-Amz-Signature=letters"


class Bucket:
    """What is stored, by folder: a manifest where all is there, None where it is half a backup."""

    def __init__(self) -> None:
        self.folders: dict[str, Stored | None] = {}
        self.failure: Failure | None = None
        self.has_class = True

    def as_stored(self) -> StoredBackups:
        return cast(StoredBackups, self)

    async def sign_uploads(self, backup: TrackingServerBackup) -> SignedUrls:
        self._answer()
        return SignedUrls({"part-00000": SECRET_URL}, {})

    async def sign_downloads(self, backup: TrackingServerBackup) -> SignedUrls:
        self._answer()
        if not self.folders.get(backup.status.folder or ""):
            raise Invalid(Reason.BACKUP_BROKEN, "It has lost objects.")
        return SignedUrls({"manifest.json": SECRET_URL}, {})

    async def complete(self, backup: TrackingServerBackup) -> tuple[Stored, str] | None:
        self._answer()
        found = self.folders.get(backup.status.folder or "")
        return (found, "sha256-of-the-manifest") if found else None

    def is_class_gone(self, backup: TrackingServerBackup) -> bool:
        return not self.has_class

    async def has_any(self, backup: TrackingServerBackup) -> bool:
        return backup.status.folder in self.folders

    async def remove(self, backup: TrackingServerBackup, *, all_attempts: bool) -> bool:
        self._answer()
        folder = backup.status.folder or ""
        below = folder.rsplit("/", 2)[0] if all_attempts else folder
        found = [one for one in self.folders if one.startswith(below)]
        for one in found:
            del self.folders[one]
        return bool(found)

    def _answer(self) -> None:
        if self.failure:
            raise self.failure


class Databases:
    """The databases that are there for a trial, by backup."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.failure: Failure | None = None

    async def make(
        self, backup: TrackingServerBackup, namespace_uid: str, store: PostgresBackend, password: str
    ) -> tuple[str, str | None]:
        assert backup.status.scratch_database  # said before it is there
        self.made.add(backup.metadata.name)
        return f"{backup.status.scratch_database}_a", None

    async def drop(self, backup: TrackingServerBackup, namespace_uid: str) -> None:
        if self.failure:
            raise self.failure
        self.made.discard(backup.metadata.name)


class World:
    """A server that has been ready, and a backup of it."""

    def __init__(
        self, spec: Manifest | None = None, *, has_server: bool = True, offer: Manifest | None = None
    ) -> None:
        self.api, self.events, self.bucket, self.now = MemoryApi(), Events(), Bucket(), NOW
        self.databases = Databases()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        kube = self.api.as_client()
        self.loop = BackupReconciler(
            kube,
            self.cache,
            cast(EventRecorder, self.events),
            stored=self.bucket.as_stored(),
            databases=cast(ScratchDatabases, self.databases),
            networks=Networks(kube, self.cache, Credentials(kube, self.cache), lambda: self.now),
            settings=SETTINGS,
            now=lambda: self.now,
        )
        class_ = tracking_class({"postgres": POSTGRES, "s3": S3} if offer is None else offer, is_default=True)
        known = {
            "placement": placed(plan_of(server(), class_))["placement"],
            "schemaRevision": "f4a9b2c7d1e6",
        }
        self.api.store(namespace() | {"kind": "Namespace"})
        self.api.store(_as_live(class_.as_kubernetes(), "TrackingServerClass", {"name": "standard"}))
        if has_server:
            self.api.store(
                {
                    "apiVersion": API_VERSION,
                    "kind": "TrackingServer",
                    "metadata": {"name": "mlflow", "namespace": "team-a", "uid": UID},
                    "spec": {},
                    "status": known,
                }
            )
        self.add_backup("nightly", spec)

    def add_backup(self, name: str, spec: Manifest | None = None) -> None:
        self.api.store(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerBackup",
                "metadata": {"name": name, "namespace": "team-a"},
                "spec": {"serverRef": {"name": "mlflow"}, **(spec or {})},
            }
        )

    async def reconcile(self, name: str = "nightly", *, times: int = 1) -> Outcome:
        """Let the informers catch up, and run the loop."""
        outcome = Outcome()
        for _ in range(times):
            for obj in self.api.objects.values():
                self.cache.upsert(obj)
            for kind in (JOB, NETWORK_POLICY, POD, SECRET, TRACKING_SERVER_BACKUP):
                for obj in self.cache.list(kind):
                    if (kind, "team-a", obj["metadata"]["name"]) not in self.api.objects:
                        self.cache.remove(obj)
            outcome = await self.loop.reconcile("team-a", name)
        return outcome

    async def begun(self) -> KubeObject:
        """The Job, once there is one."""
        await self.reconcile(times=2)
        return self.job()

    def job(self) -> KubeObject:
        return self.api.objects[JOB, "team-a", "mlflow-backup"]

    def end(
        self,
        *,
        reason: str = "",
        message: str = "Done.",
        exit_code: int = 0,
        name: str = "mlflow-backup",
        container: str = "back-up",
    ) -> None:
        """The Job's pod ends, and the Job with it."""
        job = self.api.objects[JOB, "team-a", name]
        condition = "Failed" if exit_code else "Complete"
        ended = {"type": condition, "status": "True", "lastTransitionTime": "2026-01-01T11:59:00Z"}
        self.api.store(job | {"status": {"conditions": [ended], "completionTime": "2026-01-01T11:59:00Z"}})
        state = {
            "terminated": {
                "exitCode": exit_code,
                "message": said(reason, message),
                "finishedAt": "2026-01-01T11:59:00Z",
            }
        }
        self.api.store(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-{job['metadata']['uid']}",
                    "namespace": "team-a",
                    "labels": job["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [
                        {
                            "apiVersion": "batch/v1",
                            "kind": "Job",
                            "name": name,
                            "uid": job["metadata"]["uid"],
                            "controller": True,
                        }
                    ],
                },
                "status": {
                    "phase": "Failed" if exit_code else "Succeeded",
                    "containerStatuses": [{"name": container, "state": state}],
                },
            }
        )

    def backup(self, name: str = "nightly") -> KubeObject:
        return self.api.objects[TRACKING_SERVER_BACKUP, "team-a", name]

    def condition(self, name: str = "nightly") -> tuple[str, str]:
        found = {one["type"]: one for one in self.backup(name)["status"]["conditions"]}
        return found["Complete"]["status"], found["Complete"]["reason"]

    def folder(self) -> str:
        return str(self.backup()["status"]["folder"])

    def delete(self, **changes: object) -> None:
        found = self.backup()
        metadata = found["metadata"] | {"deletionTimestamp": "2026-01-01T12:00:00Z", **changes}
        self.api.store(found | {"metadata": metadata})

    def is_gone(self) -> bool:
        """Whether nothing holds it any more."""
        return FINALIZER not in self.backup()["metadata"].get("finalizers", [])


def _as_live(obj: Manifest, kind: str, metadata: Manifest) -> Manifest:
    return obj | {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


async def test_a_backup_is_complete_when_all_is_stored_and_nothing_is_left_that_lets_anybody_write() -> None:
    world = World()
    job = await world.begun()
    arguments = " ".join(job["spec"]["template"]["spec"]["containers"][0]["command"])
    assert "--prefix=team-a/mlflow" in arguments
    assert (job["spec"]["backoffLimit"], "podFailurePolicy" in job["spec"]) == (0, False)
    assert SECRET_URL not in str(job)
    assert SECRET_URL not in str(world.backup())
    assert world.folder().startswith(".tracking-operator/backups/uid-of-namespace/")
    owners = {
        kind: world.api.objects[kind, "team-a", "mlflow-backup"] for kind in (JOB, NETWORK_POLICY, SECRET)
    }
    assert {one["metadata"]["ownerReferences"][0]["kind"] for one in owners.values()} == {
        "TrackingServerBackup"
    }
    assert world.condition() == ("False", "Progressing")

    world.end()
    world.bucket.folders[world.folder()] = STORED
    assert await world.reconcile() == Outcome()
    status = world.backup()["status"]
    assert world.condition() == ("True", "AsExpected")
    assert (status["runs"], status["objects"], status["size"], status["sha256"]) == (
        3,
        2,
        7,
        "sha256-of-the-manifest",
    )
    assert [name for name in world.api.names() if name.endswith("/mlflow-backup")] == []
    assert [one[2] for one in world.events.recorded] == ["Ready"]
    world.api.calls.clear()
    assert await world.reconcile() == Outcome()
    assert world.api.calls == []


async def test_artifacts_are_left_out_where_that_is_asked_for() -> None:
    job = await World({"artifacts": "None"}).begun()
    assert "--prefix" not in str(job)


async def test_half_a_backup_is_never_complete_and_three_attempts_are_made_each_in_a_folder_of_its_own() -> (
    None
):
    world = World()
    await world.begun()
    folders = []
    for _ in range(3):
        folders.append(world.folder())
        world.end()  # the pod says that all is well, and the manifest is not there
        world.bucket.folders[world.folder()] = None
        await world.reconcile(times=3)
    assert world.condition() == ("False", Reason.BACKUP_FAILED)
    assert len(set(folders)) == 3
    assert world.bucket.folders == {}
    assert [name for name in world.api.names() if name.endswith("/mlflow-backup")] == []
    assert await world.reconcile() == Outcome()


async def test_a_pod_that_was_ended_is_followed_by_another_attempt_and_one_that_cannot_succeed_is_not() -> (
    None
):
    world = World()
    first = await world.begun()
    world.end(exit_code=137)
    world.bucket.folders[world.folder()] = None
    await world.reconcile(times=3)
    assert world.job()["metadata"]["uid"] != first["metadata"]["uid"]
    assert world.backup()["status"]["attempt"] == 2
    assert world.bucket.folders == {}

    world.end(reason="BackupFailed", message="There are too many.", exit_code=50)
    await world.reconcile(times=2)
    assert world.condition() == ("False", Reason.BACKUP_FAILED)
    assert world.backup()["status"]["attempt"] == 2
    assert "There are too many." in str(world.backup()["status"]["conditions"])


async def test_a_store_that_is_away_is_waited_for() -> None:
    world = World()
    await world.reconcile()
    world.bucket.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    outcome = await world.reconcile()
    assert (outcome.failed, world.condition()) == (True, ("False", Reason.STORE_UNREACHABLE))
    world.bucket.failure = None
    assert (await world.begun())["metadata"]["name"] == "mlflow-backup"


async def test_an_operator_that_ends_after_everything_was_stored_finds_it() -> None:
    world = World()
    await world.begun()
    world.bucket.folders[world.folder()] = STORED
    del world.api.objects[JOB, "team-a", "mlflow-backup"]
    await world.reconcile()
    assert world.condition() == ("True", "AsExpected")


async def test_a_job_that_somebody_removes_is_made_anew_elsewhere() -> None:
    world = World()
    await world.begun()
    before = world.folder()
    world.bucket.folders[before] = None
    del world.api.objects[JOB, "team-a", "mlflow-backup"]
    await world.reconcile(times=2)
    assert (world.folder() != before, world.job()["kind"], world.bucket.folders) == (True, "Job", {})


async def test_a_second_backup_waits_for_the_first() -> None:
    world = World()
    await world.begun()
    world.add_backup("second")
    outcome = await world.reconcile("second", times=2)
    assert (outcome.requeue_after, world.condition("second")) == (5.0, ("False", "Pending"))
    (request,) = requests_for(world.job(), world.cache)[1:]
    assert request == Request("TrackingServerBackup", "team-a", "second")


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_server_that_is_not_there_or_has_no_database_yet_is_waited_for(*, is_there: bool) -> None:
    world = World(has_server=is_there)
    if is_there:
        found = world.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        world.api.store(found | {"status": {}})
    outcome = await world.reconcile()
    assert world.condition() == ("False", Reason.SERVER_NOT_FOUND)
    assert outcome.requeue_after == 15.0


async def test_stores_that_are_not_backed_up_are_told() -> None:
    world = World(offer={"s3": S3})
    await world.reconcile()
    assert world.condition() == ("False", Reason.BACKUP_FAILED)


@pytest.mark.parametrize(("policy", "left"), [("Delete", 0), ("Retain", 1)])
async def test_what_is_stored_goes_with_the_resource_unless_it_is_to_be_kept(policy: str, left: int) -> None:
    world = World({"deletionPolicy": policy})
    await world.begun()
    world.end()
    world.bucket.folders[world.folder()] = STORED
    await world.reconcile()
    world.delete()
    await world.reconcile(times=2)
    assert (world.is_gone(), len(world.bucket.folders)) == (True, left)


async def test_half_a_backup_is_never_kept_and_its_pod_is_waited_for() -> None:
    world = World({"deletionPolicy": "Retain"})
    await world.begun()
    world.end(exit_code=137)
    pod = next(obj for (kind, *_), obj in world.api.objects.items() if kind == POD)
    world.api.store(pod | {"status": {"phase": "Running"}})
    world.bucket.folders[world.folder()] = None
    world.delete()
    await world.reconcile()
    assert (world.is_gone(), len(world.bucket.folders)) == (False, 1)
    del world.api.objects[POD, "team-a", pod["metadata"]["name"]]
    await world.reconcile(times=2)
    assert (world.is_gone(), len(world.bucket.folders)) == (True, 0)


async def test_a_backup_whose_class_is_gone_goes_and_leaves_what_is_stored() -> None:
    world = World()
    await world.begun()
    world.bucket.failure, world.bucket.has_class = Invalid(Reason.CLASS_NOT_FOUND, "It is gone."), False
    world.delete()
    await world.reconcile(times=2)
    assert world.is_gone()
    assert "DeletionBlocked" in [one[2] for one in world.events.recorded]


async def test_a_backup_whose_store_is_away_goes_only_if_its_owner_says_so() -> None:
    world = World()
    await world.begun()
    world.bucket.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    world.delete()
    await world.reconcile(times=2)
    assert not world.is_gone()
    world.delete(annotations={"tracking-operator.dev/force-orphan": "true"})
    await world.reconcile(times=2)
    assert world.is_gone()
    assert "DeletionBlocked" in [one[2] for one in world.events.recorded]


async def test_a_changed_deletion_policy_is_noted_and_nothing_else_happens() -> None:
    world = World()
    await world.begun()
    world.end()
    world.bucket.folders[world.folder()] = STORED
    await world.reconcile()
    found = world.backup()
    world.api.store(found | {"spec": found["spec"] | {"deletionPolicy": "Retain"}})
    await world.reconcile()
    assert world.backup()["status"]["observedGeneration"] == world.backup()["metadata"]["generation"]
    assert world.condition() == ("True", "AsExpected")


@pytest.mark.parametrize("is_complete", [True, False])
async def test_what_an_older_operator_could_not_read_is_afterwards_what_it_was(*, is_complete: bool) -> None:
    world = World()
    await world.begun()
    if is_complete:
        world.end()
        world.bucket.folders[world.folder()] = STORED
    else:
        world.end(reason="BackupFailed", message="There are too many.", exit_code=50)
    await world.reconcile(times=2)
    before = world.backup()
    with pytest.raises(ValidationError) as raised:
        TrackingServerBackup.model_validate(before | {"spec": before["spec"] | {"artifacts": "Some"}})
    status, _ = status_with(before, unreadable_result(raised.value), NOW)
    world.api.store(before | {"status": status})
    await world.reconcile()
    assert world.backup()["status"] == before["status"]
    world.api.calls.clear()
    assert await world.reconcile() == Outcome()
    assert world.api.calls == []
