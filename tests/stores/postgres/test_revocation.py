"""Access ends at once: nothing that was handed out before lets anybody in, wherever the operator was killed meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import psycopg2
import pytest

from tests.stores.postgres.world import ADMIN, ADMIN_PASSWORD, HOST
from tests.stores.postgres.world import World as PostgresWorld
from tests.unit.controllers.server.database.test_databases import ASKED, WANTED
from tests.unit.controllers.server.database.test_databases import World as LoopWorld
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.controllers.server.database.database_work import DatabaseMemory
from tracking_operator.controllers.server.database.databases import Databases
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.resources.database_secret import DatabaseCredentials, credentials_in
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.timings import Timings

REVOKED = replace(WANTED, is_revoked=True)


class Killed(Exception):
    """The operator is gone."""


class Here:
    """Does the work of the executor at once, until the operator is killed."""

    def __init__(self) -> None:
        self.dies: tuple[str, str] | None = None

    async def run_for(
        self,
        namespace: str,
        server: PostgresServer,
        work: Callable[..., object],
        *arguments: object,
        **keywords: object,
    ) -> object:
        name = work.__name__.strip("_")
        if self.dies == ("before", name):
            raise Killed
        done = work(*arguments, **keywords)
        if self.dies == ("after", name):
            raise Killed
        return done


class Loop(LoopWorld):
    """The part of the loop that sees to a database, on a real server."""

    def __init__(self, postgres: PostgresWorld) -> None:
        self.here = Here()
        super().__init__()
        self.real, self.now = postgres, datetime.now(UTC)
        self.store = replace(
            self.store, host=HOST, port=postgres.server.port, database="mlflow_revoked", connection_limit=20
        )
        server = PostgresServer(HOST, postgres.server.port, ssl_mode=SslMode.DISABLE)
        self.access = AdminConnection(server, Login(ADMIN, ADMIN_PASSWORD))

    def restart(self) -> None:
        servers = PostgresAdmin(self.api.as_client(), self.cache, cast(StoreExecutor, self.here), "system")
        self.databases = Databases(self.api.as_client(), self.cache, servers, Timings(), lambda: self.now)
        self.memory = DatabaseMemory()

    @property
    def credentials(self) -> DatabaseCredentials:
        found = credentials_in(self.secret)
        assert found
        return found

    def lets_in(self, known: DatabaseCredentials) -> bool:
        try:
            with self.real.connected(known.login, known.password, "mlflow_revoked"):
                return True
        except psycopg2.OperationalError:
            return False


async def begun(world: PostgresWorld) -> tuple[Loop, list[DatabaseCredentials]]:
    """A server in the middle of a rotation, with data; both of its passwords work."""
    loop = Loop(world)
    await loop.ensure()
    first = loop.credentials
    with world.connected(first.login, first.password, "mlflow_revoked") as connection:
        connection.cursor().execute("CREATE TABLE runs AS SELECT 42 AS id")
    await loop.ensure(ASKED)
    known = [first, loop.credentials]
    assert {one.login[-1] for one in known} == {"a", "b"}
    assert all(loop.lets_in(one) for one in known)
    return loop, known


def is_revoked(loop: Loop, known: list[DatabaseCredentials]) -> None:
    """Only the new password works, and the data is there."""
    new = loop.credentials
    assert not any(loop.lets_in(one) for one in known)
    with loop.real.connected(new.login, new.password, "mlflow_revoked") as connection:
        cursor = connection.cursor()
        cursor.execute("TABLE runs")
        assert cursor.fetchall() == [(42,)]


async def test_both_logins_and_every_session_end_and_a_new_password_lets_in(
    edge_world: PostgresWorld,
) -> None:
    world = edge_world
    loop, known = await begun(world)
    revoked = replace(REVOKED, rotation=ASKED.rotation)
    idle, busy = known
    with (
        world.connected(idle.login, idle.password, "mlflow_revoked") as one,
        world.connected(busy.login, busy.password, "mlflow_revoked") as other,
        world.connected(idle.login, idle.password, "postgres") as elsewhere,
    ):
        other.autocommit = False
        other.cursor().execute("SELECT pg_advisory_xact_lock(1)")  # in the middle of something
        state = await loop.ensure(revoked)
        for connection in (one, other, elsewhere):
            with pytest.raises(psycopg2.OperationalError):
                connection.cursor().execute("SELECT 1")
    assert state.retiring == ""
    is_revoked(loop, known)

    # It has taken the place of the rotation, and what is settled is not done again.
    new = loop.credentials
    settled = await loop.ensure(ASKED, fresh=True)
    assert (loop.credentials, settled.retiring) == (new, "")


@pytest.mark.parametrize(
    "dies", [(when, work) for work in ("revoke", "provision") for when in ("before", "after")], ids=" ".join
)
async def test_what_was_cut_off_is_taken_up_again(one_world: PostgresWorld, dies: tuple[str, str]) -> None:
    loop, known = await begun(one_world)
    loop.here.dies = dies
    with pytest.raises(Killed):
        await loop.ensure(REVOKED)
    if dies != ("before", "revoke"):
        assert not any(loop.lets_in(one) for one in known)
    known = [*known, loop.credentials] if loop.credentials not in known else known
    loop.here.dies = None
    loop.restart()
    await loop.ensure(REVOKED)
    is_revoked(loop, known)
