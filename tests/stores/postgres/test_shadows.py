"""A tenant makes functions, operators and types of the names that our statements use: none of them ever runs as somebody else."""

import struct
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from psycopg2.sql import SQL, Composable, Identifier

from tests.stores.postgres.proxy import Proxy
from tests.stores.postgres.shadows import CANARY, make_shadows
from tests.stores.postgres.world import ADMIN, ADMIN_PASSWORD, CLUSTER, World, desired, tenant
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable
from tracking_operator.stores.postgres.connection import READ_BACK, Watcher
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.finalize import access_of_cluster, drop, retain, take_access
from tracking_operator.stores.postgres.preflight import preflight
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.rotation import begin, limit, look, retire
from tracking_operator.stores.postgres.schema_revision import read_schema
from tracking_operator.stores.postgres.statements import text_of
from tracking_operator.stores.postgres.tenant import Tenant
from tracking_operator.stores.postgres.usage import RowCounts, count_rows, database_size


def test_nothing_that_a_tenant_calls_as_postgresql_does_is_used(edge_world: World) -> None:
    """A whole life is recorded; the tenant shadows all names that occur in it; and the life goes on."""
    world, mine = edge_world, tenant()
    statements: list[str] = []

    def record(statement: Composable) -> None:
        statements.append(statement.as_string(world.super))

    lead_a_life(world, mine, record)
    with world.sessions(watch=record) as sessions:
        drop(sessions, mine)
    world.provision(desired(mine, "one"))
    # Only a superuser could make it: the first schema in the default search path.
    world.sql_in(mine.database, SQL("CREATE SCHEMA AUTHORIZATION {}").format(Identifier(mine.role)))
    with world.connected(mine.logins[0], "one", mine.database) as connection, connection.cursor() as cursor:
        cursor.execute(CANARY)
        made = [make_shadows(connection, statements, schema) for schema in ("public", f'"{mine.role}"')]
        assert all(number > 500 for number in made), made
    lead_a_life(world, mine, record)
    assert world.sql_in(mine.database, SQL("SELECT who FROM public.canary")) == []


def lead_a_life(world: World, mine: Tenant, watch: Watcher) -> None:
    """Everything that the operator does with a database but dropping it; at its end, the first login is in use."""
    old, new = mine.logins
    with world.sessions(watch=watch) as sessions:
        preflight(sessions)
        provision(sessions, desired(mine, "one", connection_limit=9))
        with world.connected(old, "one", mine.database) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS public.alembic_version (version_num pg_catalog.varchar(32))"
            )
            cursor.execute("CREATE TABLE IF NOT EXISTS public.runs (start_time int8, end_time int8)")
        assert read_schema(world.server, Login(old, "one"), mine, watch=watch).revision is None
        assert database_size(sessions, mine) > 0
        counts = count_rows(world.server, Login(old, "one"), mine, now=datetime.now(UTC), watch=watch)
        assert counts == RowCounts(runs=0)
        begin(sessions, mine, new, "two")
        look(sessions, old, 0)
        limit(sessions, mine, old, time.time() + 60)
        with world.connected(old, "one", mine.database):
            retire(sessions, mine, old, at_once=False)
        with world.connected(new, "two", mine.database):
            retire(sessions, mine, new, at_once=True)
        for left in access_of_cluster(sessions, CLUSTER):
            take_access(sessions, left)
        retain(sessions, mine)
        provision(sessions, desired(mine, "one", set_password=True))
        assert read_schema(world.server, Login(old, "one"), mine, watch=watch).revision is None


def test_lost_privileges_on_the_schema_are_reported_and_not_put_right_by_entering(edge_world: World) -> None:
    world, mine = edge_world, tenant()
    login = Login(mine.logins[0], "one")
    world.provision(desired(mine, "one"))
    with world.connected(ADMIN, ADMIN_PASSWORD, mine.database) as connection, connection.cursor() as cursor:
        cursor.execute(f'REVOKE CREATE ON SCHEMA public FROM "{mine.role}"')
        entered: list[str] = []
        with world.sessions(watch=lambda statement: entered.append(text_of(statement))) as sessions:
            assert provision(sessions, desired(mine, "one")).steps == ()
        assert entered.count(READ_BACK.string) == 1  # one session, in the maintenance database
        with pytest.raises(
            Unavailable, match=f'GRANT USAGE, CREATE ON SCHEMA public TO "{mine.role}"'
        ) as caught:
            read_schema(world.server, login, mine)
        assert caught.value.reason is Reason.SCHEMA_PRIVILEGES_LOST
        cursor.execute(f'GRANT USAGE, CREATE ON SCHEMA public TO "{mine.role}"')
    assert read_schema(world.server, login, mine).revision is None


