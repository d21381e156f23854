"""Where pods have to connect to: asked of Services and Secrets, and remembered."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    Manifest,
    model,
    postgres_class,
    secret,
)
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, SecretsMemory
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import SERVICE, Kind
from tracking_operator.resources.destinations import Destination, Destinations, Pods, anywhere
from tracking_operator.resources.network_policy import build_network_policies
from tracking_operator.resources.server_model import ServerModel

ON_POSTGRES = model({}, postgres_class())
EXTERNAL = model({"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET})
PODS = Destination((15432,), Pods("db", {"app": "pg"}))


def postgres_service(target_port: int = 15432) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "pg", "namespace": "db"},
        "spec": {"selector": {"app": "pg"}, "ports": [{"port": 5432, "targetPort": target_port}]},
    }


class Api(MemoryApi):
    """An API that can refuse to be read."""

    refuses = False

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Return the object or None."""
        found = await super().get(kind, namespace, name)
        if self.refuses and kind == SERVICE:
            raise ApiError(403, "Forbidden", "services is forbidden")
        return found


class World:
    """An API, a clock, and what is remembered between the reconciles of servers."""

    def __init__(self, *objects: Manifest) -> None:
        self.api = Api()
        for one in objects:
            self.api.store(one)
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.credentials = Credentials(self.api.as_client(), self.cache)
        self.memories = defaultdict[str, SecretsMemory](SecretsMemory)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.networks = Networks(self.api.as_client(), self.cache, self.credentials, lambda: self.now)

    async def modelled(self, server: ServerModel = ON_POSTGRES, *, fresh: bool = False) -> ServerModel:
        memory = self.memories[server.uid]
        await self.credentials.digest(server, memory)
        return replace(server, destinations=await self.networks.destinations(server, memory, fresh=fresh))

    async def destinations(self, server: ServerModel = ON_POSTGRES, *, fresh: bool = False) -> Destinations:
        found = (await self.modelled(server, fresh=fresh)).destinations
        assert found is not None
        return found

    async def database(self, *, fresh: bool = False) -> tuple[Destination, ...]:
        return (await self.destinations(fresh=fresh)).backend_store

    @property
    def looks(self) -> int:
        return self.api.calls.count("get Service")

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def test_a_store_behind_a_service_becomes_the_pods_that_it_selects() -> None:
    assert await World(postgres_service()).database() == (PODS,)


async def test_a_service_is_read_once_for_all_servers_and_reconciles() -> None:
    world = World(postgres_service())
    for name in ("one", "two", "three"):
        await world.destinations(replace(ON_POSTGRES, name=name, uid=name))
        world.wait(1000)
    assert world.looks == 1


async def test_a_service_that_changes_is_seen_at_a_resync_and_many_resyncs_ask_once() -> None:
    world = World(postgres_service())
    await world.database()
    world.api.store(postgres_service(25432))

    assert await world.database(fresh=True) == (PODS,), "it has just been asked"
    world.wait(60)
    for _ in range(3):
        assert await world.database(fresh=True) == (replace(PODS, ports=(25432,)),)
    assert world.looks == 2


async def test_a_service_that_is_missing_is_looked_for_again_soon() -> None:
    world = World()
    assert await world.database() == (anywhere(5432),)
    world.api.store(postgres_service())
    assert await world.database() == (anywhere(5432),)
    world.wait(15)
    assert await world.database() == (PODS,)


async def test_a_service_that_cannot_be_read_may_be_anywhere_and_one_that_could_stays_as_it_was() -> None:
    world = World(postgres_service())
    world.api.refuses = True
    assert await world.database() == (anywhere(5432),)
    world.api.refuses = False
    world.wait(60)
    assert await world.database(fresh=True) == (PODS,)
    world.api.refuses = True
    world.wait(60)
    assert await world.database(fresh=True) == (PODS,)


async def test_stores_on_volumes_cost_no_call() -> None:
    world = World()
    assert await world.destinations(model()) == Destinations((), ())
    assert world.api.calls == []


async def test_external_stores_are_where_their_secrets_say_and_services_there_are_found_too() -> None:
    world = World(
        postgres_service(),
        secret("mlflow-db", uri="postgresql+psycopg2://me:hunter2@pg.db:5432/mlflow"),
        secret("mlflow-bucket", accessKeyId="a", MLFLOW_S3_ENDPOINT_URL="http://minio.example.com:9000"),
    )
    found = await world.destinations(EXTERNAL)
    assert found == Destinations((PODS,), (anywhere(9000), anywhere(443)))


async def test_what_is_remembered_of_a_secret_is_no_secret() -> None:
    world = World(
        secret("mlflow-db", uri="postgresql+psycopg2://me:hunter2@pg.db:5432/mlflow"),
        secret("mlflow-bucket", accessKeyId="AKIDEXAMPLE", secretAccessKey="wJalrXUtn"),
    )
    server = await world.modelled(EXTERNAL)
    known = repr((vars(world.credentials), vars(world.networks), world.memories, server))
    assert not any(word in known for word in ("hunter2", "AKIDEXAMPLE", "wJalrXUtn"))


async def test_while_a_secret_is_missing_a_policy_stays_as_it_is() -> None:
    world = World(secret("mlflow-bucket", accessKeyId="a"))
    server = await world.modelled(EXTERNAL)
    policies = build_network_policies(server)
    assert [world.networks.leaves_alone(policy, server) for policy in policies] == [False, False]

    for policy in policies:
        world.cache.upsert(world.api.store(policy))
    assert [world.networks.leaves_alone(policy, server) for policy in policies] == [True, True]

    world.api.store(secret("mlflow-db", uri="postgresql://pg.db:5432/mlflow"))
    server = await world.modelled(EXTERNAL)
    assert [world.networks.leaves_alone(policy, server) for policy in policies] == [False, False]


@pytest.mark.parametrize("server", [model(), ON_POSTGRES])
async def test_policies_that_depend_on_no_secret_are_never_left_alone(server: ServerModel) -> None:
    world = World()
    modelled = await world.modelled(server)
    for policy in build_network_policies(modelled):
        world.cache.upsert(world.api.store(policy))
        assert not world.networks.leaves_alone(policy, modelled)
