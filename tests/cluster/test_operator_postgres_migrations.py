"""A schema is brought up to a version by one Job before any pod of that version: here pods are only said to have run."""

from collections.abc import Callable, Iterator

import pytest

from tests.kube_api import KubeApi
from tests.mlflow_versions import HEADS, NEWEST_MIGRATION, NEWEST_VERSION, VERSION_BEFORE
from tests.operator_fixtures import RunningOperator
from tests.operator_postgres import PostgresTeam, RealPostgres, a_postgres_class, a_postgres_team
from tests.waiting import wait_until
from tracking_operator.kube.objects import DEPLOYMENT, JOB, KubeObject, name_of

OLD, NEW = VERSION_BEFORE, NEWEST_VERSION
OLD_REVISION, NEW_REVISION = HEADS[OLD], HEADS[NEW]
TWO_VERSIONS: KubeObject = {
    "mlflow": {
        "versions": [
            {"version": version, "image": f"registry.invalid/mlflow:{version}"} for version in (OLD, NEW)
        ],
        "defaultVersion": OLD,
    }
}
TERMINAL, PASSING = 28, 20


@pytest.fixture
def team(api: KubeApi, postgres: RealPostgres, operator: RunningOperator) -> Iterator[PostgresTeam]:
    """A team whose class offers two versions of MLflow, with a server of the older one."""
    with a_postgres_class(api, postgres, spec=TWO_VERSIONS) as class_, a_postgres_team(api, class_) as team:
        team.serve()
        team.migrate(revision=OLD_REVISION, version=OLD)
        team.wait_for(DEPLOYMENT, "mlflow")
        team.wait_for_condition("SchemaReady", status="True")
        yield team


def test_pods_of_a_new_version_come_after_its_migration(team: PostgresTeam) -> None:
    before = team.get(DEPLOYMENT)["spec"]["template"]

    team.patch_server({"spec": {"version": NEW}})
    pod = team.migration_pod(version=NEW)

    condition = team.wait_for_condition("SchemaReady", status="False")
    assert OLD_REVISION in condition["message"] or condition["reason"] == "Unschedulable"
    assert team.get(DEPLOYMENT)["spec"]["template"] == before
    assert team.server()["status"]["version"] == OLD
    team.set_revision(NEW_REVISION)
    team.end_migration(pod, revision=NEW_REVISION)
    team.wait_until_so(DEPLOYMENT, "mlflow", is_of(NEW), "the Deployment is of the new version", 10)
    condition = team.wait_for_condition("SchemaReady", status="True")
    assert NEW_REVISION in condition["message"]
    status = team.server()["status"]
    assert (status["version"], status["schemaRevision"]) == (NEW, NEW_REVISION)


def test_a_migration_that_only_a_person_can_help_stops_and_leaves_what_runs_alone(team: PostgresTeam) -> None:
    before = team.untouched()
    team.patch_server({"spec": {"version": NEW}})
    pod = team.migration_pod(version=NEW)

    team.end_migration(pod, TERMINAL, "MigrationFailed", "Two heads: a1 and b2.")

    wait_until(
        lambda: f"delete Job {NEWEST_MIGRATION}" in str(team.condition("SchemaReady")),
        10,
        lambda: f"the condition says what to do: {team.condition('SchemaReady')}",
    )
    condition = team.wait_for_condition("SchemaReady", status="False", reason="MigrationFailed")
    assert "Two heads: a1 and b2." in condition["message"]
    assert team.untouched() == before
    assert team.condition("Stalled") is not None
    team.wait_for_warnings("MigrationFailed")

    team.api.delete(JOB, team.namespace, NEWEST_MIGRATION)
    team.migrate(revision=NEW_REVISION, version=NEW)
    team.wait_for_condition("SchemaReady", status="True")


def test_a_migration_that_did_not_reach_the_database_is_tried_again(team: PostgresTeam) -> None:
    team.patch_server({"spec": {"version": NEW}})
    first = team.migration_pod(version=NEW)

    team.end_migration(first, PASSING, "StoreUnreachable", "PostgreSQL did not answer.")

    condition = team.wait_for_condition("BackendStoreReady", reason="StoreUnreachable")
    assert "PostgreSQL did not answer." in condition["message"]
    second = team.migration_pod(version=NEW, but=[name_of(first)])
    team.set_revision(NEW_REVISION)
    team.end_migration(second, revision=NEW_REVISION)
    team.wait_for_condition("SchemaReady", status="True")


def test_setting_the_version_back_deletes_the_unfinished_job(team: PostgresTeam) -> None:
    before = team.untouched()
    team.patch_server({"spec": {"version": NEW}})
    team.migration_pod(version=NEW)

    team.patch_server({"spec": {"version": OLD}})

    team.wait_until_gone(JOB, NEWEST_MIGRATION, 10)
    team.wait_for_condition("SchemaReady", status="True")
    assert team.untouched() == before


def test_a_downgrade_is_refused_and_nothing_is_touched(team: PostgresTeam) -> None:
    team.patch_server({"spec": {"version": NEW}})
    team.migrate(revision=NEW_REVISION, version=NEW)
    team.wait_until_so(DEPLOYMENT, "mlflow", is_of(NEW), "the Deployment is of the new version")
    wait_until(lambda: team.server()["status"]["version"] == NEW, 10, "the version is recorded")
    before = team.untouched()

    team.patch_server({"spec": {"version": OLD}})

    team.wait_for_condition("SpecValid", status="False", reason="DowngradeRefused")
    assert team.untouched() == before


def test_a_suspended_server_needs_no_migration_until_it_wakes_up(team: PostgresTeam) -> None:
    team.patch_server({"spec": {"version": NEW, "suspend": True}})
    team.wait_for_condition("Ready", reason="Suspended")
    assert team.job(version=NEW) is None

    team.patch_server({"spec": {"suspend": False}})

    team.migration_pod(version=NEW)
    assert team.get(DEPLOYMENT)["spec"]["replicas"] == 0
    team.migrate(revision=NEW_REVISION, version=NEW)
    team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["spec"]["replicas"] == 1, "it is awake")


def is_of(version: str) -> Callable[[KubeObject], bool]:
    """Whether a Deployment's pods are of a version of MLflow."""
    image = f"registry.invalid/mlflow:{version}"
    return lambda live: live["spec"]["template"]["spec"]["containers"][0]["image"] == image
