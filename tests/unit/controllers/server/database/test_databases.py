"""In which order a server's database, roles and Secret come about; PostgreSQL itself is tried on real servers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, model, postgres_class, postgres_store
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.server.database.database_work import (
    DatabaseMemory,
    Verified,
    WantedDatabase,
)
from tracking_operator.controllers.server.database.databases import Databases, DatabaseState
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import Invalid, Unavailable, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import SECRET
from tracking_operator.resources.database_secret import credentials_in
from tracking_operator.resources.secret import ROTATED_AT_ANNOTATION
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.rotation import Sighting
from tracking_operator.stores.postgres.schema_revision import SchemaState
from tracking_operator.timings import Timings

DEADLINE = 3600.0
WANTED = WantedDatabase(rotation="", rotate_every=None, must_exist=False, deadline=DEADLINE)
ASKED = replace(WANTED, rotation="please")


def world_login(letter: str) -> str:
    """A login of the server of these tests."""
    return f"{postgres_store(model({}, postgres_class())).database}_{letter}"


class Postgres:
    """PostgreSQL as a list of what it was asked, and the few things that it remembers."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.asked: list[str] = []
        self.failure: Unavailable | Invalid | None = None
        self.other_login_works = False
        self.other_until: float | None = None
        self.sessions: frozenset[int] = frozenset()
        self.is_retired = True
        self.at_once: object = None
        self.free_login = world_login("a")

    async def run_for(
        self,
        namespace: str,
        server: PostgresServer,
        work: Callable[..., object],
        *arguments: object,
        **keywords: object,
    ) -> object:
        """Answer one piece of work."""
        assert namespace == self.world.server.namespace
        name = work.__name__.strip("_")
        login = self.world.secret_login()
        self.asked.append(f"{name} while the Secret has {login[-1] if login else 'no'} login")
        if self.failure:
            raise self.failure
        match name:
            case "provision":
                return self._verified(*arguments)
            case "login_not_in_use":
                return self.free_login
            case "look":
                return Sighting(cast(float, arguments[2]), self.sessions)
            case "begin_rotation":
                self.other_login_works = True
            case "limit_old_login":
                self.other_until = cast(float, arguments[2])
            case "retire":
                self.at_once = keywords["at_once"]
                self.other_login_works = not self.is_retired
                return self.is_retired
        return None

    def _verified(self, *arguments: object) -> Verified:
        case, credentials, _ = arguments
        return Verified(
            access=case.access,  # type: ignore[attr-defined]
            tenant=case.tenant,  # type: ignore[attr-defined]
            login=credentials.login,  # type: ignore[attr-defined]
            password=credentials.password,  # type: ignore[attr-defined]
            connection_limit=case.store.connection_limit,  # type: ignore[attr-defined]
            migrated_by=case.wanted.migrated_by,  # type: ignore[attr-defined]
            schema=SchemaState("abc"),
            is_rotating=self.other_login_works,
            other_until=self.other_until,
        )


