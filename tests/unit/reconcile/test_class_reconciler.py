"""The loop of a class: can servers be made from it?"""

from datetime import UTC, datetime
from typing import cast

import pytest

from tests.unit.examples import POSTGRES, SETTINGS, Manifest, tracking_class
from tests.unit.reconcile.memory_api import MemoryApi
from tracking_operator.api.conditions import Reason
from tracking_operator.api.marks import API_VERSION, SERVER_LABEL
from tracking_operator.api.tracking_server_class import PostgresOffer
from tracking_operator.backend_store.server import Login, PostgresServer
from tracking_operator.backend_store.teardown import MarkedLogin
from tracking_operator.executor import StoreExecutor
from tracking_operator.failures import Failure, Unavailable
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.mark import Mark
from tracking_operator.reconcile.buckets import Buckets
from tracking_operator.reconcile.class_reconciler import PROBE_SECONDS, ClassReconciler, class_finding
from tracking_operator.reconcile.exposure_routes import ROUTE_RETRY_SECONDS
from tracking_operator.reconcile.findings import Verdict
from tracking_operator.reconcile.gateway_api import GatewayApi
from tracking_operator.reconcile.keys import Outcome
from tracking_operator.reconcile.kinds import TRACKING_SERVER_CLASS
from tracking_operator.reconcile.postgres_servers import Access, PostgresServers


@pytest.mark.parametrize(
    "naming",
    [
        {},
        {"host": "{{ name }}-{{ namespace }}.mlflow.example.com", "path": "/{{ class }}"},
        {"host": "{{ namespaceLabels.stage }}.example.com"},
    ],
)
def test_a_class_whose_templates_work_can_be_used(naming: Manifest) -> None:
    assert class_finding(tracking_class({"naming": naming})).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("naming", "named"),
    [
        ({"host": "{{ nme }}.example.com"}, "naming.host"),
        ({"host": "UPPER"}, "naming.host"),
        ({"path": "{{ name }}"}, "naming.path"),
        ({"path": "{{ 1 / 0 }}"}, "naming.path"),
    ],
)
def test_a_class_whose_template_is_broken_says_which(naming: Manifest, named: str) -> None:
    finding = class_finding(tracking_class({"naming": naming}))
    assert (finding.verdict, finding.reason) == (Verdict.BLOCKED, Reason.INVALID_SPEC)
    assert named in finding.message


