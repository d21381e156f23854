"""The matrix's attempts on databases, made against two provisioned tenants: each is refused, for its own reason."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.postgres.world import HOST, World, desired, tenant
from tracking_operator.isolation.attempts import Row
from tracking_operator.isolation.in_pod import databases
from tracking_operator.isolation.in_pod.__main__ import seen_of
from tracking_operator.isolation.in_pod.scene import Scene, Side
from tracking_operator.stores.postgres.tenant import Tenant

OPEN_HERE = {"databases/maintenance", "databases/templates"}
"""This server's `postgres` and `template1` are as initdb leaves them: PUBLIC may connect."""


@pytest.fixture
def scene(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """The attacker's credentials are in a service file; the other team has a session."""
    own, other = (tenant(f"mlflow_{team.replace('-', '_')}", namespace=team) for team in ("team-a", "team-b"))
    for one in (own, other):
        world.provision(desired(one, one.logins[0], connection_limit=5))
    file = tmp_path / "pg_service.conf"
    file.write_text(
        f"[mlflow]\nhost={HOST}\nport={world.running.port}\ndbname={own.database}\nuser={own.logins[0]}\n"
        f"password={own.logins[0]}\nsslmode=disable\n"
    )
    monkeypatch.setitem(os.environ, "PGSERVICEFILE", str(file))
    with world.connected(other.logins[0], other.logins[0], other.database):
        yield Scene(side(own), side(other))


def side(of: Tenant) -> Side:
    return Side(of.mark.namespace, "mlflow", of.database, of.role, of.logins[0])


def rows(scene: Scene) -> Iterator[Row]:
    for attempt, act in databases.BOOK.acts.values():
        yield Row(attempt, seen_of(attempt, act, scene))


def test_every_attempt_on_a_database_ends_as_the_matrix_expects(scene: Scene) -> None:
    wrong = {row.attempt.id: row.seen for row in rows(scene) if not row.is_as_expected}
    assert {name: seen for name, seen in wrong.items() if name not in OPEN_HERE} == {}


def test_a_database_that_is_open_is_seen(world: World, scene: Scene) -> None:
    world.sql(f"GRANT CONNECT ON DATABASE {scene.other.database} TO PUBLIC")
    world.sql(f"GRANT {scene.other.role} TO {scene.own.login}")
    found = {row.attempt.id for row in rows(scene) if not row.is_as_expected}
    assert {"databases/connect", "databases/set-role"} <= found
