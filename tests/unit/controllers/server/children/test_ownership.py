"""Whose an object is: ours, a stranger's, or somebody's who leaves."""

from dataclasses import replace

import pytest

from tests.unit.controllers.live import claim, live, owned_by, pod
from tests.unit.examples import UID, Manifest, model
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.server.children.ownership import (
    condition_of,
    conflict_result,
    leaving_result,
    owner_check,
    prunable,
)
from tracking_operator.kube.apply import Ownership
from tracking_operator.resources.stores.postgres import PostgresBackend

POSTGRES = PostgresBackend(
    host="pg.db.svc",
    port=5432,
    database="mlflow_team_a",
    secret="mlflow-database",
    ssl_mode=SslMode.REQUIRE,
    has_own_ca=False,
    connection_limit=20,
    most_databases=20,
)
DELETED: Manifest = {"deletionTimestamp": "2026-01-01T10:00:00Z"}


def service(metadata: Manifest) -> Manifest:
    return live("v1", "Service", "mlflow", metadata=metadata)


@pytest.mark.parametrize(
    ("metadata", "ownership"),
    [
        (owned_by(UID), Ownership.OURS),
        (owned_by(UID) | DELETED, Ownership.LEAVING),
        ({}, Ownership.FOREIGN),
        (DELETED, Ownership.FOREIGN),
        ({"labels": {}}, Ownership.FOREIGN),
        (owned_by("the-uid-of-an-earlier-one"), Ownership.LEAVING),
        (owned_by(UID, kind="StatefulSet"), Ownership.OURS),
        (owned_by("another", kind="HelmRelease"), Ownership.FOREIGN),
        (owned_by("another", name="other-server"), Ownership.FOREIGN),
    ],
    ids=[
        "our controller reference",
        "ours, being deleted",
        "our labels alone",
        "a stranger's, being deleted",
        "nothing of ours, as Helm makes it",
        "a server of this name before us",
        "our UID, whatever it says besides",
        "another kind of owner",
        "another server",
    ],
)
def test_an_object_is_ours_by_its_controller_only(metadata: Manifest, ownership: Ownership) -> None:
    assert owner_check(model())(service(metadata)) is ownership


def test_an_owner_that_does_not_control_is_not_enough() -> None:
    metadata = owned_by(UID)
    metadata["ownerReferences"][0]["controller"] = False
    assert owner_check(model())(service(metadata)) is Ownership.FOREIGN


@pytest.mark.parametrize(
    ("labels", "ownership"),
    [
        (
            {
                "app.kubernetes.io/managed-by": "tracking-operator",
                "tracking-operator.dev/tracking-server": "mlflow",
            },
            Ownership.OURS,
        ),
        (
            {
                "app.kubernetes.io/managed-by": "tracking-operator",
                "tracking-operator.dev/tracking-server": "other",
            },
            Ownership.FOREIGN,
        ),
        (
            {"app.kubernetes.io/managed-by": "Helm", "tracking-operator.dev/tracking-server": "mlflow"},
            Ownership.FOREIGN,
        ),
        ({}, Ownership.FOREIGN),
    ],
)
def test_a_volume_claim_is_ours_by_its_labels_so_that_it_outlives_us(
    labels: dict[str, str], ownership: Ownership
) -> None:
    left_behind = claim()
    left_behind["metadata"] = left_behind["metadata"] | {"labels": labels}
    assert owner_check(model())(left_behind) is ownership


def test_a_volume_claim_on_its_way_out_is_waited_for() -> None:
    leaving = claim()
    leaving["metadata"] = leaving["metadata"] | DELETED
    assert owner_check(model())(leaving) is Ownership.LEAVING


def test_only_what_we_control_and_what_holds_no_data_is_pruned() -> None:
    mine = service(owned_by(UID))
    other = live("v1", "ConfigMap", "mlflow-old", metadata=owned_by(UID))
    left = live("v1", "Secret", "mlflow-database", metadata=owned_by(UID))
    stranger = live("v1", "ConfigMap", "settings")
    assert prunable([mine, other, left, stranger, claim(), pod()], model()) == [mine, other, left]


def test_a_database_s_own_secret_and_jobs_that_have_ended_are_not_pruned() -> None:
    secret = live("v1", "Secret", "mlflow-database", metadata=owned_by(UID))
    current = live("batch/v1", "Job", "mlflow-migrate-3-18-0", metadata=owned_by(UID))
    ended = live(
        "batch/v1",
        "Job",
        "mlflow-migrate-3-16-1",
        metadata=owned_by(UID),
        status={"conditions": [{"type": "Failed", "status": "True"}]},
    )
    abandoned = live("batch/v1", "Job", "mlflow-migrate-3-19-0", metadata=owned_by(UID))
    server = replace(model(), backend_store=POSTGRES)
    assert prunable([secret, current, ended, abandoned], server) == [abandoned]


def test_a_conflict_says_what_is_taken_and_what_to_do() -> None:
    condition_result = conflict_result(service({}), model())
    assert (condition_result.type, condition_result.verdict, condition_result.reason) == (
        ConditionType.WORKLOAD_READY,
        Verdict.BLOCKED,
        Reason.CONFLICT,
    )
    assert condition_result.message == (
        "Service team-a/mlflow exists already and does not belong to this server, so it is left alone: "
        "remove or rename it, or give the server another name."
    )


def test_a_predecessor_is_waited_for() -> None:
    condition_result = leaving_result(service(owned_by("earlier")))
    assert condition_result.verdict is Verdict.WORKING
    assert "Service team-a/mlflow" in condition_result.message


def test_each_claim_belongs_to_the_condition_of_its_store() -> None:
    assert condition_of(claim("mlflow-backend-store"), model()) is ConditionType.BACKEND_STORE_READY
    assert condition_of(claim("mlflow-artifact-store"), model()) is ConditionType.ARTIFACT_STORE_READY
    assert condition_of(service({}), model()) is ConditionType.WORKLOAD_READY
