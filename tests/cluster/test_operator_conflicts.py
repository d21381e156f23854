"""Objects of our names that are not ours: never touched, always reported."""

import pytest

from tests.operator_fixtures import OperatorCalls, RunningOperator, Team
from tests.waiting import wait_until
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    KubeObject,
    kind_of,
)

HELM = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "mlflow"}
PODS_OF_HELM = {"app": "mlflow-by-helm"}

FOREIGN: list[KubeObject] = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mlflow", "labels": HELM},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": PODS_OF_HELM},
            "template": {
                "metadata": {"labels": PODS_OF_HELM},
                "spec": {"containers": [{"name": "mlflow", "image": "bitnami/mlflow:2"}]},
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mlflow", "labels": HELM},
        "spec": {"selector": PODS_OF_HELM, "ports": [{"port": 5000}]},
    },
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mlflow", "labels": HELM}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mlflow-client"}, "data": {"a": "b"}},
    {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "mlflow-backend-store"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}},
    },
]

CONDITIONS = {PERSISTENT_VOLUME_CLAIM: "BackendStoreReady"}


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign["kind"])
def test_an_object_of_somebody_else_is_reported_and_never_touched(
    foreign: KubeObject, team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    kind = kind_of(foreign)
    before = create(team, foreign)
    calls.mark()

    team.made({"suspend": True})

    condition = team.wait_for_condition(
        CONDITIONS.get(kind, "WorkloadReady"), status="False", reason="Conflict"
    )
    assert f"{foreign['kind']} {team.namespace}/{before['metadata']['name']}" in condition["message"]
    assert (
        team.wait_for_condition("Ready", status="False", reason="Conflict")["message"] == condition["message"]
    )
    assert team.wait_for_condition("Stalled", status="True")
    team.patch_server({"spec": {"workers": 2}})
    team.settled()
    events = wait_until(team.warnings, 5, "an Event")
    assert [event["reason"] for event in events] == ["Conflict"]
    assert not [
        call
        for call in calls.writes()
        if (call.resource, call.name) == (kind.plural, foreign["metadata"]["name"])
    ]
    after = team.get(kind, foreign["metadata"]["name"])
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert without_status(after) == without_status(before)


def test_what_is_not_in_conflict_is_made_all_the_same(team: Team, operator: RunningOperator) -> None:
    create(team, FOREIGN[3])

    team.made({"suspend": True})

    team.wait_for(DEPLOYMENT, "mlflow")
    team.wait_for(SERVICE, "mlflow")
    team.wait_for(SERVICE_ACCOUNT, "mlflow")


def test_a_conflict_ends_when_the_other_object_goes(team: Team, operator: RunningOperator) -> None:
    create(team, FOREIGN[3])
    team.made({"suspend": True})
    team.wait_for_condition("Ready", reason="Conflict")

    team.api.delete(CONFIG_MAP, team.namespace, "mlflow-client")

    team.wait_for_condition("Ready", reason="Suspended", seconds=20)
    assert "MLFLOW_TRACKING_URI" in team.get(CONFIG_MAP, "mlflow-client")["data"]


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE], ids=str)
def test_an_object_that_somebody_has_taken_over_is_left_to_them(
    kind: Kind, team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})

    team.patch(kind, {"metadata": {"ownerReferences": None}})

    team.wait_for_condition("Ready", status="False", reason="Conflict")
    team.patch(kind, {"metadata": {"labels": {"app.kubernetes.io/name": "theirs"}}})
    team.patch_server({"spec": {"workers": 2}})
    team.settled()
    assert team.get(kind)["metadata"]["labels"]["app.kubernetes.io/name"] == "theirs"


def create(team: Team, obj: KubeObject) -> KubeObject:
    """Make an object in the team's namespace."""
    return team.api.create(obj | {"metadata": obj["metadata"] | {"namespace": team.namespace}})


def without_status(obj: KubeObject) -> KubeObject:
    """What people say about an object; controllers answer in the status and in annotations."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("resourceVersion", "managedFields", "generation", "annotations")
    }
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}
