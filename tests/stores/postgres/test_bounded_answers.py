"""A tenant's database answers without measure, or without end: the operator neither grows nor waits."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg2.sql import SQL

from tests.stores.postgres.world import HOST, World, desired, tenant
from tests.waiting import patient
from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.failures import Failure, Unavailable
from tracking_operator.stores.postgres.connection import Session
from tracking_operator.stores.postgres.database_server import Login, PostgresServer, Timeouts
from tracking_operator.stores.postgres.schema_revision import read_schema

MIB = 1024 * 1024
MOST_GROWTH = 10 * MIB
HASTY = Timeouts(connect=1.0, statement=4.0)
PATIENT = Timeouts(connect=2.0, statement=20.0)


@contextmanager
def no_growth() -> Iterator[None]:
    """The block's peak of resident memory is at most 10 MiB above what it began with."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    yield
    grown = resident("VmHWM") - before
    assert grown <= MOST_GROWTH, f"{grown / MIB:.1f} MiB more"


def resident(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) * 1024


@pytest.fixture
def login(edge_world: World) -> Login:
    edge_world.provision(desired(tenant(), "one"))
    return Login(tenant().logins[0], "one")


def as_tenant(world: World, *statements: str) -> None:
    with world.connected(tenant().logins[0], "one", tenant().database) as connection:
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)


FLOODS = {
    "a value": "SELECT pg_catalog.repeat(pg_catalog.repeat('x', 1000000), 200)",
    "a gigabyte of rows": "SELECT pg_catalog.generate_series(1, 1000), pg_catalog.repeat('x', 1000000)",
    "rows without end": "SELECT NULL, pg_catalog.generate_series(1, 10000000000)",
    "a gigabyte of notices": "SET LOCAL client_min_messages = notice; SELECT public.flood('NOTICE', 1000)",
    "an error": "SELECT public.flood('EXCEPTION', 1)",
}


@pytest.mark.parametrize("statement", FLOODS.values(), ids=FLOODS.keys())
def test_no_answer_is_held_in_memory(one_world: World, statement: str) -> None:
    flooded(one_world, statement, one_world.server)


def test_no_answer_is_held_in_memory_with_tls_either(one_world: World) -> None:
    tls = replace(one_world.server, ssl_mode=SslMode.VERIFY_FULL, ca_certificates=one_world.ca)
    flooded(one_world, FLOODS["a gigabyte of rows"], tls)


def test_a_list_of_all_servers_may_be_long(one_world: World) -> None:
    with one_world.sessions() as sessions:
        long = SQL("SELECT pg_catalog.repeat('x', 1000), pg_catalog.generate_series(1, 4000)")
        assert len(sessions.session().rows(long, doing="list what there is")) == 4000


def flooded(world: World, statement: str, server: PostgresServer) -> None:
    """A session of ours runs a statement that floods it: the failure comes before the flood is in memory."""
    world.provision(desired(tenant(), "one"))
    as_tenant(world, FLOOD)
    with Session(server, Login(tenant().logins[0], "one"), tenant().database, PATIENT) as session:
        session.rows(SQL("SELECT 1"), doing="warm up")
        with no_growth(), pytest.raises(Unavailable, match="more than 256 KiB") as caught:
            session.rows(SQL(statement), doing="flood")
    assert caught.value.reason is Reason.ANSWER_TOO_LARGE


FLOOD = """
CREATE FUNCTION public.flood(level text, times int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
    IF level = 'EXCEPTION' THEN RAISE EXCEPTION '%', pg_catalog.repeat('e', 20000000); END IF;
    FOR number IN 1..times LOOP RAISE NOTICE '%', pg_catalog.repeat('n', 1000000); END LOOP;
    RETURN 1;
END $$
"""

IN_PLACE_OF_THE_TABLE = {
    "a view": [
        "CREATE VIEW alembic_version AS SELECT repeat('x', 1000000) AS version_num FROM generate_series(1, 600)"
    ],
    "a view that fails": ["CREATE VIEW alembic_version AS SELECT flood('EXCEPTION', 1)::text AS version_num"],
    "another type": ["CREATE TABLE alembic_version (version_num int)"],
    "a domain": ["CREATE DOMAIN word AS text", "CREATE TABLE alembic_version (version_num word)"],
    "no such column": ["CREATE TABLE alembic_version (revision text)"],
    "a rule": [
        "CREATE TABLE alembic_version (version_num text)",
        "CREATE RULE one AS ON INSERT TO alembic_version DO ALSO SELECT flood('NOTICE', 1000)",
    ],
    "a policy": [
        "CREATE TABLE alembic_version (version_num text)",
        "ALTER TABLE alembic_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY one ON alembic_version USING (flood('NOTICE', 1000) = 1)",
    ],
    "an index of an expression": [
        "CREATE TABLE alembic_version (version_num text)",
        "CREATE INDEX ON alembic_version (version_num) WHERE flood2() = 1",
    ],
    "children": [
        "CREATE TABLE alembic_version (version_num text)",
        "CREATE TABLE more () INHERITS (alembic_version)",
    ],
    "partitions": ["CREATE TABLE alembic_version (version_num text) PARTITION BY LIST (version_num)"],
}


