"""One server per PostgreSQL version, started once per process of a run, all at the same time."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg2
import pytest

from dev.loopback import free_port
from dev.postgres import VERSIONS, postgres_server
from tests.certificates import make_certificates
from tests.stores.postgres.world import (
    ADMIN,
    ADMIN_PASSWORD,
    HOST,
    SUPERUSER,
    World,
    desired,
    random_password,
    tenant,
)

OLDEST_AND_NEWEST = f"{VERSIONS[0]} {VERSIONS[-1]}"
WANTED = tuple(os.environ.get("TRACKING_OPERATOR_TEST_POSTGRES", OLDEST_AND_NEWEST).split())
"""Major versions to test with; `make matrix` names them all."""


@pytest.fixture(scope="session")
def worlds() -> Iterator[dict[str, World]]:
    with ExitStack() as stack, ThreadPoolExecutor(len(WANTED)) as threads:
        certificates = make_certificates("localhost", HOST)
        starting = [
            threads.submit(stack.enter_context, world_of(version, certificates)) for version in WANTED
        ]
        yield {version: start.result() for version, start in zip(WANTED, starting, strict=True)}


@contextmanager
def world_of(version: str, certificates: tuple[str, str, str]) -> Iterator[World]:
    ca, certificate, key = certificates
    tls = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}
    files = {"server.crt": certificate, "server.key": key}
    password = random_password()
    with postgres_server(version, free_port(), password, settings=tls, files=files) as running:
        connection = psycopg2.connect(
            host=HOST, port=running.port, user=SUPERUSER, password=password, dbname="postgres"
        )
        connection.autocommit = True
        world = World(running, ca, connection)
        world.sql(f"CREATE ROLE {ADMIN} LOGIN CREATEROLE CREATEDB PASSWORD %s", ADMIN_PASSWORD)
        yield world
        connection.close()


@pytest.fixture(params=WANTED)
def world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> Iterator[World]:
    """A server of each version in turn; what a test makes in it is removed afterwards."""
    yield from tidied(worlds[request.param])


@pytest.fixture
def edge_worlds(worlds: dict[str, World]) -> Iterator[list[World]]:
    """The oldest and the newest server together, for what takes so long that they do it at the same time."""
    with ExitStack() as stack:
        edges = [worlds[version] for version in sorted({WANTED[0], WANTED[-1]})]
        for world in edges:
            stack.enter_context(contextmanager(tidied)(world))
        yield edges


@pytest.fixture(params=sorted({WANTED[0], WANTED[-1]}))
def edge_world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> Iterator[World]:
    """The oldest and the newest server, for what is long and depends on little: roles changed with 16 only."""
    yield from tidied(worlds[request.param])


@pytest.fixture
def one_world(worlds: dict[str, World]) -> Iterator[World]:
    """The newest server, for what does not depend on the version."""
    yield from tidied(worlds[WANTED[-1]])


@pytest.fixture(scope="session")
def finished(worlds: dict[str, World]) -> dict[str, dict[str, object]]:
    """What one undisturbed run leads to, by version."""
    states = {}
    for version, world in worlds.items():
        before = world.names()
        world.provision(desired(tenant()))
        states[version] = world.state(tenant())
        world.remove_new(before)
    return states


def tidied(world: World) -> Iterator[World]:
    before = world.names()
    yield world
    world.remove_new(before)
