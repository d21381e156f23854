"""Changes of a specification reach the Deployment, and what is taken out of it disappears."""

import pytest

from dev.development_cluster import DevelopmentCluster
from tests.kube_api import Refused
from tests.operator_fixtures import OperatorCalls, RunningOperator, Team, a_class
from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    REPLICA_SET,
    SERVICE_ACCOUNT,
    KubeObject,
)

OLD = {"version": "3.16.1", "image": "registry.invalid/mlflow:3.16.1"}
NEW = {"version": "3.17.2", "image": "registry.invalid/mlflow:3.17.2"}
NOWHERE = {"podTemplate": {"nodeSelector": {"no-such-node": "true"}}}
"""Pods that are made, and that no node takes."""

SHARED = {
    "artifactStore": {"external": {"uri": "s3://bucket/path"}},
    "backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}},
}

EVERYTHING: KubeObject = {
    "labels": {"cost-center": "42"},
    "annotations": {"example.com/a": "b"},
    "nodeSelector": {"no-such-node": "true"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]
            }
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
    ],
    "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
    "envFrom": [{"configMapRef": {"name": "more", "optional": True}}],
    "imagePullSecrets": [{"name": "registry"}],
}


def test_suspend_and_wake_change_nothing_but_the_number_of_pods(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made(NOWHERE)
    before = team.get(DEPLOYMENT)["spec"]
    assert before["replicas"] == 1
    calls.mark()

    team.patch_server({"spec": {"suspend": True}})
    asleep = team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["spec"]["replicas"] == 0, "asleep")
    assert asleep["spec"] == before | {"replicas": 0}
    team.wait_for_condition("Ready", status="False", reason="Suspended")
    team.patch_server({"spec": {"suspend": None}})
    awake = team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["spec"]["replicas"] == 1, "awake")
    assert awake["spec"] == before

    writes = [call.resource for call in calls.writes(team.namespace) if call.subresource != "status"]
    assert writes == ["deployments", "deployments"]


def test_a_suspended_server_alarms_nobody(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})

    team.wait_for_condition("Ready", status="False", reason="Suspended")
    assert team.condition("Stalled") is None
    assert team.condition("Reconciling") is None
    assert not team.warnings()


def test_no_replicas_are_the_same_as_suspend(team: Team, operator: RunningOperator) -> None:
    team.made({"replicas": 0})

    team.wait_for_condition("Ready", status="False", reason="Suspended")
    assert team.get(DEPLOYMENT)["spec"]["replicas"] == 0


def test_kubectl_scale_reaches_the_deployment(
    cluster: DevelopmentCluster, team: Team, operator: RunningOperator
) -> None:
    database(team)
    team.made(NOWHERE | SHARED)
    team.end_migration(team.migration_pod(), revision="abc")
    team.wait_for(DEPLOYMENT, "mlflow")

    cluster.kubectl("scale", "trackingserver/mlflow", "--replicas=3", "--namespace", team.namespace)

    team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["spec"]["replicas"] == 3, "three replicas")
    scale = team.api.get(TRACKING_SERVER, team.namespace, "mlflow/scale")
    assert scale["spec"]["replicas"] == 3
    assert scale["status"]["selector"] == team.server()["status"]["selector"]


def test_servers_without_volumes_of_their_own_roll_without_a_gap(
    team: Team, operator: RunningOperator
) -> None:
    database(team)
    team.made(NOWHERE | SHARED | {"replicas": 2})
    team.end_migration(team.migration_pod(), revision="abc")

    deployment = team.wait_for(DEPLOYMENT, "mlflow")
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert "PersistentVolumeClaim" not in {kind for kind, _ in team.children()}


def test_more_replicas_than_the_stores_allow_are_refused(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})

    with pytest.raises(Refused) as refusal:
        team.patch_server({"spec": {"replicas": 2}})

    assert "spec.replicas must be 0 or 1" in refusal.value.message


def test_another_version_reaches_image_and_labels_and_leaves_the_volumes(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"mlflow": {"versions": [OLD, NEW]}}) as name:
        team.made(NOWHERE | {"className": name, "version": "3.16.1"})
        claims = claim_uids(team)

        team.patch_server({"spec": {"version": "3.17.2"}})

        def is_new(live: KubeObject) -> bool:
            return bool(live["spec"]["template"]["spec"]["containers"][0]["image"] == NEW["image"])

        deployment = team.wait_until_so(DEPLOYMENT, "mlflow", is_new, "the new image")
        template = deployment["spec"]["template"]
        assert template["metadata"]["labels"]["app.kubernetes.io/version"] == "3.17.2"
        assert {one["image"] for one in template["spec"]["initContainers"]} == {NEW["image"]}
        assert claim_uids(team) == claims


def test_a_pod_template_reaches_the_pods_and_disappears_again(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})
    plain = team.get(DEPLOYMENT)["spec"]["template"]

    team.made({"suspend": True, "podTemplate": EVERYTHING})
    template = team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["template"] != plain, "another template"
    )["spec"]["template"]
    assert template["metadata"]["labels"]["cost-center"] == "42"
    assert template["metadata"]["annotations"] == {"example.com/a": "b"}
    spec = template["spec"]
    for field in ("nodeSelector", "tolerations", "affinity", "imagePullSecrets"):
        assert spec[field] == EVERYTHING[field]
    assert spec["topologySpreadConstraints"][0].items() >= EVERYTHING["topologySpreadConstraints"][0].items()
    (container,) = spec["containers"]
    assert EVERYTHING["env"][0] in container["env"]
    assert container["envFrom"] == EVERYTHING["envFrom"]

    team.made({"suspend": True})
    again = team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["template"] != template, "the first template again"
    )["spec"]["template"]
    assert again == plain


