"""The Job that removes a server's objects: none without the programs that its pod runs, and none that waits for them."""

from datetime import UTC, datetime
from typing import cast

import pytest

from tests.unit.controllers.contexts import a_memory
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, model, placed, plan_of, s3_class, server
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import SERVER_LABEL, TOOLS_FILE
from tracking_operator.api.tracking_server import DeletionPolicy
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.artifacts.deletion_job import DeletionJobs
from tracking_operator.controllers.server.artifacts.managed_store import PrefixStore
from tracking_operator.controllers.server.artifacts.prefixes import ArtifactPrefixes
from tracking_operator.controllers.server.children.mounted_secrets import Credentials
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.managed_stores.interface import Deletion
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import CONFIG_MAP, JOB
from tracking_operator.resources.destinations import Destinations
from tracking_operator.resources.pod.tools import tools_of, with_tools
from tracking_operator.resources.tools_archive import archive_of, current_archive
from tracking_operator.stores.ownership_mark import Mark

SPEC: Manifest = {"artifactStore": {"s3": {}}, "deletionPolicy": "Delete"}
ARCHIVE = current_archive()
EARLIER = archive_of({"__main__.py": b"of an earlier release"})


class World:
    """A server that is being deleted, and a prefix that never gets empty."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.server = model(SPEC, s3_class())
        self.purged = 0
        self.was_there_any = True
        itself = cast(object, self)
        now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.store = PrefixStore(
            self.cache,
            cast(ArtifactPrefixes, itself),
            cast(S3Admin, itself),
            jobs=DeletionJobs(self.api.as_client(), self.cache, cast(Networks, itself), lambda: now),
            credentials=cast(Credentials, itself),
            marks=cast(OwnerMarks, itself),
            events=cast(EventRecorder, itself),
        )

    async def access(self, class_name: str, class_store: object) -> None:
        """The admin's access to the bucket."""

    def of(self, namespace: str, name: str, uid: str, memory: object) -> Mark:
        return Mark("cluster", "team-a", "mlflow")

    def desired_at_the_end(self, *_: object) -> None:
        """What is left of the prefix."""

    async def is_empty(self, *_: object) -> bool:
        return False

    async def purge(self, *_: object) -> bool:
        self.purged += 1
        return self.was_there_any

    async def grant_deletion(self, *_: object) -> None:
        """The server's identity may delete."""

    async def destinations(self, *_: object) -> Destinations | None:
        return self.server.destinations

    def jobs(self) -> list[Manifest]:
        return [obj for (kind, *_), obj in self.api.objects.items() if kind == JOB]

    def archive(self) -> str | None:
        live = self.api.objects.get((CONFIG_MAP, "team-a", ARCHIVE.name))
        return live["binaryData"][TOOLS_FILE] if live else None

    def watch(self) -> None:
        """Let the informers catch up."""
        for obj in self.api.objects.values():
            self.cache.upsert(obj)
        for kind in (CONFIG_MAP, JOB):
            for obj in self.cache.list(kind):
                if (kind, "team-a", obj["metadata"]["name"]) not in self.api.objects:
                    self.cache.remove(obj)

    async def finalize(self) -> ConditionResult:
        self.watch()
        self.api.calls.clear()
        class_ = s3_class()
        resource = server(SPEC, status=placed(plan_of(server(SPEC), class_)))
        chosen = ChosenClass(class_.metadata.name, class_.spec)
        deletion = Deletion({}, resource, a_memory(), chosen, DeletionPolicy.DELETE, self.server)
        unfinished = await self.store.finalize(deletion)
        assert unfinished
        return unfinished


async def test_there_is_no_job_before_its_programs_are_there() -> None:
    world = World()
    world.api.refusals["ConfigMap"] = ApiError(429, "TooManyRequests", "slow down")
    unfinished = await world.finalize()
    assert (world.jobs(), unfinished.reason) == ([], Reason.DELETION_BLOCKED)
    assert "slow down" in unfinished.message
    world.api.refusals.clear()
    assert (await world.finalize()).reason is Reason.DELETING
    assert (len(world.jobs()), world.archive()) == (1, ARCHIVE.text)


async def test_programs_that_are_deleted_beside_the_job_come_back() -> None:
    world = World()
    await world.finalize()
    before = world.jobs()
    del world.api.objects[(CONFIG_MAP, "team-a", ARCHIVE.name)]
    await world.finalize()
    assert (world.jobs(), world.archive()) == (before, ARCHIVE.text)
    await world.finalize()
    assert world.api.writes == [], "then it changes nothing"


@pytest.mark.parametrize("is_running", [False, True])
async def test_a_job_that_waits_for_an_earlier_releases_programs_is_made_anew(is_running: bool) -> None:
    world = World()
    await world.finalize()
    (job,) = world.jobs()
    world.api.store(with_tools(job, EARLIER.name))
    if is_running:
        owner = {"kind": "Job", "apiVersion": "batch/v1", "controller": True}
        reference = owner | {"name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        metadata = {
            "name": "pod",
            "namespace": "team-a",
            "labels": job["metadata"]["labels"],
            "ownerReferences": [reference],
        }
        world.api.store(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}}
        )
    await world.finalize()
    await world.finalize()
    assert [tools_of(one) for one in world.jobs()] == [EARLIER.name if is_running else ARCHIVE.name]


async def test_in_a_namespace_that_is_being_deleted_the_admin_removes_the_objects() -> None:
    world = World()
    for version, deleted_at in (("1", None), ("2", "2026-01-01T11:00:00Z")):
        metadata = {"name": "team-a", "deletionTimestamp": deleted_at, "resourceVersion": version}
        world.cache.upsert({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        is_by_the_admin = deleted_at is not None
        jobs = world.jobs()
        assert (await world.finalize()).reason is Reason.DELETING
        assert (world.purged > 0) is is_by_the_admin
        assert (world.jobs() == jobs) is is_by_the_admin


@pytest.mark.parametrize("was_there_any", [True, False])
async def test_the_admin_goes_on_at_once_as_long_as_there_is_anything(was_there_any: bool) -> None:
    world = World()
    world.was_there_any = was_there_any
    metadata = {"name": "team-a", "deletionTimestamp": "2026-01-01T11:00:00Z", "resourceVersion": "1"}
    world.cache.upsert({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    assert (await world.finalize()).look_again_after == (0 if was_there_any else None)
