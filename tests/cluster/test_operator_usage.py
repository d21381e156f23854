"""What servers hold is measured by a running operator: in the status, in the metrics, and without any other write."""

import json
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from dev.loopback import free_port
from tests.kube_api import KubeApi
from tests.operator_fixtures import OperatorCalls, OperatorHost
from tests.operator_object_store import RealObjectStore, S3Team, an_s3_class, an_s3_team
from tests.operator_postgres import PostgresTeam, RealPostgres, a_postgres_class, a_postgres_team
from tests.operator_stores import StoreTeam
from tests.waiting import patient, wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import KubeObject, KubeObjects

pytest_plugins = ["tests.operator_object_store"]

RESYNC_SECONDS = 1
SECONDS_BETWEEN = 3
SECONDS_TO_NOTICE = 30.0
TIMINGS = {
    "between_measurements": SECONDS_BETWEEN,
    "until_the_first_measurement": 0,
    "between_looks_at_a_measurement": 0.2,
}
MLFLOW_TABLES = """
CREATE TABLE runs (run_uuid varchar(32) PRIMARY KEY, start_time bigint, end_time bigint);
CREATE TABLE registered_models (name varchar(256) PRIMARY KEY, last_updated_time bigint);
INSERT INTO runs VALUES ('a', 1767225600000, NULL), ('b', NULL, NULL);
"""


@pytest.fixture(scope="module")
def metrics(operators: OperatorHost) -> Iterator[str]:
    """The address of the metrics of an operator that measures every few seconds."""
    operators.make_room()
    port = free_port()
    operators.start(resync=RESYNC_SECONDS, metrics_port=port, timings=json.dumps(TIMINGS)).wait_until_active()
    yield f"http://127.0.0.1:{port}/metrics"
    operators.make_room()


def usage(team: StoreTeam) -> KubeObject:
    found: KubeObject = team.get(TRACKING_SERVER, "mlflow")["status"].get("usage") or {}
    return found


def series(metrics: str, team: StoreTeam) -> dict[str, float]:
    """The numbers of what a server holds, by the names of their metrics."""
    with urlopen(metrics, timeout=patient(10)) as answer:  # noqa: S310 — our own URL
        lines = answer.read().decode().splitlines()
    labels = f'{{namespace="{team.namespace}",name="mlflow"}} '
    found = (line.split(labels) for line in lines if labels in line)
    return {name.removeprefix("tracking_operator_server_"): float(value) for name, value in found}


def events_of(team: StoreTeam) -> KubeObjects:
    return team.api.events(team.get(TRACKING_SERVER, "mlflow"))


def wait_for(team: StoreTeam, **wanted: object) -> KubeObject:
    """What was measured, once it says this."""

    def measured() -> KubeObject | None:
        found = usage(team)
        return found if wanted.items() <= found.items() else None

    return wait_until(measured, SECONDS_TO_NOTICE, lambda: f"{wanted}; it is {usage(team)}")


@pytest.fixture(scope="module")
def team(api: KubeApi, metrics: str, postgres: RealPostgres) -> Iterator[PostgresTeam]:
    """A team whose server's database has two runs and no model, in a class that allows a mebibyte."""
    limit = {"limits": {"maxDatabaseSize": "1Mi"}}
    with a_postgres_class(api, postgres, spec=limit) as class_, a_postgres_team(api, class_) as team:
        team.served()
        with team.connected() as connection, connection.cursor() as cursor:
            cursor.execute(MLFLOW_TABLES)
        yield team


def test_a_database_is_in_the_status_and_in_the_metrics(team: PostgresTeam, metrics: str) -> None:
    found = wait_for(team, runs=2, models=0, lastActivity="2026-01-01T00:00:00Z")
    ((true,),) = team.postgres.sql("SELECT pg_database_size(%s)", team.database())
    assert found["databaseBytes"] == pytest.approx(true, rel=0.01)
    told = series(metrics, team)
    assert told["database_bytes"] == pytest.approx(true, rel=0.01)
    assert (told["runs"], told["models"]) == (2, 0)
    assert told["last_activity_timestamp_seconds"] == 1767225600
    with team.connected() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO registered_models VALUES ('m', 1767225601000)")
    wait_for(team, models=1, lastActivity="2026-01-01T00:00:01Z")


def test_more_than_the_class_allows_is_said_by_the_condition_and_an_event(team: PostgresTeam) -> None:
    wait_for(team, runs=2)
    condition = team.wait_for_condition("BackendStoreReady", status="True", reason="UsageAboveLimit")
    assert "limits.maxDatabaseSize" in condition["message"]
    wait_until(
        lambda: "UsageAboveLimit" in {event["reason"] for event in events_of(team)},
        SECONDS_TO_NOTICE,
        "an Event says it",
    )


def test_a_measurement_writes_the_status_once_and_nothing_else(
    team: PostgresTeam, calls: OperatorCalls
) -> None:
    first = wait_for(team, runs=2)["measuredAt"]
    calls.mark()
    measured: set[str] = set()

    def have_three_passed() -> bool:
        measured.add(usage(team)["measuredAt"])
        return len(measured - {first}) >= 3

    wait_until(have_three_passed, SECONDS_TO_NOTICE, "three more measurements are in the status")
    writes = calls.writes(team.namespace)
    assert {(call.resource, call.verb) for call in writes} == {("trackingservers", "patch")}
    assert len(writes) <= len(measured) + 1, writes


def test_a_prefix_is_in_the_status_and_in_the_metrics(
    api: KubeApi, metrics: str, object_store: RealObjectStore
) -> None:
    with an_s3_class(api, object_store) as class_, an_s3_team(api, class_) as team:
        assert isinstance(team, S3Team)
        team.served()
        object_store.put(team.bucket, f"{team.prefix()}/a", f"{team.prefix()}/models/b", body=b"x" * 1000)
        found = wait_for(team, artifactBytes=2000, artifactObjects=2)
        assert "artifactsIncomplete" not in found
        assert series(metrics, team)["artifact_bytes"] == 2000