async def test_the_status_is_written_once() -> None:
    api, cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
    metadata = {"name": "standard"}
    stored = api.store(
        {"apiVersion": API_VERSION, "kind": "TrackingServerClass", "metadata": metadata, "spec": {}}
    )
    cache.upsert(stored)
    postgres = PostgresServers(api.as_client(), cache, StoreExecutor(), SETTINGS.namespace)
    buckets = Buckets(api.as_client(), cache, StoreExecutor(), SETTINGS.namespace)
    loop = ClassReconciler(
        api.as_client(),
        cache,
        postgres,
        buckets,
        GatewayApi(),
        settings=SETTINGS,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    for _ in range(2):
        assert await loop.reconcile("standard", resync=False) == Outcome()
    assert api.calls == ["apply TrackingServerClass/status"]
    conditions = api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
    assert [(one["type"], one["status"]) for one in conditions] == [("Ready", "True"), ("SpecValid", "True")]


class Postgres:
    """A class's PostgreSQL with two logins on it, one of a server that is there and one of another."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.left: frozenset[str] = frozenset()
        self.taken: list[str] = []
        self.admin = "admin"
        self.logins_asked = 0

    async def verify(self, class_name: str, offer: PostgresOffer, *, fresh: bool) -> Access:
        if self.failure:
            raise self.failure
        return Access(PostgresServer(offer.host), Login(self.admin, "secret"), ("It could be safer.",))

    async def logins(self, access: Access, cluster_name: str) -> tuple[MarkedLogin, ...]:
        self.logins_asked += 1
        return tuple(
            MarkedLogin(f"{name}_a", Mark(cluster_name, "team-a", name)) for name in ("living", "dead")
        )

    async def take_logins(self, access: Access, logins: tuple[MarkedLogin, ...]) -> None:
        self.taken += [login.role for login in logins]

    def left_behind(self, class_name: str) -> frozenset[str]:
        return self.left

    def settle(self, class_name: str, uids: frozenset[str]) -> None:
        self.left -= uids

    def forget(self, class_name: str) -> None:
        raise AssertionError("it has a PostgreSQL")


class PostgresWorld:
    """A class with a PostgreSQL and a server of it."""

    def __init__(self) -> None:
        self.api, self.cache, self.postgres = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL), Postgres()
        self.put("TrackingServerClass", "standard", {"postgres": POSTGRES})
        self.living = self.put("TrackingServer", "living", {}, namespace="team-a")
        self.loop = ClassReconciler(
            self.api.as_client(),
            self.cache,
            cast(PostgresServers, self.postgres),
            Buckets(self.api.as_client(), self.cache, StoreExecutor(), SETTINGS.namespace),
            GatewayApi(),
            settings=SETTINGS,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )

    def put(self, kind: str, name: str, spec: Manifest, **metadata: object) -> Manifest:
        """Store an object where the loop sees it."""
        obj = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        stored = self.api.store(obj)
        self.cache.upsert(stored)
        return stored

    async def look(self, *, resync: bool = False) -> Manifest:
        """Look once; return the condition of the store."""
        self.api.calls.clear()
        assert await self.loop.reconcile("standard", resync=resync) == Outcome(retry_after=PROBE_SECONDS)
        conditions = self.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
        (found,) = (one for one in conditions if one["type"] == "BackendStoreReady")
        return dict(found)


async def test_a_class_with_postgresql_is_looked_at_again_and_again_and_written_once() -> None:
    world = PostgresWorld()
    condition = await world.look()
    assert condition["status"] == "True"
    assert condition["message"] == "PostgreSQL at pg.db.svc:5432 can be used by admin. It could be safer."
    await world.look()
    assert world.api.calls == []
    world.postgres.admin = "another"
    await world.look()
    assert world.api.calls == ["apply TrackingServerClass/status"], "servers hear of another admin by this"


async def test_a_failure_is_said_with_its_reason() -> None:
    world = PostgresWorld()
    world.postgres.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    condition = await world.look()
    assert (condition["status"], condition["reason"]) == ("False", "StoreUnreachable")


async def test_logins_of_the_dead_are_looked_for_when_there_is_a_reason_to() -> None:
    world = PostgresWorld()
    await world.look()
    assert world.postgres.taken == ["dead_a"]
    await world.look()
    assert world.postgres.logins_asked == 1, "nothing has happened since"
    await world.look(resync=True)
    assert world.postgres.logins_asked == 2
    world.postgres.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    await world.look()
    world.postgres.failure = None
    await world.look()
    assert world.postgres.logins_asked == 3
    assert world.postgres.taken == ["dead_a"] * 3


async def test_a_server_that_left_logins_behind_is_seen_to_once_it_is_gone() -> None:
    world = PostgresWorld()
    await world.look()
    uid = world.living["metadata"]["uid"]
    world.postgres.left = frozenset({uid})
    await world.look()
    assert world.postgres.left == {uid}, "it is still there"
    world.cache.remove(world.living)
    await world.look()
    assert world.postgres.left == frozenset()
    assert "living_a" in world.postgres.taken


async def test_a_class_with_a_gateway_needs_the_gateway_api_and_looks_for_it_again() -> None:
    api, cache, gateway_api = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL), GatewayApi()
    gateway = {
        "naming": {"host": "mlflow.example.com"},
        "access": {"gateway": {"parentRef": {"name": "public"}}},
    }
    metadata = {"name": "standard"}
    resource = {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerClass",
        "metadata": metadata,
        "spec": gateway,
    }
    cache.upsert(api.store(resource))
    kube = api.as_client()
    loop = ClassReconciler(
        kube,
        cache,
        PostgresServers(kube, cache, StoreExecutor(), SETTINGS.namespace),
        Buckets(kube, cache, StoreExecutor(), SETTINGS.namespace),
        gateway_api,
        settings=SETTINGS,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )

    def reason() -> str:
        conditions = api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
        found: str = next(one["reason"] for one in conditions if one["type"] == "SpecValid")
        return found

    outcome = await loop.reconcile("standard", resync=False)
    assert (reason(), outcome.retry_after) == ("GatewayApiMissing", ROUTE_RETRY_SECONDS)
    assert gateway_api.is_wanted.is_set()
    gateway_api.is_served = True
    assert await loop.reconcile("standard", resync=False) == Outcome()
    assert reason() == "AsExpected"
