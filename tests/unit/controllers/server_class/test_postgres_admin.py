"""What is remembered of a class's PostgreSQL, and when it is looked at: the look itself is made on real servers."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import POSTGRES, Manifest, secret
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.api.tracking_server_class import PostgresStoreSpec
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.postgres.database_server import Login, PostgresServer

NAMESPACE = "tracking-operator-system"
OFFER = PostgresStoreSpec.model_validate(POSTGRES)
WITH_CA = PostgresStoreSpec.model_validate(POSTGRES | {"caConfigMapRef": {"name": "pg-ca"}})


class Executor:
    """Looks at no server: says what it is told to."""

    def __init__(self) -> None:
        self.asked: list[PostgresServer] = []
        self.failure: Failure | None = None
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def run_for_class(
        self, server: PostgresServer, work: Callable[[], object], *, seconds: float
    ) -> object:
        """Answer a look."""
        self.asked.append(server)
        self.is_asked.set()
        await self.may_answer.wait()
        if self.failure:
            raise self.failure
        return ("It could be safer.",)


class World:
    """A class's Secret, and nobody's PostgreSQL."""

    def __init__(self) -> None:
        self.api, self.executor = MemoryApi(), Executor()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.servers = PostgresAdmin(
            self.api.as_client(), self.cache, cast(StoreExecutor, self.executor), NAMESPACE
        )
        self.put_secret()

    def put_secret(self, *, is_watched: bool = False, **data: str) -> None:
        """Write the admin's Secret."""
        contents = {"username": "admin", "password": "secret"} | data
        stored = self.api.store(secret("pg-admin", NAMESPACE, **contents))
        if is_watched:
            self.cache.upsert(stored)


async def test_a_server_is_looked_at_once_and_remembered() -> None:
    world = World()
    first = await world.servers.access("standard", OFFER)
    assert (first.server.host, first.admin.username, first.remarks) == (
        "pg.db.svc",
        "admin",
        ("It could be safer.",),
    )
    assert await world.servers.access("standard", OFFER) is first
    assert len(world.executor.asked) == 1
    await world.servers.verify("standard", OFFER, fresh=False)
    assert len(world.executor.asked) == 2


async def test_a_failure_is_remembered_until_the_next_look() -> None:
    world = World()
    world.executor.failure = Invalid(Reason.LOGIN_REFUSED, "No.")
    for _ in range(2):
        with pytest.raises(Invalid, match="LoginRefused"):
            await world.servers.access("standard", OFFER)
    assert len(world.executor.asked) == 1
    world.executor.failure = None
    await world.servers.verify("standard", OFFER, fresh=False)
    await world.servers.access("standard", OFFER)
    assert len(world.executor.asked) == 2


async def test_a_server_that_is_at_work_for_others_is_as_well_as_it_was() -> None:
    world = World()
    known = await world.servers.access("standard", OFFER)
    world.executor.failure = Waiting(Reason.BUSY, "Four are under way.")
    assert await world.servers.verify("standard", OFFER, fresh=False) is known
    assert await world.servers.access("standard", OFFER) is known
    with pytest.raises(Waiting, match="Busy"):
        await world.servers.access("another", OFFER)
    world.executor.failure = Unavailable(Reason.BUSY, "Something holds a lock.")
    with pytest.raises(Unavailable, match="Busy"):
        await world.servers.verify("standard", OFFER, fresh=False)


async def test_another_offer_or_class_is_looked_at_anew() -> None:
    world = World()
    await world.servers.access("standard", OFFER)
    other = OFFER.model_copy(update={"port": 6432})
    assert (await world.servers.access("standard", other)).server.port == 6432
    await world.servers.access("another", OFFER)
    world.servers.evict("another")
    await world.servers.access("another", OFFER)
    assert len(world.executor.asked) == 4