def test_a_variable_that_was_put_right_by_hand_still_goes_with_the_specification(
    team: Team, operator: RunningOperator
) -> None:
    mine = {"suspend": True, "podTemplate": {"env": [{"name": "AWS_REGION", "value": "eu-central-1"}]}}
    team.made(mine)
    added = {
        "op": "add",
        "path": "/spec/template/spec/containers/0/env/-",
        "value": {"name": "X", "value": "1"},
    }
    removed = {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/name", "value": "AWS"}
    team.api.json_patch(DEPLOYMENT, team.namespace, "mlflow", [removed, added])
    team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: "'X'" not in str(live["spec"]), "put right by a patch"
    )

    team.made({"suspend": True})

    team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: "AWS_REGION" not in str(live["spec"]), "the variable is gone"
    )


def test_a_variable_changes_from_a_value_to_a_reference_and_back(
    team: Team, operator: RunningOperator
) -> None:
    reference = {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
    for wanted in ({"name": "A", "value": "1"}, reference, {"name": "A", "value": "1"}):
        team.made({"suspend": True, "podTemplate": {"env": [wanted]}})
        team.wait_until_so(
            DEPLOYMENT,
            "mlflow",
            lambda live, wanted=wanted: variables_of(live)[-1] == wanted,  # type: ignore[misc]
            f"the variable is {wanted}",
        )


def test_variables_keep_their_order_because_they_may_refer_to_each_other(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    one, other = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    for wanted in ([one, other], [other, one]):
        team.made({"suspend": True, "podTemplate": {"env": wanted}})
        team.wait_until_so(
            DEPLOYMENT,
            "mlflow",
            lambda live, wanted=wanted: variables_of(live)[-2:] == wanted,  # type: ignore[misc]
            "the variables in this order",
        )
    calls.mark()
    team.made({"suspend": True}, "later")
    assert not [call for call in calls.writes(team.namespace) if not call.name.startswith("later")]


def test_a_switch_of_stores_and_back_changes_how_pods_are_replaced(
    team: Team, operator: RunningOperator
) -> None:
    database(team)
    accepted = {ALLOW_EMPTY_STORE_ANNOTATION: "true"}
    team.made({"suspend": True})

    team.apply({"suspend": True} | SHARED, annotations=accepted)
    rolling = team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["strategy"]["type"] == "RollingUpdate", "rolling"
    )
    assert "preStop" in str(rolling)
    team.apply({"suspend": True}, annotations=accepted)
    replacing = team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["strategy"] == {"type": "Recreate"}, "replacing"
    )
    assert "preStop" not in str(replacing["spec"])
    assert not team.warnings()


def test_annotations_of_the_service_account_come_and_go(team: Team, operator: RunningOperator) -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}
    with a_class(team.api, {"permissions": {"serviceAccountAnnotations": list(role)}}) as name:
        team.made({"suspend": True, "className": name, "serviceAccount": {"annotations": role}})
        assert role.items() <= team.get(SERVICE_ACCOUNT)["metadata"]["annotations"].items()

        team.made({"suspend": True, "className": name})

        team.wait_until_so(
            SERVICE_ACCOUNT,
            "mlflow",
            lambda live: not role.keys() & live["metadata"]["annotations"].keys(),
            "the annotation is gone",
        )


def test_workers_get_the_memory_that_they_need(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True, "workers": 3})

    (container,) = team.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    assert "--workers=3" in container["args"]
    assert container["resources"]["limits"]["memory"] == "1792Mi"


def test_a_quantity_written_in_another_unit_restarts_no_pod(team: Team, operator: RunningOperator) -> None:
    team.made(NOWHERE | {"resources": {"limits": {"memory": "1Gi", "cpu": "500m"}}})

    team.made(NOWHERE | {"resources": {"limits": {"memory": "1024Mi", "cpu": "0.5"}}})

    team.made({"suspend": True}, "later")
    selector = "tracking-operator.dev/tracking-server=mlflow"
    assert len(team.api.list(REPLICA_SET, team.namespace, selector)) == 1


def database(team: Team) -> None:
    """Make the Secret with a database URI that the servers of this module name."""
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db", "namespace": team.namespace},
            "stringData": {"uri": "postgresql+psycopg2://mlflow:secret@db.invalid/mlflow"},
        }
    )


def variables_of(deployment: KubeObject) -> list[KubeObject]:
    """The environment of the server's container."""
    return list(deployment["spec"]["template"]["spec"]["containers"][0]["env"])


def claim_uids(team: Team) -> set[str]:
    """The identities of the team's volume claims."""
    return {claim["metadata"]["uid"] for claim in team.api.list(PERSISTENT_VOLUME_CLAIM, team.namespace)}


def without_empty_fields(value: object) -> object:
    """The value without fields that say nothing."""
    if isinstance(value, dict):
        return {
            key: without_empty_fields(each) for key, each in value.items() if each not in (None, {}, [], "")
        }
    if isinstance(value, list):
        return [without_empty_fields(each) for each in value]
    return value
