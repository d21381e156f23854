"""A database of the server's own: made, migrated, rotated, out of reach for a while, and never anybody else's."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from dev.database import ClusterPostgres
from dev.deploy import load_images
from dev.development_cluster import DevelopmentCluster
from dev.images import build_images
from dev.images.recipes import mlflow_recipe
from dev.object_store import ClusterObjectStore
from tests.e2e.conftest import RESTRICTED
from tests.e2e.external_bucket import external_bucket
from tests.e2e.mlflow import (
    SECONDS_TO_READY,
    age_of,
    assert_no_container_failed,
    assert_says_nothing_of,
    clients,
    forwarded,
    pods_of,
    staying_ready,
    uids,
    wait_until_ready,
)
from tests.kube_api import KubeApi
from tests.mlflow_versions import HEADS, NEWEST_VERSION, VERSION_BEFORE
from tests.operator_fixtures import Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.kube.objects import JOB, SECRET
from tracking_operator.resources.database_secret import credentials_in

pytest_plugins = ["tests.cluster_object_store", "tests.cluster_postgres"]

OLD, NEW = VERSION_BEFORE, NEWEST_VERSION

SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}

SECONDS_TO_NOTICE = 10.0
SECONDS_OF_OUTAGE = 60.0
SECONDS_TO_ROTATE = 300.0
SECONDS_TO_ROLL = 400.0
"""For a migration and two pods, one after the other, beside clients that ask all the time."""

TRY_TO_OPEN = """
import psycopg2, sys
try:
    psycopg2.connect(service="mlflow", dbname=sys.argv[1]).close()
    print("open")
except psycopg2.OperationalError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def class_name(
    api: KubeApi, cluster: DevelopmentCluster, deployed: None, cluster_postgres: ClusterPostgres
) -> Iterator[str]:
    """A class with a PostgreSQL and two releases of MLflow."""
    load_images(cluster, build_images([mlflow_recipe(OLD)]))
    versions = [
        {"version": version, "image": f"tracking-operator/mlflow:{version}"} for version in (OLD, NEW)
    ]
    spec = {"postgres": cluster_postgres.class_spec(), "mlflow": {"versions": versions}}
    with a_class(api, spec) as name:
        yield name


@pytest.fixture(scope="module")
def team(api: KubeApi, class_name: str, cluster_object_store: ClusterObjectStore) -> Iterator[Team]:
    """A team with two Ready pods of the older release."""
    with a_team(api, **RESTRICTED) as team:
        team.apply(
            {
                "className": class_name,
                "version": OLD,
                "replicas": 2,
                "artifactStore": external_bucket(team, cluster_object_store),
                "resources": SMALL,
            }
        )
        wait_until_ready(team)
        yield team


def test_an_upgrade_migrates_first_and_interrupts_nobody(team: Team, cluster: DevelopmentCluster) -> None:
    assert team.server()["status"]["schemaRevision"] == HEADS[OLD]
    before = uids(team)
    with forwarded(cluster, team) as tracking:
        run = tracking.call("POST", "/runs/create", {"experiment_id": "0", "run_name": "old"})["run"]

    with clients(team, cluster) as seen, staying_ready(team):
        team.patch_server({"spec": {"version": NEW}})
        wait_until_ready(team, seconds=SECONDS_TO_ROLL)
        wait_until(lambda: not before & uids(team), SECONDS_TO_READY, "the old pods are gone")

    assert seen["failures"] == []
    assert seen["answers"] > 50, seen
    status = team.server()["status"]
    assert (status["version"], status["schemaRevision"]) == (NEW, HEADS[NEW])
    assert_no_container_failed(team)
    assert migrated_before_its_pods_started(team, NEW)
    with forwarded(cluster, team) as tracking:
        assert run["info"]["run_id"] in tracking.run_ids()


def test_credentials_rotate_under_load_without_a_failed_request(
    team: Team, cluster: DevelopmentCluster, cluster_postgres: ClusterPostgres
) -> None:
    wait_until_ready(team)
    before, old = uids(team), login_in_use(team)
    old_password = password(team)

    with clients(team, cluster) as seen:
        metadata = {"annotations": {"tracking-operator.dev/rotate-credentials": uuid4().hex}}
        team.patch_server({"metadata": metadata})
        team.wait_for_condition("BackendStoreReady", status="True", reason="RotatingCredentials")
        team.wait_for_condition(
            "BackendStoreReady", status="True", reason="AsExpected", seconds=SECONDS_TO_ROTATE
        )

    assert seen["failures"] == []
    assert seen["answers"] >= 500, seen
    assert uids(team) == before
    assert_no_container_failed(team)
    new = login_in_use(team)
    assert new != old
    assert logins_that_work(cluster_postgres, old, new) == {new}
    assert sessions(cluster_postgres, old) == 0
    assert sessions(cluster_postgres, new) > 0
    for known in (old_password, password(team)):
        assert_says_nothing_of(known, team)