class World:
    """One server, and the part of the loop that sees to its database."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.postgres = Postgres(self)
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.server = model({}, postgres_class())
        self.store = postgres_store(self.server)
        self.mark = Mark(
            "cluster", self.server.namespace, self.server.name, self.server.uid, "uid-of-namespace"
        )
        place = PostgresServer(self.store.host, self.store.port)
        self.access = AdminConnection(place, Login("admin", "secret"))
        self.restart()

    def restart(self) -> None:
        """An operator with an empty memory."""
        servers = PostgresAdmin(self.api.as_client(), self.cache, cast("object", self.postgres), "system")  # type: ignore[arg-type]
        self.databases = Databases(self.api.as_client(), self.cache, servers, Timings(), lambda: self.now)
        self.memory = DatabaseMemory()

    async def ensure(
        self, wanted: WantedDatabase = WANTED, *, fresh: bool = False, access: AdminConnection | None = None
    ) -> DatabaseState:
        """Do so, and forget what was asked and written before."""
        self.postgres.asked.clear()
        self.api.calls.clear()
        if fresh:
            self.memory.invalidate()
        return await self.databases.ensure(
            self.server, self.store, access or self.access, wanted, mark=self.mark, memory=self.memory
        )

    def lose(self, how: str, old: Manifest) -> None:
        """What happens to the Secret."""
        place = (SECRET, "team-a", "mlflow-database")
        if how == "deleted":
            self.cache.remove(self.api.objects.pop(place))
        else:
            self.cache.upsert(self.api.store(old if how == "old" else self.secret | {"data": {}}))

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def secret(self) -> Manifest:
        return self.api.objects[(SECRET, "team-a", "mlflow-database")]

    def secret_login(self) -> str | None:
        """The login in the Secret, if there is one."""
        found = credentials_in(self.api.objects.get((SECRET, "team-a", "mlflow-database")))
        return found.login if found else None


async def test_the_secret_is_written_before_postgresql_hears_of_the_password() -> None:
    world = World()
    state = await world.ensure()
    assert state == DatabaseState(f"{world.store.database}_a", "abc")
    assert world.postgres.asked == ["provision while the Secret has a login"]


async def test_a_verified_database_is_asked_nothing_until_something_else_is_wanted() -> None:
    world = World()
    await world.ensure()
    await world.ensure()
    assert (world.postgres.asked, world.api.writes) == ([], [])

    provisioned = ["provision while the Secret has a login"]
    await world.ensure(fresh=True)
    assert world.postgres.asked == provisioned
    await world.ensure(replace(WANTED, migrated_by="a Job"))
    assert world.postgres.asked == provisioned
    await world.ensure(replace(WANTED, migrated_by="a Job"))
    assert world.postgres.asked == []
    world.store = replace(world.store, connection_limit=5)
    await world.ensure(replace(WANTED, migrated_by="a Job"))
    assert world.postgres.asked == provisioned
    world.access = replace(world.access, admin=Login("another", "secret"))
    await world.ensure(replace(WANTED, migrated_by="a Job"))
    assert world.postgres.asked == provisioned
    world.restart()
    await world.ensure()
    assert world.postgres.asked == provisioned


async def test_a_failure_is_not_remembered_as_verified_and_the_password_is_kept() -> None:
    world = World()
    world.postgres.failure = Unavailable(Reason.STORE_UNREACHABLE, "No.")
    with pytest.raises(Unavailable):
        await world.ensure()
    written = world.secret
    world.postgres.failure = None
    await world.ensure()
    assert world.secret["data"] == written["data"]


async def test_the_admin_goes_nowhere_but_to_the_server_of_the_class() -> None:
    world = World()
    elsewhere = replace(world.access, server=PostgresServer("evil.example.com", world.store.port))
    for access in (elsewhere, replace(world.access, server=PostgresServer(world.store.host, 1))):
        with pytest.raises(Invalid) as refusal:
            await world.ensure(access=access)
        assert refusal.value.reason is Reason.RESOLVED_DIFFERS
        assert (world.postgres.asked, world.api.calls) == ([], [])


async def test_a_secret_is_not_replaced_before_it_is_known_whose_the_database_is() -> None:
    world = World()
    await world.ensure()
    before = world.secret
    world.store = replace(world.store, database="of_somebody_else")
    world.postgres.failure = Invalid(Reason.CONFLICT, "It is somebody else's.")
    with pytest.raises(Invalid, match="Conflict"):
        await world.ensure()
    assert world.postgres.asked == ["require_own while the Secret has a login"]
    assert world.secret == before


async def test_a_secret_of_somebody_else_is_a_conflict_and_one_that_leaves_is_waited_for() -> None:
    world = World()
    await world.ensure()
    ours = world.secret
    reference = ours["metadata"]["ownerReferences"][0]
    for references, expected in (([], Invalid), ([reference | {"uid": "an earlier one's"}], Waiting)):
        metadata = ours["metadata"] | {"ownerReferences": references}
        world.cache.remove(ours)
        world.api.store(ours | {"metadata": metadata})
        with pytest.raises(expected):
            await world.ensure()
        assert world.postgres.asked == []


async def test_a_rotation_lets_the_other_login_in_before_the_secret_names_it() -> None:
    world = World()
    await world.ensure()
    state = await world.ensure(ASKED)
    assert world.postgres.asked == [
        "begin_rotation while the Secret has a login",
        "limit_old_login while the Secret has b login",
    ]
    assert (state.login[-2:], state.retiring[-2:], state.requeue_after) == ("_b", "_a", 120.0)
    assert world.secret_login() == f"{world.store.database}_b"


async def test_a_rotation_that_was_interrupted_before_the_secret_was_written_begins_again() -> None:
    world = World()
    await world.ensure()
    world.postgres.other_login_works = True
    world.restart()
    world.pass_seconds(600)
    await world.ensure(ASKED)
    world.pass_seconds(31)
    assert (await world.ensure(ASKED)).login.endswith("_a")
    assert world.postgres.asked[-1] == "retire while the Secret has a login"
    assert (await world.ensure(ASKED)).login.endswith("_b")


async def test_the_old_login_retires_two_minutes_later_and_after_thirty_quiet_seconds() -> None:
    world = World()
    await world.ensure()
    await world.ensure(ASKED)
    world.pass_seconds(50)
    assert (await world.ensure(ASKED)).requeue_after == 70
    assert world.postgres.asked == []

    world.pass_seconds(70)
    world.postgres.sessions = frozenset({1, 2})
    assert (await world.ensure(ASKED)).requeue_after == 31
    world.pass_seconds(31)
    world.postgres.sessions = frozenset({1, 3})  # somebody has come in with it
    assert (await world.ensure(ASKED)).requeue_after == 31
    world.pass_seconds(10)
    world.postgres.sessions = frozenset({1})
    assert (await world.ensure(ASKED)).requeue_after == 21
    world.pass_seconds(21)
    world.postgres.is_retired = False
    assert (await world.ensure(ASKED)).requeue_after == 10
    world.pass_seconds(10)
    world.postgres.is_retired = True
    state = await world.ensure(ASKED)
    assert world.postgres.asked[-1] == "retire while the Secret has b login"
    assert (state.retiring, state.requeue_after) == ("", None)

    await world.ensure(ASKED)
    assert (world.postgres.asked, world.api.writes) == ([], [])


async def test_at_the_deadline_the_old_login_retires_with_all_its_sessions_whoever_still_comes_in_with_it() -> (
    None
):
    world = World()
    await world.ensure()
    begun = await world.ensure(ASKED)
    assert begun.retired_by == world.now + timedelta(seconds=DEADLINE)
    world.pass_seconds(DEADLINE - 40)
    world.restart()
    world.postgres.sessions = frozenset({1})
    world.postgres.is_retired = False
    state = await world.ensure(ASKED)
    assert (world.postgres.asked[-1].split()[0], world.postgres.at_once) == ("retire", False)
    assert (state.requeue_after, state.retired_by) == (10, begun.retired_by)
    world.pass_seconds(35)
    assert (await world.ensure(ASKED)).requeue_after == 5
    world.pass_seconds(5)
    world.postgres.is_retired = True
    assert not (await world.ensure(ASKED)).retiring
    assert world.postgres.at_once


async def test_whoever_comes_in_with_the_old_login_after_a_quarter_of_an_hour_is_no_pod_of_ours() -> None:
    world = World()
    await world.ensure()
    await world.ensure(ASKED)
    world.pass_seconds(899)
    for number in range(2):
        world.postgres.sessions = frozenset({number})
        assert (await world.ensure(ASKED)).retiring
        assert world.postgres.asked[-1].startswith("look")
    world.pass_seconds(1)
    assert not (await world.ensure(ASKED)).retiring


async def test_a_date_in_the_secret_which_the_team_may_change_delays_no_deadline() -> None:
    world = World()
    await world.ensure()
    await world.ensure(ASKED)
    later = (world.now + timedelta(days=365)).isoformat()
    secret = world.secret
    annotations = secret["metadata"]["annotations"] | {ROTATED_AT_ANNOTATION: later}
    forged = secret | {"metadata": secret["metadata"] | {"annotations": annotations}}
    world.cache.remove(secret)
    world.api.store(forged)
    world.pass_seconds(DEADLINE)
    assert not (await world.ensure(ASKED)).retiring
    assert world.postgres.at_once


async def test_credentials_that_are_old_enough_rotate_by_themselves() -> None:
    world = World()
    daily = replace(WANTED, rotate_every=86_400.0)
    await world.ensure(daily)
    world.pass_seconds(86_399)
    assert not (await world.ensure(daily)).retiring
    world.pass_seconds(1)
    assert (await world.ensure(daily)).retiring


async def test_a_forgotten_server_is_verified_anew() -> None:
    world = World()
    await world.ensure()
    world.memory = DatabaseMemory()
    await world.ensure()
    assert world.postgres.asked


def test_the_finding_names_database_and_login_and_no_password() -> None:
    world = World()
    condition_result = DatabaseState("x_a", None).result(world.store.evidence().place)
    assert (condition_result.verdict, condition_result.reason) == (Verdict.OK, Reason.AS_EXPECTED)
    assert world.store.database in condition_result.message
    rotating = DatabaseState("x_b", None, retiring="x_a").result(world.store.evidence().place)
    assert (rotating.verdict, rotating.reason) == (Verdict.OK, Reason.ROTATING_CREDENTIALS)
    assert "x_a to x_b" in rotating.message


async def test_a_revocation_ends_access_before_the_secret_has_another_login() -> None:
    world = World()
    await world.ensure()
    await world.ensure(ASKED)
    before = world.secret
    world.postgres.other_login_works = False

    state = await world.ensure(replace(ASKED, is_revoked=True))

    assert world.postgres.asked == [
        "revoke while the Secret has b login",
        "provision while the Secret has a login",
    ]
    assert (state.login[-1], state.retiring) == ("a", "")
    assert world.secret["data"] != before["data"]
    await world.ensure(ASKED)
    assert (world.postgres.asked, world.api.writes) == ([], [])


async def test_a_session_that_came_in_meanwhile_ends_at_once() -> None:
    world = World()
    await world.ensure()
    world.postgres.other_login_works = True
    state = await world.ensure(replace(WANTED, is_revoked=True))
    assert world.postgres.asked[-1].startswith("retire")
    assert world.postgres.at_once
    assert state.retiring == ""


async def test_no_secret_is_written_while_access_cannot_be_ended() -> None:
    world = World()
    await world.ensure()
    before = world.secret
    world.postgres.failure = Unavailable(Reason.STORE_UNREACHABLE, "No.")
    with pytest.raises(Unavailable):
        await world.ensure(replace(WANTED, is_revoked=True))
    assert world.secret == before


class TestLostSecret:
    """The Secret is deleted, damaged, or replaced by one out of an old backup."""

    @pytest.mark.parametrize("how", ["deleted", "emptied", "old"])
    async def test_is_made_again_as_it_was_while_an_operator_knows_it(self, how: str) -> None:
        world = World()
        await world.ensure()
        old = world.secret
        world.pass_seconds(60)
        await world.ensure(ASKED)
        world.postgres.other_login_works = False
        before = credentials_in(world.secret)
        world.lose(how, old)
        await world.ensure(ASKED)
        assert credentials_in(world.secret) == before
        assert [asked for asked in world.postgres.asked if "provision" in asked] == []

    async def test_after_a_restart_pods_go_on_with_the_login_that_they_have(self) -> None:
        world = World()
        await world.ensure()
        world.lose("deleted", {})
        world.restart()
        world.postgres.free_login = world_login("b")
        state = await world.ensure(replace(WANTED, must_exist=True))
        assert state.login == world.secret_login() == world_login("b")
