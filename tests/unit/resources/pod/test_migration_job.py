"""The Job that migrates a schema: what it may touch, and when Kubernetes gives it up."""

from dataclasses import replace

import pytest

from tests.unit.examples import EXTERNAL_DATABASE, Manifest, model, postgres_class, program_and_arguments
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.resources.labels import pod_selector
from tracking_operator.resources.pod.migration_job import (
    MIGRATE_CONTAINER,
    build_migration_job,
)
from tracking_operator.resources.pod.server_pod import build_pod_template
from tracking_operator.resources.server_model import ServerModel


def postgres_model(spec: Manifest | None = None) -> ServerModel:
    return model(spec, postgres_class())


def job(spec: Manifest | None = None) -> Manifest:
    return build_migration_job(postgres_model(spec))


def test_is_called_after_the_version() -> None:
    assert job()["metadata"]["name"] == "mlflow-migrate-3-18-0"


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        ({}, True),
        ({"backendStore": {"postgres": {}}}, True),
        ({"backendStore": {"sqlite": {}}}, False),
        ({"backendStore": EXTERNAL_DATABASE}, True),
    ],
)
def test_is_needed_for_everything_but_sqlite_which_the_init_container_migrates(
    spec: Manifest, needed: bool
) -> None:
    assert postgres_model(spec).needs_migration_job is needed


def test_its_pods_get_no_request_of_a_client() -> None:
    labels = job()["spec"]["template"]["metadata"]["labels"]
    assert not pod_selector("mlflow").items() <= labels.items()


def test_runs_the_image_of_the_pods_that_wait_for_it() -> None:
    server = postgres_model()
    (waiting,) = build_pod_template(server)["spec"]["containers"]
    (migrating,) = build_migration_job(server)["spec"]["template"]["spec"]["containers"]
    assert migrating["image"] == waiting["image"]


def test_goes_where_the_pods_of_the_server_go() -> None:
    where = {"nodeSelector": {"pool": "ml"}, "imagePullSecrets": [{"name": "registry"}]}
    pod = job({"podTemplate": where})["spec"]["template"]["spec"]
    assert pod.items() >= where.items()


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({}, ["postgres", "/etc/mlflow/backend-store/pg_service.conf"]),
        ({"backendStore": EXTERNAL_DATABASE}, ["external", "/etc/mlflow/backend-store/uri"]),
    ],
)
def test_migrates_the_database_that_the_pods_check(spec: Manifest, place: list[str]) -> None:
    server = postgres_model(spec)
    (checking,) = build_pod_template(server)["spec"]["initContainers"]
    (migrating,) = build_migration_job(server)["spec"]["template"]["spec"]["containers"]
    arguments = [*place, "--version=3.18.0"]
    assert program_and_arguments(migrating) == ["migrate-backend-store", *arguments]
    assert program_and_arguments(checking) == ["check-backend-store", *arguments]


def test_is_another_one_when_the_secret_of_an_external_database_changes() -> None:
    server = postgres_model({"backendStore": EXTERNAL_DATABASE})
    before, after = (
        build_migration_job(replace(server, credentials_digest=digest)) for digest in ("old", "new")
    )
    assert before != after


def test_sees_the_database_but_not_the_artifacts() -> None:
    pod = job({"artifactStore": {"volume": {}}})["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    secrets = {"/etc/mlflow/backend-store", "/etc/mlflow/encryption"}
    assert mounted == {"/opt/tracking-operator", "/tmp", *secrets}  # noqa: S108
    assert not [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]


def test_is_not_cancelled_by_the_time_outs_of_its_role() -> None:
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    (options,) = [one["value"] for one in container["env"] if one["name"] == "PGOPTIONS"]
    for timeout in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert f"-c {timeout}=0" in options


def test_only_the_migration_is_without_time_outs() -> None:
    pod = build_pod_template(postgres_model())["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert "PGOPTIONS" not in {one["name"] for one in container["env"]}


def test_tries_again_what_passes_and_gives_up_what_a_person_must_look_at() -> None:
    # https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy: rules count in their order.
    spec = job()["spec"]
    disruption, failure = spec["podFailurePolicy"]["rules"]
    assert disruption["action"] == "Ignore"
    assert failure["action"] == "FailJob"
    assert failure["onExitCodes"]["containerName"] == MIGRATE_CONTAINER
    given_up = {reason for reason, code in EXIT_CODES.items() if code in failure["onExitCodes"]["values"]}
    assert given_up >= {"SchemaTooNew", "ImageVersionMismatch", "UnsupportedUri", "MigrationFailed"}
    assert given_up.isdisjoint({"StoreUnreachable", "LoginRefused", "Busy", "DiskFull", "TlsFailed"})


def test_has_what_kubernetes_demands_of_a_job_with_a_failure_policy() -> None:
    spec = job()["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"


def test_two_pods_of_it_never_run_beside_each_other() -> None:
    # With "Failed" a successor waits until the pod before it has ended, not only until it was told to end.
    spec = job()["spec"]
    assert spec.get("parallelism", 1) == 1
    assert spec["podReplacementPolicy"] == "Failed"


@pytest.mark.parametrize("fields", [{"replicas": 1}, {"suspend": True}, {"deletionPolicy": "Delete"}])
def test_stays_as_it_is_when_nothing_that_it_needs_changes(fields: Manifest) -> None:
    # A Job's template is immutable.
    assert job(fields) == job()
