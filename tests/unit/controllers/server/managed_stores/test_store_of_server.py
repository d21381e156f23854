"""Access ends on deletion by whichever class leads to the data; data is deleted by the server's own class only."""

from collections.abc import Sequence
from typing import cast

import pytest

from tests.unit.controllers.contexts import a_memory
from tests.unit.examples import Manifest
from tracking_operator.api.conditions import Reason
from tracking_operator.api.placement import DatabasePlacement, Placement
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.api.tracking_server_class import PostgresStoreSpec, TrackingServerClassSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.database.databases import Databases
from tracking_operator.controllers.server.database.managed_store import DatabaseStore
from tracking_operator.controllers.server.managed_stores import store_of_server
from tracking_operator.controllers.server.managed_stores.interface import Deletion
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import Unavailable
from tracking_operator.kube.events import EventRecorder
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.tenant import Tenant

PLACE = DatabasePlacement(host="old.db.svc", port=5432, name="mlflow_team_a")


def class_at(name: str, host: str | None) -> ChosenClass:
    postgres = {"host": host, "adminSecretRef": {"name": "pg-admin"}} if host else None
    return ChosenClass(
        name, TrackingServerClassSpec.model_validate({"postgres": postgres} if postgres else {})
    )


class World:
    """A server whose database is on old.db.svc, and what was done there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.events: list[str] = []
        self.left: list[str] = []
        self.failure: Unavailable | None = None
        placement = cast(Placement, type("Placed", (), {"database": PLACE})())
        monkeypatch.setattr(store_of_server, "placement_of", lambda resource: placement)
        itself = cast(object, self)
        self.stores = DatabaseStore(
            cast(Databases, itself),
            cast(PostgresAdmin, itself),
            cast(OwnerMarks, itself),
            cast(EventRecorder, itself),
        )

    async def access(self, class_name: str, class_store: PostgresStoreSpec) -> AdminConnection:
        if self.failure:
            raise self.failure
        return AdminConnection(PostgresServer(class_store.host), Login(f"admin of {class_name}", "secret"))

    def of(self, namespace: str, name: str, uid: str, memory: object) -> Mark:
        return Mark("cluster", "team-a", "mlflow")

    async def retain(self, tenant: Tenant, access: AdminConnection) -> None:
        self.done.append(f"{access.admin.username} ends access at {access.server.host}")

    async def drop(self, tenant: Tenant, access: AdminConnection) -> None:
        self.done.append(f"{access.admin.username} drops {tenant.database}")

    def leave_behind(self, class_name: str, uid: str) -> None:
        self.left.append(class_name)

    def record(self, live: Manifest, type_: str, reason: str, message: str) -> None:
        self.events.append(message)

    async def finalize(
        self, policy: DeletionPolicy, own: ChosenClass, others: Sequence[ChosenClass]
    ) -> ConditionResult | None:
        deletion = Deletion({}, TrackingServer(), a_memory(), own, policy, None, [own, *others])
        return await self.stores.finalize(deletion)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_the_servers_own_class_does_what_the_policy_says(world: World) -> None:
    own = class_at("standard", PLACE.host)
    assert await world.finalize(DeletionPolicy.DELETE, own, [class_at("another", PLACE.host)]) is None
    assert await world.finalize(DeletionPolicy.RETAIN, own, []) is None
    assert world.done == [
        "admin of standard drops mlflow_team_a",
        "admin of standard ends access at old.db.svc",
    ]


@pytest.mark.parametrize("host", ["new.db.svc", None])
async def test_where_the_class_has_changed_another_one_ends_the_access(
    world: World, host: str | None
) -> None:
    own = class_at("standard", host)
    others = [class_at("elsewhere", "third.db.svc"), class_at("older", PLACE.host)]
    assert await world.finalize(DeletionPolicy.RETAIN, own, others) is None
    assert world.done == ["admin of older ends access at old.db.svc"]
    assert (world.events, world.left) == ([], [])


async def test_another_class_deletes_nothing_and_the_server_waits_for_its_own(world: World) -> None:
    own = class_at("standard", "new.db.svc")
    condition_result = await world.finalize(DeletionPolicy.DELETE, own, [class_at("older", PLACE.host)])
    assert condition_result is not None
    assert condition_result.reason is Reason.DELETION_BLOCKED
    assert world.done == ["admin of older ends access at old.db.svc"]


async def test_where_no_class_leads_there_an_event_says_so(world: World) -> None:
    own = class_at("standard", "new.db.svc")
    assert await world.finalize(DeletionPolicy.RETAIN, own, [class_at("elsewhere", None)]) is None
    assert world.done == []
    assert world.left == ["standard"]
    (event,) = world.events
    assert "stay until the operator looks at a class that leads there" in event


async def test_a_class_that_leads_there_and_cannot_is_no_reason_to_stay(world: World) -> None:
    world.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    own = class_at("standard", "new.db.svc")
    assert await world.finalize(DeletionPolicy.RETAIN, own, [class_at("older", PLACE.host)]) is None
    assert world.left == ["older"], "it is that class which tries again when its store answers"
    assert "It does not answer." in world.events[0]