def test_an_outage_of_a_minute_is_reported_and_restarts_nobody(
    team: Team, cluster: DevelopmentCluster, cluster_postgres: ClusterPostgres
) -> None:
    wait_until_ready(team)
    before = uids(team)

    with stopped(cluster_postgres):
        failed = team.wait_for_condition(
            "BackendStoreReady", status="False", reason="StoreUnreachable", seconds=SECONDS_TO_NOTICE
        )
        assert "did not" in failed["message"]
        wait_until(
            lambda: age_of(team, "BackendStoreReady") >= SECONDS_OF_OUTAGE, 2 * SECONDS_OF_OUTAGE, "a minute"
        )
        assert uids(team) == before

    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_NOTICE)
    wait_until_ready(team, seconds=SECONDS_TO_NOTICE)
    assert uids(team) == before
    assert_no_container_failed(team)
    with forwarded(cluster, team) as tracking:
        wait_until(
            lambda: tracking.answer("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0").status == 200,
            SECONDS_TO_NOTICE,
            "MLflow answers again",
        )


@pytest.mark.campaign
def test_five_replicas_start_on_an_empty_database_without_a_failed_container(
    api: KubeApi, class_name: str, cluster_object_store: ClusterObjectStore
) -> None:
    with a_team(api, **RESTRICTED) as team:
        team.apply(
            {
                "className": class_name,
                "replicas": 5,
                "backendStore": {"postgres": {"connectionLimit": 60}},
                "artifactStore": external_bucket(team, cluster_object_store),
                "resources": SMALL,
            }
        )
        wait_until_ready(team, seconds=SECONDS_TO_ROLL)

        assert len(uids(team)) == 5
        assert_no_container_failed(team)
        assert migrated_before_its_pods_started(team, NEW)


def test_a_team_opens_its_own_database_and_no_other(
    team: Team, api: KubeApi, class_name: str, cluster: DevelopmentCluster
) -> None:
    with a_team(api, **RESTRICTED) as other:
        other.apply({"className": class_name})
        wait_until_ready(other)
        wait_until_ready(team)
        own, foreign = database(team), database(other)

        assert tried(cluster, team, own) == "open"
        assert tried(cluster, other, foreign) == "open"
        for who, what in ((team, foreign), (other, own), (team, "postgres"), (other, "postgres")):
            assert "permission denied for database" in tried(cluster, who, what)


def test_a_deleted_server_leaves_nothing_in_postgres_if_it_says_so(
    api: KubeApi, class_name: str, cluster_postgres: ClusterPostgres
) -> None:
    with a_team(api, **RESTRICTED) as team:
        team.apply({"className": class_name, "deletionPolicy": "Delete"})
        wait_until_ready(team)
        name = database(team)

        team.delete_server()
        wait_until(lambda: not traces(cluster_postgres, name), 60, "neither database nor roles are left")


@contextmanager
def stopped(postgres: ClusterPostgres) -> Iterator[None]:
    """Nobody answers at the class's address until the end of the block."""
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


def migrated_before_its_pods_started(team: Team, version: str) -> bool:
    """Whether the Job of this version succeeded at its first attempt, before any pod that serves was made."""
    job = team.get(JOB, f"mlflow-migrate-{version.replace('.', '-')}")
    made = [pod["metadata"]["creationTimestamp"] for pod in pods_of(team)]
    counts = job["status"].get("succeeded", 0), job["status"].get("failed", 0)
    return counts == (1, 0) and all(job["status"]["completionTime"] <= moment for moment in made)


def login_in_use(team: Team) -> str:
    return str(team.server()["status"]["database"]["loginRole"])


def database(team: Team) -> str:
    return str(team.server()["status"]["database"]["name"])


def password(team: Team) -> str:
    credentials = credentials_in(team.get(SECRET, "mlflow-database"))
    assert credentials is not None
    return credentials.password


def logins_that_work(postgres: ClusterPostgres, *roles: str) -> set[str]:
    rows = postgres.query("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname = ANY(%s)", list(roles))
    return {str(role) for (role,) in rows}


def sessions(postgres: ClusterPostgres, role: str) -> int:
    ((count,),) = postgres.query("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", role)
    assert isinstance(count, int)
    return count


def traces(postgres: ClusterPostgres, name: str) -> list[tuple[object, ...]]:
    """What PostgreSQL still has of a server's database."""
    return postgres.query(
        "SELECT datname FROM pg_database WHERE datname = %s UNION SELECT rolname FROM pg_roles WHERE rolname LIKE %s",
        name,
        name + "%",
    )


def tried(cluster: DevelopmentCluster, team: Team, name: str) -> str:
    """What PostgreSQL says when a pod of the team's server opens a database with the credentials that it has."""
    pod = pods_of(team)[0]["metadata"]["name"]
    command = ("exec", pod, "--namespace", team.namespace, "--container", "mlflow", "--")
    return cluster.kubectl(*command, "python", "-c", TRY_TO_OPEN, name).strip()