async def test_nobody_waits_for_a_look_that_hangs_where_something_is_known() -> None:
    world = World()
    known = await world.servers.access("standard", OFFER)
    world.executor.is_asked.clear()
    world.executor.may_answer.clear()
    look = asyncio.create_task(world.servers.verify("standard", OFFER, fresh=False))
    async with asyncio.timeout(5):
        await world.executor.is_asked.wait()
        assert await world.servers.access("standard", OFFER) is known
    world.executor.may_answer.set()
    await look


async def test_a_first_look_is_shared() -> None:
    world = World()
    found = await asyncio.gather(*(world.servers.access("standard", OFFER) for _ in range(5)))
    assert len(world.executor.asked) == 1
    assert all(one is found[0] for one in found)


async def test_an_unwatched_secret_is_read_once_and_again_on_request_or_after_a_failure() -> None:
    world = World()
    await world.servers.access("standard", OFFER)
    world.put_secret(password="changed")
    assert (await world.servers.verify("standard", OFFER, fresh=False)).admin.password == "secret"
    assert (await world.servers.verify("standard", OFFER, fresh=True)).admin.password == "changed"
    world.put_secret(password="again")
    world.executor.failure = Invalid(Reason.LOGIN_REFUSED, "No.")
    with pytest.raises(Invalid):
        await world.servers.verify("standard", OFFER, fresh=False)
    world.executor.failure = None
    assert (await world.servers.verify("standard", OFFER, fresh=False)).admin.password == "again"


async def test_a_watched_secret_is_never_read() -> None:
    world = World()
    world.put_secret(is_watched=True)
    await world.servers.access("standard", OFFER)
    world.put_secret(is_watched=True, password="changed")
    assert (await world.servers.verify("standard", OFFER, fresh=False)).admin.password == "changed"
    assert world.api.calls == []


@pytest.mark.parametrize(
    ("username", "password", "missing"), [("admin", "", "password"), (" ", "x", "username")]
)
async def test_a_secret_without_its_keys_says_which(username: str, password: str, missing: str) -> None:
    world = World()
    world.put_secret(username=username, password=password)
    with pytest.raises(Waiting, match=missing) as failure:
        await world.servers.access("standard", OFFER)
    assert failure.value.reason is Reason.SECRET_KEY_MISSING
    assert not world.executor.asked


async def test_what_a_class_names_and_is_missing_is_said_with_the_field() -> None:
    world = World()
    with pytest.raises(Waiting, match=r"postgres\.caConfigMapRef") as failure:
        await world.servers.access("standard", WITH_CA)
    assert failure.value.reason is Reason.SECRET_NOT_FOUND
    metadata = {"name": "pg-ca", "namespace": NAMESPACE}
    authority: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"ca.crt": " "},
    }
    world.api.store(authority)
    with pytest.raises(Waiting, match=r"ca\.crt") as failure:
        await world.servers.verify("standard", WITH_CA, fresh=False)
    assert failure.value.reason is Reason.SECRET_KEY_MISSING
    world.api.store(authority | {"data": {"ca.crt": "PEM"}})
    assert (await world.servers.verify("standard", WITH_CA, fresh=False)).server.ca_certificates == "PEM"


def test_servers_that_left_logins_behind_are_remembered_until_those_are_taken() -> None:
    servers = World().servers
    assert servers.left_behind("standard") == frozenset()
    servers.leave_behind("standard", "uid-1")
    servers.leave_behind("standard", "uid-2")
    servers.settle("standard", frozenset({"uid-1"}))
    assert servers.left_behind("standard") == {"uid-2"}
    servers.evict("standard")
    assert servers.left_behind("standard") == frozenset()


def test_remarks_that_change_with_each_server_make_no_other_access() -> None:
    server, admin = PostgresServer("pg.db.svc"), Login("admin", "secret")
    assert AdminConnection(server, admin, ("limits add up to 100",)) == AdminConnection(
        server, admin, ("limits add up to 140",)
    )
