"""The loop of a server with a database of its own, where PostgreSQL answers what a test wants."""

from collections.abc import Callable
from typing import cast

import pytest

from tests.unit.examples import POSTGRES, Manifest
from tests.unit.reconcile.test_server_reconciler import World
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.marks import API_VERSION, FINALIZER
from tracking_operator.backend_store.server import Login, PostgresServer
from tracking_operator.failures import Failure, Invalid, Unavailable
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import DEPLOYMENT, JOB
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.databases import DatabaseState, Wanted
from tracking_operator.reconcile.findings import Finding, Verdict
from tracking_operator.reconcile.kinds import TRACKING_SERVER
from tracking_operator.reconcile.left_databases import LeftDatabases
from tracking_operator.reconcile.own_stores import STORE_RETRY_SECONDS
from tracking_operator.reconcile.postgres_servers import Access

LEAVING = "2026-01-01T12:00:00Z"


class PostgresWorld(World):
    """A server of a class with PostgreSQL."""

    def __init__(self, **spec: object) -> None:
        self.revision: str | None = None
        self.failure: Failure | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.wanted: list[Wanted] = []
        self.dropped: list[str] = []
        self.blocked: Finding | None = None
        super().__init__({"className": "standard", **spec})
        metadata = {"name": "standard"}
        self.put(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": metadata,
                "spec": {"postgres": POSTGRES},
            }
        )

    def restart(self) -> None:
        super().restart()
        self.loop._stores._postgres = self  # type: ignore[assignment]
        self.loop._stores._databases = self  # type: ignore[assignment]
        self.loop._cleanup._stores = (cast(LeftDatabases, self),)

    async def access(self, class_name: str, offer: object) -> Access:
        return Access(PostgresServer("pg.db.svc"), Login("admin", "secret"))

    async def bring_about(
        self, server: object, store: object, access: Access, wanted: Wanted, *, fresh: bool
    ) -> DatabaseState:
        if self.failure:
            raise self.failure
        self.wanted.append(wanted)
        found = DatabaseState("x_a", self.revision)
        self.meanwhile()
        return found

    async def leave(
        self, live: Manifest, resource: object, chosen: ChosenClass, policy: object, server: object
    ) -> Finding | None:
        if self.blocked is None:
            self.dropped.append(f"{chosen.name} {policy}")
        return self.blocked

    def forget(self, uid: str) -> None:
        pass

    def cut_short(self) -> None:
        """The API server removes the server although the finalizer has just been written."""
        self.cache.remove(self.api.objects.pop((TRACKING_SERVER, "team-a", "mlflow")))


async def test_the_job_comes_first_and_the_deployment_after_it() -> None:
    world = PostgresWorld()
    await world.reconcile()
    assert (DEPLOYMENT, "team-a", "mlflow") not in world.api.objects
    world.migrate()
    world.revision = "abc"
    await world.reconcile()
    assert world.child(DEPLOYMENT)
    assert world.resource["status"]["schemaRevision"] == "abc"
    assert world.wanted[-1].migrated_by == world.child(JOB, "mlflow-migrate-3-17-2")["metadata"]["uid"]


async def test_a_job_that_ends_while_postgresql_is_asked_is_not_run_again() -> None:
    world = PostgresWorld()
    await world.reconcile()

    def end_the_job() -> None:
        world.migrate()
        world.watch()
        world.meanwhile = lambda: None

    world.meanwhile = end_the_job
    await world.reconcile()
    assert "delete Job" not in world.api.writes
    world.revision = "abc"
    await world.reconcile()
    assert world.child(DEPLOYMENT)


async def test_a_store_that_a_person_must_see_to_is_looked_at_again() -> None:
    world = PostgresWorld()
    world.failure = Invalid(Reason.CONFLICT, "It is somebody else's.")
    outcome = await world.reconcile()
    assert (outcome.retry_after, outcome.failed) == (STORE_RETRY_SECONDS, False)
    assert world.condition("BackendStoreReady") == ("False", "Conflict")
    assert world.condition("SchemaReady") == ("False", "Pending")
    assert (DEPLOYMENT, "team-a", "mlflow") not in world.api.objects


async def test_a_store_that_does_not_answer_leaves_what_runs_alone() -> None:
    world = PostgresWorld()
    await world.reconcile()
    world.migrate()
    world.revision = "abc"
    await world.reconcile()
    before = world.child(DEPLOYMENT)
    world.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    world.restart()
    outcome = await world.reconcile()
    assert outcome.failed
    assert world.condition("BackendStoreReady") == ("False", "StoreUnreachable")
    assert world.condition("SchemaReady") == ("True", "AsExpected")
    assert world.child(DEPLOYMENT) == before


async def test_a_server_is_torn_down_by_the_class_that_was_decided_for_it_even_before_its_first_status() -> (
    None
):
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    await world.reconcile()
    assert world.resource["metadata"]["finalizers"] == [FINALIZER]
    resource = {key: value for key, value in world.resource.items() if key != "status"}
    spec = {key: value for key, value in resource["spec"].items() if key != "className"}
    world.put(resource | {"metadata": resource["metadata"] | {"deletionTimestamp": LEAVING}, "spec": spec})
    await world.reconcile()
    assert world.dropped == ["standard Delete"]
    assert world.resource["metadata"]["finalizers"] == []


async def test_a_server_that_goes_while_it_is_begun_leaves_nothing_although_its_finalizer_came_too_late() -> (
    None
):
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    world.meanwhile = world.cut_short
    with pytest.raises(ApiError, match="UID"):
        await world.reconcile()
    assert world.dropped == []
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    assert world.dropped == ["standard Delete"]


async def test_what_a_server_leaves_that_is_gone_already_is_seen_to_until_it_is_done() -> None:
    world = PostgresWorld()
    await world.reconcile()
    world.cut_short()
    world.blocked = Finding(
        ConditionType.BACKEND_STORE_READY, Verdict.FAILING, Reason.DELETION_BLOCKED, "It is down."
    )
    assert (await world.loop.reconcile("team-a", "mlflow", resync=False)).failed
    world.blocked = None
    assert not (await world.loop.reconcile("team-a", "mlflow", resync=False)).failed
    assert world.dropped == ["standard Retain"]
