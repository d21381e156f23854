"""How much a database holds: true to PostgreSQL, and no way for its tenant to run anything, hold anybody up or lie about its size."""

import time
from datetime import UTC, datetime

import pytest

from tests.stores.postgres.world import World, desired, tenant
from tests.waiting import patient
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.usage import RowCounts, count_rows, database_size

NOW = datetime(2026, 6, 1, tzinfo=UTC)
STARTED = datetime(2026, 5, 1, tzinfo=UTC)
CHANGED = datetime(2026, 5, 2, tzinfo=UTC)

TO_MS = "CREATE FUNCTION to_ms(date) RETURNS bigint LANGUAGE sql AS 'SELECT extract(epoch FROM $1)::bigint * 1000'"
TABLES = (
    "CREATE TABLE runs (run_uuid varchar(32) PRIMARY KEY, start_time bigint, end_time bigint)",
    "CREATE TABLE registered_models (name varchar(256) PRIMARY KEY, last_updated_time bigint)",
    "CREATE TABLE trace_info (request_id varchar(50) PRIMARY KEY, timestamp_ms bigint NOT NULL)",
)
"""As much of MLflow's tables as is looked at."""
ROWS = (
    "INSERT INTO runs SELECT n::text, to_ms('2026-05-01'), NULL FROM generate_series(1, 3) AS n",
    "INSERT INTO registered_models VALUES ('m', to_ms('2026-05-02'))",
)
ALL = RowCounts(runs=3, models=1, last_activity=CHANGED)

CANARY = "CREATE FUNCTION canary() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN 1; END $$"
HOSTILE = {
    "a view": ("DROP TABLE runs", "CREATE VIEW runs AS SELECT canary() AS start_time, canary() AS end_time"),
    "a policy": (
        "ALTER TABLE runs ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE runs FORCE ROW LEVEL SECURITY",
        "CREATE POLICY p ON runs USING (canary() > 0)",
    ),
    "a type": ("ALTER TABLE runs ALTER start_time TYPE numeric",),
    "an index of an expression": (
        "CREATE FUNCTION late(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 1::bigint'",
        "CREATE INDEX ON runs (late(start_time))",
        "CREATE OR REPLACE FUNCTION late(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT canary()'",
    ),
    "a partition": (
        "DROP TABLE runs",
        "CREATE TABLE runs (start_time bigint, end_time bigint) PARTITION BY RANGE (start_time)",
    ),
    "no table": ("DROP TABLE runs",),
}


@pytest.fixture
def login(world: World) -> Login:
    world.provision(desired(tenant(), "one"))
    as_tenant(world, CANARY, TO_MS, *TABLES, *ROWS)
    return Login(tenant().logins[0], "one")


def as_tenant(world: World, *statements: str) -> None:
    with world.connected(tenant().logins[0], "one", tenant().database) as connection:
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)


def counted(world: World, login: Login) -> RowCounts:
    return count_rows(world.server, login, tenant(), now=NOW)


def test_the_size_is_that_of_postgresql_itself(world: World, login: Login) -> None:
    as_tenant(world, "CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    with world.sessions() as sessions:
        found = database_size(sessions, tenant())
    ((true,),) = world.sql("SELECT pg_database_size(%s)", tenant().database)
    assert found == pytest.approx(true, rel=0.01)
    assert found > 20_000_000


def test_rows_are_counted_and_the_last_time_counts(world: World, login: Login) -> None:
    assert counted(world, login) == ALL
    as_tenant(world, "INSERT INTO trace_info VALUES ('t', to_ms('2026-05-03'))")
    assert counted(world, login).last_activity == datetime(2026, 5, 3, tzinfo=UTC)


def test_a_time_that_is_to_come_or_no_date_is_no_activity(world: World, login: Login) -> None:
    as_tenant(
        world,
        "INSERT INTO runs VALUES ('a', 9223372036854775807, NULL), ('b', 0, -9223372036854775807)",
        "INSERT INTO runs VALUES ('c', to_ms('2026-06-01') + 1, NULL), ('d', NULL, NULL)",
    )
    assert counted(world, login) == RowCounts(runs=7, models=1, last_activity=CHANGED)


def test_a_database_without_tables_of_mlflow_has_a_size_only(world: World) -> None:
    world.provision(desired(tenant(), "one"))
    assert counted(world, Login(tenant().logins[0], "one")) == RowCounts()


@pytest.mark.parametrize("trick", HOSTILE)
def test_what_is_not_mlflows_table_is_not_read(world: World, login: Login, trick: str) -> None:
    as_tenant(world, *HOSTILE[trick])
    started = time.monotonic()
    assert counted(world, login) == RowCounts(models=1, last_activity=CHANGED)
    assert time.monotonic() - started < patient(2), "nothing of the tenant's has run"


def test_a_table_that_is_locked_holds_nobody_up(world: World, login: Login) -> None:
    with world.connected(login.username, "one", tenant().database) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE registered_models IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        assert counted(world, login) == RowCounts(runs=3, last_activity=STARTED)
        assert time.monotonic() - started < patient(6)


def test_the_admin_stays_out_of_the_database(world: World, login: Login) -> None:
    """What it asks, it asks in the maintenance database, which the tenant cannot write to."""
    asked = []
    with world.sessions(watch=lambda statement: asked.append(statement.as_string(world.super))) as sessions:
        database_size(sessions, tenant())
        assert sessions.session().database == "postgres"
    assert len(asked) == 2, "the search path, and the size"


def test_a_login_that_nobody_gets_in_by_leaves_the_size(world: World, login: Login) -> None:
    world.sql(f"ALTER ROLE {login.username} PASSWORD 'another'")
    assert counted(world, login) == RowCounts()
    with world.sessions() as sessions:
        assert database_size(sessions, tenant()) > 0