@pytest.mark.parametrize("statements", IN_PLACE_OF_THE_TABLE.values(), ids=IN_PLACE_OF_THE_TABLE.keys())
def test_what_is_no_plain_table_is_not_read(edge_world: World, login: Login, statements: list[str]) -> None:
    innocent = "CREATE FUNCTION public.flood2() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'"
    as_tenant(edge_world, FLOOD, innocent, *statements)
    with no_growth(), pytest.raises(Unavailable, match="not the table that MLflow makes") as caught:
        read_schema(edge_world.server, login, tenant())
    assert caught.value.reason is Reason.UNEXPECTED_SCHEMA


def test_a_revision_that_is_far_too_long_is_cut_where_it_is(edge_world: World, login: Login) -> None:
    as_tenant(
        edge_world,
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version SELECT repeat('r', 10000000)",
    )
    with no_growth():
        assert read_schema(edge_world.server, login, tenant()).revision == "r" * 64


def test_what_does_not_print_is_taken_out_of_a_revision(edge_world: World, login: Login) -> None:
    as_tenant(
        edge_world,
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES (E'dc1\\u202E166\\u0007\\n9\\u200B786a5')",
    )
    assert read_schema(edge_world.server, login, tenant()).revision == "dc1166 9786a5"


def test_a_table_that_mlflow_writes_to_can_be_read(edge_world: World, login: Login) -> None:
    as_tenant(edge_world, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    with edge_world.connected(login.username, "one", tenant().database) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO alembic_version VALUES ('new')")
        assert read_schema(edge_world.server, login, tenant()).revision is None
        connection.commit()
    assert read_schema(edge_world.server, login, tenant()).revision == "new"


# Servers that are none


AUTHENTICATION_OK = b"R\0\0\0\x08\0\0\0\0"
READY = b"Z\0\0\0\x05I"
ERROR_OF_A_GIGABYTE = b"E\x3f\xff\xff\xff"


@contextmanager
def raw_server(start: bytes, forever: bytes, seconds_between: float) -> Iterator[PostgresServer]:
    """Says ``start`` once it is spoken to, then ``forever`` again and again, until its client is gone."""
    stopped = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                client.sendall(start)
                while not stopped.is_set():
                    client.sendall(forever)
                    stopped.wait(seconds_between)

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield PostgresServer(HOST, int(listening.getsockname()[1]), ssl_mode=SslMode.DISABLE)
        stopped.set()
    thread.join(5)


@pytest.mark.parametrize("start", [b"", AUTHENTICATION_OK, ERROR_OF_A_GIGABYTE])
def test_a_server_that_drips_is_given_up_in_time(start: bytes) -> None:
    with raw_server(start, b"R", 0.05) as server:
        started = time.monotonic()
        with pytest.raises(Failure), Session(server, Login("x", "x"), "x", HASTY):
            pass
        assert time.monotonic() - started < patient(HASTY.connect + 1)


def test_a_server_that_drips_an_answer_is_given_up_in_time() -> None:
    seconds = Timeouts(connect=1.0, statement=0.5)
    with raw_server(AUTHENTICATION_OK + READY, b"D", 0.05) as server:
        started = time.monotonic()
        with pytest.raises(Failure), Session(server, Login("x", "x"), "x", seconds):
            pass
        assert time.monotonic() - started < patient(4)


@pytest.mark.parametrize("start", [ERROR_OF_A_GIGABYTE, AUTHENTICATION_OK + b"N\x3f\xff\xff\xff"])
def test_a_server_that_floods_before_it_lets_in_is_given_up(start: bytes) -> None:
    with raw_server(start, b"x" * MIB, 0) as server, no_growth(), pytest.raises(Failure) as caught:
        Session(server, Login("x", "x"), "x", HASTY)
    assert caught.value.reason in (Reason.ANSWER_TOO_LARGE, Reason.STORE_UNREACHABLE)
