"""What is said of a volume claim that nobody provides, when, and at what cost."""

from datetime import UTC, datetime, timedelta

from tests.unit.controllers.live import claim, live, pod
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, model
from tracking_operator.controllers.server.children.pending_volumes import PendingVolumes, pending_volumes

MADE = datetime(2026, 1, 1, 10, tzinfo=UTC)
CLAIM = "mlflow-artifact-store"


def storage_class(name: str, *, is_default: bool = False) -> Manifest:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if is_default else {}
    metadata = {"annotations": annotations, "namespace": None}
    return live("storage.k8s.io/v1", "StorageClass", name, metadata=metadata)


class World:
    """A server whose volume for artifacts is not bound, in a cluster with two StorageClasses."""

    def __init__(self, named: str | None = "missing", mode: str = "ReadWriteOnce") -> None:
        self.api = MemoryApi()
        self.claim = claim(CLAIM, "Pending") | {"spec": {"storageClassName": named, "accessModes": [mode]}}
        for one in (storage_class("local", is_default=True), storage_class("shared")):
            self.api.store(one)

    async def look(self, seconds: float, *pods: Manifest, suspend: bool = False) -> PendingVolumes:
        claims = {CLAIM: self.claim, "mlflow-backend-store": claim()}
        server = model({"suspend": suspend})
        return await pending_volumes(
            self.api.as_client(), server, claims, list(pods), MADE + timedelta(seconds=seconds)
        )


async def test_within_a_minute_nobody_is_asked() -> None:
    world = World()
    found = await world.look(20, pod())
    assert (found.why, found.look_again) == ({}, 40)
    assert world.api.calls == []


async def test_after_a_minute_the_classes_that_there_are_are_named() -> None:
    found = await World().look(61, pod())
    assert list(found.why) == [CLAIM]
    assert "StorageClass missing does not exist: there are local (the default), shared." in found.why[CLAIM]
    assert "spec.artifactStore.volume.storageClassName" in found.why[CLAIM]
    assert f"kubectl delete pvc {CLAIM}" in found.why[CLAIM]
    assert found.look_again


async def test_the_provisioner_is_quoted() -> None:
    world = World("local", "ReadWriteMany")
    event = live(
        "v1",
        "Event",
        "one",
        involvedObject={"uid": world.claim["metadata"]["uid"]},
        reason="ProvisioningFailed",
        message="only ReadWriteOnce is supported",
        lastTimestamp="2026-01-01T10:00:30Z",
    )
    world.api.store(event)
    found = await world.look(61, pod())
    assert "only ReadWriteOnce is supported" in found.why[CLAIM]
    assert "asks StorageClass local for ReadWriteMany" in found.why[CLAIM]


async def test_while_the_pod_finds_no_node_nobody_is_to_provide_a_volume() -> None:
    world = World("lazy")
    world.api.store(storage_class("lazy") | {"volumeBindingMode": "WaitForFirstConsumer"})
    found = await world.look(1000, pod())
    assert (found.why, bool(found.look_again)) == ({}, True)
    node = {"volume.kubernetes.io/selected-node": "one"}
    world.claim["metadata"] = world.claim["metadata"] | {"annotations": node}
    assert list((await world.look(1000, pod())).why) == [CLAIM]


async def test_without_a_default_class_that_is_said() -> None:
    found = await World(None).look(61, pod())
    assert "names no StorageClass, and none is the default" in found.why[CLAIM]


async def test_a_volume_that_waits_for_its_first_pod_is_not_late() -> None:
    assert await World().look(1000) == PendingVolumes({})
    assert await World().look(1000, pod(), suspend=True) == PendingVolumes({})
    young = pod(created="2026-01-01T10:16:00Z")
    assert (await World().look(1000, young)).why == {}


async def test_a_bound_volume_costs_nothing() -> None:
    world = World()
    world.claim = claim(CLAIM)
    assert await world.look(1000, pod()) == PendingVolumes({})
    assert world.api.calls == []
