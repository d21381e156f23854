"""What a tenant's own database does is evidence about that tenant only: on a real server, through the real executor."""

import asyncio
from collections.abc import Iterator

import pytest
from psycopg2.sql import SQL, Composable, Literal

from tests.stores.postgres.world import World, desired, tenant
from tracking_operator.api.conditions import ConditionType
from tracking_operator.controllers.conditions.condition_result import Verdict, result_from
from tracking_operator.failures import Failure, Waiting
from tracking_operator.stores.executor import SHARE, StoreExecutor
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.preflight import preflight
from tracking_operator.stores.postgres.schema_revision import SchemaState, read_schema
from tracking_operator.stores.postgres.tenant import Tenant

HOSTILE = tenant("mlflow_hostile", namespace="hostile", uid="uid-1")
HONEST = tenant("mlflow_honest", namespace="honest", uid="uid-2")
PASSWORD = "a password"
WORDS = "words of a hostile database"
RAISING = SQL("""
CREATE FUNCTION public.answer() RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION {words} USING ERRCODE = {code}; END $$
""")
VIEW = SQL("CREATE VIEW public.alembic_version AS SELECT public.answer() AS version_num")
TABLE = SQL("CREATE TABLE public.alembic_version (version_num varchar(32) NOT NULL)")
LOCK = SQL("LOCK TABLE public.alembic_version IN ACCESS EXCLUSIVE MODE")
CODES = ("57P03", "58030")
"""What a server says that goes down, or breaks."""


@pytest.fixture
def executor() -> Iterator[StoreExecutor]:
    executor = StoreExecutor(patience=0.2)
    yield executor
    executor.close()


def become_hostile(world: World, *statements: Composable) -> None:
    for one in (HOSTILE, HONEST):
        world.provision(desired(one))
    with (
        world.connected(HOSTILE.logins[0], PASSWORD, HOSTILE.database) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


async def look_at(executor: StoreExecutor, world: World, whose: Tenant) -> SchemaState:
    login = Login(whose.logins[0], PASSWORD)
    return await executor.run_for(whose.mark.namespace, world.server, read_schema, world.server, login, whose)


async def probe(executor: StoreExecutor, world: World) -> None:
    def look() -> None:
        with world.sessions() as sessions:
            preflight(sessions, allow_superuser=False)

    await executor.run_for_class(world.server, look)


@pytest.mark.parametrize("code", CODES)
async def test_whatever_a_tenants_database_raises_others_are_served_and_read_none_of_it(
    one_world: World, executor: StoreExecutor, code: str
) -> None:
    become_hostile(one_world, RAISING.format(words=Literal(WORDS), code=Literal(code)), VIEW)
    for _ in range(5):
        with pytest.raises(Failure) as caught:
            await look_at(executor, one_world, HOSTILE)
        condition_result = result_from(caught.value, ConditionType.BACKEND_STORE_READY)
        assert condition_result.verdict is not Verdict.OK
        assert await look_at(executor, one_world, HONEST) == SchemaState(None)
        await probe(executor, one_world)


async def test_tenant_whose_database_hangs_keeps_nobody_else_waiting(
    one_world: World, executor: StoreExecutor
) -> None:
    """It holds a lock for ever on what is looked at."""
    become_hostile(one_world, TABLE)
    with one_world.connected(HOSTILE.logins[0], PASSWORD, HOSTILE.database) as holding:
        holding.autocommit = False
        holding.cursor().execute(LOCK)
        hanging = [asyncio.create_task(look_at(executor, one_world, HOSTILE)) for _ in range(20)]
        await asyncio.wait(hanging, timeout=0.5)
        assert await look_at(executor, one_world, HONEST) == SchemaState(None)
        await probe(executor, one_world)
        assert not all(task.done() for task in hanging), "the honest tenant was served meanwhile"
        found = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(one, Failure) for one in found)
    assert sum(not isinstance(one, Waiting) for one in found) <= SHARE
