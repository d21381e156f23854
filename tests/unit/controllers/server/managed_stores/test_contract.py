"""What every store keeps to that the operator makes: the real ones, and a toy that is one file and one line on each side.

The whole loop of a server runs, with the store itself and Kubernetes in memory.
"""

from datetime import timedelta
from typing import cast

import pytest

from dev.classes import generous
from tests.unit.controllers.server.managed_stores.edges import EDGES, Edge
from tests.unit.controllers.server.test_reconciler import NOW
from tests.unit.controllers.server.test_reconciler import World as LoopWorld
from tests.unit.examples import SETTINGS, Manifest, namespace, secret
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FINALIZER,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
)
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.reconciler import ServerReconciler
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.failures import Unavailable
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import DEPLOYMENT, JOB, NETWORK_POLICY, PERSISTENT_VOLUME_CLAIM, SECRET
from tracking_operator.resources.artifacts_secret import artifact_keys_in
from tracking_operator.resources.database_secret import credentials_in
from tracking_operator.resources.secret import ROTATED_AT_ANNOTATION

DOWN = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
LONGEST_ROTATION = 1800.0
"""Seconds; all stores here are through with it by then, long before the deadline of a class."""


class World(LoopWorld):
    """A server whose store is of the kind that is tried."""

    def __init__(self, edge: type[Edge], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        self.edge = edge(self, monkeypatch)  # type: ignore[call-arg]
        super().__init__({"className": "standard", **self.edge.spec})
        self.cache.upsert(namespace())
        class_ = {"apiVersion": API_VERSION, "kind": "TrackingServerClass", "metadata": {"name": "standard"}}
        self.put(class_ | {"spec": generous(self.edge.class_spec)})
        own = SETTINGS.namespace
        self.put(secret("pg-admin", own, username="admin", password="letters"))
        self.put(secret("s3-admin", own, accessKeyId="admin", secretAccessKey="letters"))

    @property
    def server(self) -> "World":
        """Whose work the stores do."""
        return self

    namespace = "team-a"

    def restart(self) -> None:
        kube, executor = self.api.as_client(), self.edge.executor
        self.loop = ServerReconciler(
            kube=kube,
            cache=self.cache,
            events=cast(EventRecorder, self.events),
            settings=SETTINGS,
            postgres=PostgresAdmin(kube, self.cache, executor, SETTINGS.namespace),
            s3_admin=S3Admin(kube, self.cache, executor, SETTINGS.namespace),
            mlflow=self.servers.as_client(),
            gateway_api=GatewayApi(),
            now=lambda: self.now,
        )

    async def reconcile(self, *, resync: bool = False) -> Outcome:
        self.edge.calls().clear()
        return await super().reconcile(resync=resync)

    def secret_login(self) -> str | None:
        found = credentials_in(self.api.objects.get((SECRET, "team-a", self.edge.secret)))
        return found.login if found else None

    def secret_key(self) -> str | None:
        found = artifact_keys_in(self.api.objects.get((SECRET, "team-a", self.edge.secret)))
        return found.access_key_id if found else None

    def credentials(self) -> Manifest:
        """What pods get in with."""
        found: Manifest = self.api.objects[(SECRET, "team-a", self.edge.secret)]["data"]
        return found

    def has(self, kind: object, name: str = "mlflow") -> bool:
        return (kind, "team-a", name) in self.api.objects

    def finish_jobs(self) -> None:
        """What the Job controller does: let all of them succeed."""
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        for (kind, *_), obj in list(self.api.objects.items()):
            if kind == JOB:
                self.put(obj | {"status": done})

    async def get_ready(self) -> None:
        """Let Jobs succeed and pods start until the server is ready."""
        for _ in range(6):
            await self.reconcile()
            self.finish_jobs()
            if self.has(DEPLOYMENT):
                self.roll_out()
        await self.reconcile()
        assert self.condition("Ready") == ("True", "AsExpected"), self.resource["status"]["conditions"]

    def ask(self, annotation: str) -> None:
        """Write an annotation as the team does."""
        self.edit(self.resource["spec"], annotations={annotation: "please"})

    def delete(self, policy: str) -> None:
        """Delete the server as its owner does."""
        self.edit(self.resource["spec"] | {"deletionPolicy": policy})
        metadata = self.resource["metadata"] | {"deletionTimestamp": "2026-01-01T12:00:00Z"}
        self.put(self.resource | {"metadata": metadata})

    def collect_garbage(self) -> None:
        """What Kubernetes does with claims that no pod uses, and with a resource that nobody holds."""
        for place, obj in list(self.api.objects.items()):
            is_claim = place[0] == PERSISTENT_VOLUME_CLAIM and obj["metadata"].get("deletionTimestamp")
            is_let_go = place[0] == TRACKING_SERVER and not obj["metadata"].get("finalizers")
            if is_claim or is_let_go:
                del self.api.objects[place]

    async def go(self) -> list[str]:
        """Let the deletion go on until the server is gone, or nothing more happens; return what the store was asked."""
        asked: list[str] = []
        for _ in range(6):
            await self.reconcile()
            asked += self.edge.asked
            self.collect_garbage()
            if not self.has(TRACKING_SERVER):
                break
        return asked


@pytest.fixture(params=EDGES, ids=lambda edge: edge.__name__.removesuffix("Edge"))
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(request.param, monkeypatch)


async def test_creation_looks_for_it_makes_it_and_writes_its_secret(world: World) -> None:
    await world.reconcile()
    assert [one for one in world.edge.asked if one in ("find", "provision")] == ["find", "provision"]
    assert world.credentials()
    assert FINALIZER in world.resource["metadata"]["finalizers"]
    await world.get_ready()
    assert world.condition(world.edge.condition)[0] == "True"


async def test_a_settled_store_is_asked_nothing_and_nothing_is_written(world: World) -> None:
    await world.get_ready()
    await world.reconcile()
    assert (world.edge.asked, world.api.writes) == ([], [])
    await world.reconcile(resync=True)
    assert "provision" in world.edge.asked, "a resync verifies it"


async def test_another_operator_takes_it_up_with_the_credentials_that_it_has(world: World) -> None:
    await world.get_ready()
    before = world.credentials()
    world.restart()
    await world.reconcile()
    assert world.edge.asked == ["provision"]
    assert (world.credentials(), world.api.writes) == (before, [])


async def test_a_secret_that_is_lost_or_put_back_from_an_old_backup_is_made_again_as_it_was(
    world: World,
) -> None:
    await world.get_ready()
    place = (SECRET, "team-a", world.edge.secret)
    early = world.api.objects[place]
    world.now += timedelta(hours=1)
    world.ask(REVOKE_NOW_ANNOTATION)
    await world.get_ready()
    before = world.credentials()
    world.cache.remove(world.api.objects.pop(place))
    await world.reconcile()
    assert (world.credentials(), world.edge.asked) == (before, [])
    world.put(early)
    await world.reconcile()
    assert (world.credentials(), world.edge.asked) == (before, [])


async def test_no_pod_starts_before_it_is_there(world: World) -> None:
    await world.reconcile()  # a look for what a lost server may have
    world.api.objects.pop((DEPLOYMENT, "team-a", "mlflow"), None)
    world.edge.fail(DOWN)
    await world.reconcile(resync=True)
    assert world.condition(world.edge.condition) == ("False", "StoreUnreachable")
    assert not world.has(DEPLOYMENT)
    world.edge.fail(None)
    await world.get_ready()
    assert world.has(DEPLOYMENT)


async def test_what_runs_goes_on_running_while_it_does_not_answer(world: World) -> None:
    await world.get_ready()
    before, credentials = world.child(DEPLOYMENT)["spec"], world.credentials()
    world.edge.fail(DOWN)
    await world.reconcile(resync=True)
    assert world.condition(world.edge.condition) == ("False", "StoreUnreachable")
    assert (world.child(DEPLOYMENT)["spec"], world.credentials()) == (before, credentials)


async def test_rotation_tells_the_pods_and_lets_earlier_credentials_work_until_they_have_the_new_ones(
    world: World,
) -> None:
    await world.get_ready()
    before = world.credentials()
    world.ask(ROTATE_CREDENTIALS_ANNOTATION)
    outcome = await world.reconcile()
    assert ("rotate" in world.edge.asked, "retire" in world.edge.asked) == (True, False)
    assert world.credentials() != before
    assert world.condition(world.edge.condition)[1] != "AsExpected"
    asked: list[str] = []
    while outcome.requeue_after is not None and world.now < NOW + timedelta(seconds=LONGEST_ROTATION):
        world.finish_jobs()
        world.roll_out()
        world.now += timedelta(seconds=outcome.requeue_after)
        outcome = await world.reconcile()
        asked += world.edge.asked
    assert asked.count("retire") == 1
    world.finish_jobs()
    await world.reconcile()
    assert world.condition(world.edge.condition) == ("True", "AsExpected")
    await world.reconcile()
    assert (world.edge.asked, world.api.writes) == ([], [])


async def test_credentials_with_a_date_that_is_to_come_keep_no_earlier_ones(world: World) -> None:
    await world.get_ready()
    world.ask(ROTATE_CREDENTIALS_ANNOTATION)
    await world.reconcile()
    secret = world.api.objects[(SECRET, "team-a", world.edge.secret)]
    date = {ROTATED_AT_ANNOTATION: "2999-01-01T00:00:00+00:00"}
    annotations = secret["metadata"]["annotations"] | date
    world.put(secret | {"metadata": secret["metadata"] | {"annotations": annotations}})
    world.restart()
    asked: list[str] = []
    for _ in range(6):
        world.finish_jobs()
        world.roll_out()
        await world.reconcile()
        asked += world.edge.asked
    assert "retire" in asked


async def test_revocation_ends_all_access_at_once_and_makes_other_credentials(world: World) -> None:
    await world.get_ready()
    before = world.credentials()
    world.ask(REVOKE_NOW_ANNOTATION)
    await world.reconcile()
    assert world.edge.asked[:2] == ["revoke", "provision"]
    assert world.credentials() != before
    assert world.resource["status"]["revocation"][world.edge.part] == "please"
    await world.reconcile()
    assert "revoke" not in world.edge.asked, "it is done once"


async def test_suspension_stops_the_pods_and_leaves_it_as_it_is(world: World) -> None:
    await world.get_ready()
    before = world.credentials()
    world.edit(world.resource["spec"] | {"suspend": True})
    await world.reconcile()
    assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
    assert (world.edge.asked, world.credentials()) == ([], before)
    world.edit(world.resource["spec"] | {"suspend": False})
    await world.reconcile()
    assert world.child(DEPLOYMENT)["spec"]["replicas"] == 1
    assert (world.edge.asked, world.credentials()) == ([], before)


async def test_the_network_policy_lets_pods_out_to_it(world: World) -> None:
    await world.get_ready()
    rules = world.child(NETWORK_POLICY)["spec"]["egress"]
    assert world.edge.port in {port["port"] for rule in rules for port in rule.get("ports", ())}


async def test_retain_takes_away_what_lets_the_server_in_and_keeps_the_data(world: World) -> None:
    await world.get_ready()
    world.delete("Retain")
    asked = await world.go()
    assert ("retain" in asked, "drop" in asked) == (True, False)
    assert not world.has(TRACKING_SERVER)


async def test_retain_does_not_wait_for_a_store_that_does_not_answer(world: World) -> None:
    await world.get_ready()
    world.delete("Retain")
    world.edge.fail(DOWN)
    await world.go()
    assert not world.has(TRACKING_SERVER)
    assert any("stay until the operator looks" in message for *_, message in world.events.recorded)


async def test_delete_lets_the_server_go_when_its_data_is_gone_and_not_before(world: World) -> None:
    await world.get_ready()
    world.edge.fill(is_empty=False)
    world.delete("Delete")
    world.edge.fail(DOWN)
    await world.go()
    assert world.condition(world.edge.condition) == ("False", "DeletionBlocked")
    world.edge.fail(None)
    if world.edge.is_emptied_by_a_job:
        assert "drop" not in await world.go()
        assert world.has(JOB, "mlflow-delete-artifacts")
        world.edge.fill(is_empty=True)
    asked = await world.go()
    assert ("drop" in asked, "retain" in asked) == (True, False)
    assert not world.has(TRACKING_SERVER)