def test_the_tenant_may_not_connect_while_the_admin_is_in_the_database(edge_world: World) -> None:
    world, mine = edge_world, tenant()
    may_connect: list[bool] = []

    def look(statement: Composable) -> None:
        if "ON SCHEMA public" in text_of(statement):
            asked = (mine.role, *mine.logins)
            rows = world.sql(
                "SELECT has_database_privilege(role, %s, 'CONNECT') FROM unnest(%s) AS role",
                mine.database,
                list(asked),
            )
            may_connect.extend(may for (may,) in rows)

    with world.sessions(watch=look) as sessions:
        provision(sessions, desired(mine, "one"))
    assert may_connect == [False, False, False]


@pytest.mark.parametrize("whose", ["admin", "login"])
def test_no_setting_of_a_role_or_database_changes_the_search_path(edge_world: World, whose: str) -> None:
    world, mine = edge_world, tenant()
    world.provision(desired(mine, "one"))
    role, database = (ADMIN, "postgres") if whose == "admin" else (mine.logins[0], mine.database)
    try:
        for statement in (
            "ALTER ROLE {0} SET",
            "ALTER DATABASE {1} SET",
            "ALTER ROLE {0} IN DATABASE {1} SET",
        ):
            setting = SQL(statement).format(Identifier(role), Identifier(database))
            world.sql(setting + SQL(" search_path = public, pg_catalog"))
        world.provision(desired(mine, "one", connection_limit=3))
        assert read_schema(world.server, Login(mine.logins[0], "one"), mine).revision is None
    finally:
        world.sql(SQL("ALTER ROLE {} RESET ALL").format(Identifier(ADMIN)))
        world.sql(SQL("ALTER ROLE {} IN DATABASE postgres RESET ALL").format(Identifier(ADMIN)))
        world.sql("ALTER DATABASE postgres RESET ALL")


def test_sessions_that_only_look_cannot_write(one_world: World) -> None:
    with one_world.sessions() as sessions, pytest.raises(Failure, match="read-only transaction"):
        sessions.session().rows(SQL("CREATE ROLE written"), doing="write")


def test_a_pooler_that_drops_the_settings_is_refused(one_world: World) -> None:
    with (
        Proxy(one_world.running.port, rewrite=without_options) as pooler,
        pytest.raises(Invalid, match="A connection pooler is in between: name the server itself") as caught,
        one_world.sessions(server=replace(one_world.server, port=pooler.port)) as sessions,
    ):
        provision(sessions, desired(tenant()))
    assert caught.value.reason is Reason.SESSION_SETTINGS_DROPPED


def test_settings_of_a_tenant_that_are_too_many_to_look_at_are_taken_away(edge_world: World) -> None:
    world, mine = edge_world, tenant()
    world.provision(desired(mine, "one"))
    before = world.state(mine)
    with world.connected(mine.logins[0], "one", mine.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE NONE")
        incompressible = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100000) AS i"
        cursor.execute(
            f"DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET application_name = %L', "
            f"session_user, current_database(), ({incompressible})); END $$"
        )
    with world.sessions() as sessions:
        provision(sessions, desired(mine, "one"))
    assert world.state(mine) == before


def without_options(data: bytes) -> bytes:
    """A start-up packet (length, protocol, names and values that end with NUL) without its ``options``."""
    if data[4:8] != struct.pack("!i", 196608) or b"options\0" not in data:
        return data
    before, _, rest = data.partition(b"options\0")
    kept = before + rest.partition(b"\0")[2]
    return struct.pack("!i", len(kept)) + kept[4:]
