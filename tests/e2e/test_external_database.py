"""A database of somebody else's: what is wrong with it is said, and with several pods nothing is ever interrupted."""

from collections.abc import Iterator
from http import HTTPStatus
from secrets import token_hex

import pytest

from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore
from tests.e2e.conftest import RESTRICTED
from tests.e2e.external_bucket import external_bucket
from tests.e2e.mlflow import (
    SECONDS_TO_READY,
    assert_says_nothing_of,
    clients,
    forwarded,
    pods_of,
    uids,
    wait_until_ready,
    wait_until_rolled_out,
)
from tests.kube_api import KubeApi, Refused
from tests.mlflow_versions import HEADS, NEWEST_VERSION
from tests.operator_fixtures import Team, a_class, a_team
from tests.postgres import Postgres, running_postgres
from tests.waiting import wait_until
from tracking_operator.kube.objects import DEPLOYMENT, SECRET, KubeObject, name_of, uid_of

pytest_plugins = ["tests.cluster_object_store"]

PASSWORD = "correct-horse-battery-staple"
WRONG = "not-the-password-of-anybody"


@pytest.fixture(scope="module")
def postgres(cluster: DevelopmentCluster) -> Iterator[Postgres]:
    """A Postgres that pods can reach."""
    with running_postgres(cluster.host_address) as postgres:
        yield postgres


@pytest.fixture(scope="module")
def uri(postgres: Postgres) -> str:
    """The URI of an empty database."""
    return postgres.make_database("mlflow", PASSWORD)


@pytest.fixture(scope="module")
def class_name(api: KubeApi, deployed: None) -> Iterator[str]:
    """A class that lets servers bring an image of their own."""
    with a_class(api, {"permissions": {"customImages": True}}) as name:
        yield name


@pytest.fixture(scope="module")
def team(api: KubeApi, class_name: str, uri: str, cluster_object_store: ClusterObjectStore) -> Iterator[Team]:
    """A team with two Ready pods on a migrated database, whose Secret is watched."""
    with a_team(api, **RESTRICTED) as team:
        make_secret(team, uri)
        team.apply(specification(team, class_name, cluster_object_store) | {"replicas": 2})
        wait_until_ready(team)
        yield team


def test_a_refused_login_is_reported_and_an_empty_database_is_migrated_once_it_is_put_right(
    api: KubeApi, class_name: str, postgres: Postgres, cluster_object_store: ClusterObjectStore
) -> None:
    uri = postgres.make_database(f"troubled_{token_hex(4)}", PASSWORD)
    with a_team(api, **RESTRICTED) as team:
        make_secret(team, uri.replace(PASSWORD, WRONG))
        team.apply(specification(team, class_name, cluster_object_store))
        refused = team.wait_for_condition(
            "BackendStoreReady", status="False", reason="LoginRefused", seconds=SECONDS_TO_READY
        )
        assert "password authentication failed" in refused["message"]
        team.wait_for_warnings("LoginRefused")
        assert [event["reason"] for event in team.warnings()] == ["LoginRefused"]
        assert team.find(DEPLOYMENT) is None

        team.patch(SECRET, {"stringData": {"uri": uri}}, "db")
        wait_until_ready(team)
        assert team.server()["status"]["schemaRevision"] == HEADS[NEWEST_VERSION]
        assert_says_nothing_of(WRONG, team)
        assert_says_nothing_of(PASSWORD, team)


def test_runs_are_kept_in_the_external_database(team: Team, cluster: DevelopmentCluster) -> None:
    with forwarded(cluster, team) as tracking:
        created = tracking.call("POST", "/runs/create", {"experiment_id": "0", "run_name": "a"})
        assert created["run"]["info"]["run_id"] in tracking.run_ids()
    status = team.server()["status"]
    assert status["backendStore"] == {"kind": "external"}
    assert status["replicas"] == 2


def test_a_rolling_update_interrupts_nobody(team: Team, cluster: DevelopmentCluster) -> None:
    wait_until_ready(team)
    before = {pod["metadata"]["uid"] for pod in pods_of(team)}

    with clients(team, cluster) as seen:
        team.patch_server(
            {"spec": {"podTemplate": {"env": [{"name": "AWS_REGION", "value": "eu-central-1"}]}}}
        )
        team.wait_until_so(
            DEPLOYMENT, "mlflow", lambda live: "AWS_REGION" in str(live["spec"]), "the new template"
        )
        wait_until_rolled_out(team)
        wait_until(
            lambda: not before & {pod["metadata"]["uid"] for pod in pods_of(team)},
            60,
            "the old pods are gone",
        )

    assert seen["failures"] == []
    assert seen["answers"] > 50, seen
    wait_until_ready(team)


def test_pods_are_evicted_one_after_the_other_and_scaling_replaces_none(
    team: Team, cluster: DevelopmentCluster
) -> None:
    wait_until_ready(team)
    first, second = pods_of(team)

    with clients(team, cluster) as seen:
        team.api.evict(team.namespace, name_of(first))
        with pytest.raises(Refused, match="disruption budget") as refused:
            team.api.evict(team.namespace, name_of(second))
        assert refused.value.status == HTTPStatus.TOO_MANY_REQUESTS
        team.patch_server({"spec": {"replicas": 3}})
        team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["spec"]["replicas"] == 3, "three pods")
        wait_until_rolled_out(team)
        assert uid_of(second) in uids(team)
        team.patch_server({"spec": {"replicas": 2}})
        wait_until(lambda: len(pods_of(team)) == 2, SECONDS_TO_READY, "two pods")

    assert seen["failures"] == []


def test_an_image_that_cannot_be_pulled_leaves_the_running_pods_alone(
    team: Team, cluster: DevelopmentCluster
) -> None:
    wait_until_ready(team)
    before = {pod["metadata"]["uid"] for pod in pods_of(team)}

    with clients(team, cluster) as seen:
        team.patch_server({"spec": {"image": "registry.invalid/mlflow:none", "version": NEWEST_VERSION}})
        condition = team.wait_for_condition(
            "WorkloadReady", status="False", reason="ImagePullFailed", seconds=60
        )
        assert "registry.invalid/mlflow:none" in condition["message"]
        assert before <= {pod["metadata"]["uid"] for pod in pods_of(team)}
        team.wait_for_condition("Exposed", status="True")
        team.patch_server({"spec": {"image": None, "version": None}})
        wait_until_ready(team)

    assert seen["failures"] == []
    assert before <= {pod["metadata"]["uid"] for pod in pods_of(team)}


def test_a_secret_that_goes_wrong_leaves_the_running_pods_alone(
    team: Team, uri: str, cluster: DevelopmentCluster
) -> None:
    wait_until_ready(team)
    before = {pod["metadata"]["uid"] for pod in pods_of(team)}

    team.patch(SECRET, {"stringData": {"uri": uri.replace(PASSWORD, WRONG)}}, "db")
    team.wait_for_condition(
        "BackendStoreReady", status="False", reason="LoginRefused", seconds=SECONDS_TO_READY
    )
    with forwarded(cluster, team) as tracking:
        assert tracking.answer("GET", "/health").status == 200
    assert before <= {pod["metadata"]["uid"] for pod in pods_of(team)}

    team.patch(SECRET, {"stringData": {"uri": uri}}, "db")
    wait_until_ready(team)
    assert_says_nothing_of(WRONG, team)


def test_the_password_is_nowhere_but_in_its_secret(team: Team) -> None:
    wait_until_ready(team)

    assert_says_nothing_of(PASSWORD, team)


def specification(team: Team, class_name: str, store: ClusterObjectStore) -> KubeObject:
    """A server without volumes of its own."""
    return {
        "className": class_name,
        "backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}},
        "artifactStore": external_bucket(team, store),
    }


def make_secret(team: Team, uri: str) -> None:
    """Make the Secret with the database's URI, such that changes are seen at once."""
    labels = {"tracking-operator.dev/watch": "true"}
    metadata = {"name": "db", "namespace": team.namespace, "labels": labels}
    team.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"uri": uri}})
