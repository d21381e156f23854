"""Drift: whatever somebody does to an object of ours is put right within a second, with one write."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.operator_fixtures import OperatorCalls, RunningOperator, Team
from tests.waiting import patient
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    KubeObject,
)
from tracking_operator.resources.tools_archive import current_archive

SECONDS_TO_REPAIR = 3.0
TEMPLATE = "/spec/template/spec"
CONTAINER = f"{TEMPLATE}/containers/0"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True)
class Drift:
    """Something that somebody does by hand to an object of a server; a JSON patch."""

    what: str
    kind: Kind
    operations: tuple[KubeObject, ...]
    name: str = "mlflow"


def add(path: str, value: object) -> KubeObject:
    return {"op": "add", "path": path, "value": value}


def put(path: str, value: object) -> KubeObject:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> KubeObject:
    return {"op": "remove", "path": path}


BY_HAND = [
    # Changed values
    Drift("another image", DEPLOYMENT, (put(f"{CONTAINER}/image", "nginx"),)),
    Drift("other arguments", DEPLOYMENT, (put(f"{CONTAINER}/args", ["ui"]),)),
    Drift("no command", DEPLOYMENT, (remove(f"{CONTAINER}/command"),)),
    Drift("another number of replicas", DEPLOYMENT, (put("/spec/replicas", 3),)),
    Drift("a paused rollout", DEPLOYMENT, (add("/spec/paused", True),)),
    Drift("another strategy", DEPLOYMENT, (put("/spec/strategy", {"type": "RollingUpdate"}),)),
    Drift("no liveness probe", DEPLOYMENT, (remove(f"{CONTAINER}/livenessProbe"),)),
    Drift("another value of a variable", DEPLOYMENT, (put(f"{CONTAINER}/env/0/value", "true"),)),
    Drift("a writable root", DEPLOYMENT, (put(f"{CONTAINER}/securityContext/readOnlyRootFilesystem", False),)),
    Drift("the host's network", DEPLOYMENT, (add(f"{TEMPLATE}/hostNetwork", True),)),
    Drift("a token in the pod", DEPLOYMENT, (put(f"{TEMPLATE}/automountServiceAccountToken", True),)),
    Drift("another value in the selector", SERVICE, (put("/spec/selector/app.kubernetes.io~1component", "x"),)),
    Drift("another type of Service", SERVICE, (put("/spec/type", "NodePort"),)),
    Drift("another address", CONFIG_MAP, (put("/data/MLFLOW_TRACKING_URI", "http://evil"),), "mlflow-client"),
    Drift("a token for everybody", SERVICE_ACCOUNT, (put("/automountServiceAccountToken", True),)),
    # A value of another sort, which cannot stand beside the wanted one
    Drift("a probe of another sort", DEPLOYMENT, (
        remove(f"{CONTAINER}/livenessProbe/httpGet"),
        add(f"{CONTAINER}/livenessProbe/exec", {"command": ["true"]}),
    )),
    Drift("a volume of another sort", DEPLOYMENT, (
        remove(f"{TEMPLATE}/volumes/1/emptyDir"),
        add(f"{TEMPLATE}/volumes/1/configMap", {"name": "mlflow-client"}),
    )),
    Drift("a variable from elsewhere", DEPLOYMENT, (
        remove(f"{CONTAINER}/env/0/value"),
        add(f"{CONTAINER}/env/0/valueFrom", {"fieldRef": {"fieldPath": "metadata.name"}}),
    )),
    # Keys of lists that the API server merges
    Drift("another port number", SERVICE, (put("/spec/ports/0/port", 8080),)),
    Drift("another container port", DEPLOYMENT, (put(f"{CONTAINER}/ports/0/containerPort", 6000),)),
    Drift("another name of the container", DEPLOYMENT, (put(f"{CONTAINER}/name", "tracking"),)),
    Drift("another name of a variable", DEPLOYMENT, (put(f"{CONTAINER}/env/0/name", "OTHER"),)),
    Drift("another place of a volume", DEPLOYMENT, (put(f"{CONTAINER}/volumeMounts/0/mountPath", "/other"),)),
    # Added entries
    Drift("one more container", DEPLOYMENT, (
        add(f"{TEMPLATE}/containers/-", {"name": "sidecar", "image": "nginx"}),
    )),
    Drift("one more init container", DEPLOYMENT, (
        add(f"{TEMPLATE}/initContainers/0", {"name": "first", "image": "nginx"}),
    )),
    Drift("one more variable", DEPLOYMENT, (add(f"{CONTAINER}/env/-", {"name": "MLFLOW_X", "value": "1"}),)),
    Drift("variables from a Secret", DEPLOYMENT, (
        add(f"{CONTAINER}/envFrom", [{"secretRef": {"name": "other"}}]),
    )),
    Drift("one more volume", DEPLOYMENT, (add(f"{TEMPLATE}/volumes/-", {"name": "more", "emptyDir": {}}),)),
    Drift("one more Service port", SERVICE, (
        add("/spec/ports/-", {"name": "more", "port": 81, "targetPort": 5000}),
    )),
    Drift("one more selector label", SERVICE, (add("/spec/selector/more", "true"),)),
    Drift("one more address", SERVICE, (add("/spec/externalIPs", ["192.0.2.1"]),)),
    Drift("one more setting for clients", CONFIG_MAP, (add("/data/MLFLOW_S3_ENDPOINT_URL", "http://evil"),),
          "mlflow-client"),
    Drift("a node selector that no node fits", DEPLOYMENT, (add(f"{TEMPLATE}/nodeSelector", {"a": "b"}),)),
    Drift("an affinity to other pods", DEPLOYMENT, (add(f"{TEMPLATE}/affinity", {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}},
        ],
    }}),)),
    # What a NetworkPolicy lets through
    Drift("connections from anywhere", NETWORK_POLICY, (add("/spec/ingress/-", {}),)),
    Drift("connections from all namespaces", NETWORK_POLICY, (
        add("/spec/ingress/0/from/-", {"namespaceSelector": {}}),
    )),
    Drift("connections to more ports", NETWORK_POLICY, (add("/spec/ingress/0/ports/0/endPort", 6000),)),
    Drift("connections to anywhere", NETWORK_POLICY, (put("/spec/egress", [{}]),)),
    Drift("no rule for what goes out", NETWORK_POLICY, (put("/spec/policyTypes", ["Ingress"]),)),
    Drift("other pods", NETWORK_POLICY, (put("/spec/podSelector", {"matchLabels": {"a": "b"}}),)),
    Drift("fewer pods", NETWORK_POLICY, (
        add("/spec/podSelector/matchExpressions", [{"key": "a", "operator": "Exists"}]),
    )),
    # Our marks
    *(
        Drift(f"no label on the {kind}", kind, (remove(f"/metadata/labels/{SERVER_LABEL.replace('/', '~1')}"),), name)
        for kind, name in (
            (DEPLOYMENT, "mlflow"),
            (SERVICE, "mlflow"),
            (SERVICE_ACCOUNT, "mlflow"),
            (NETWORK_POLICY, "mlflow"),
            (CONFIG_MAP, "mlflow-client"),
        )
    ),
]  # fmt: skip

CHILDREN = [
    (SERVICE_ACCOUNT, "mlflow"),
    (NETWORK_POLICY, "mlflow"),
    (PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store"),
    (PERSISTENT_VOLUME_CLAIM, "mlflow-artifact-store"),
    (CONFIG_MAP, current_archive().name),
    (CONFIG_MAP, "mlflow-client"),
    (DEPLOYMENT, "mlflow"),
    (SERVICE, "mlflow"),
]


@pytest.mark.parametrize("drift", BY_HAND, ids=lambda drift: drift.what)
def test_a_change_by_hand_is_put_right_with_one_write(
    drift: Drift, team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made({"suspend": True})
    before = content(team.get(drift.kind, drift.name))
    calls.mark()

    team.api.json_patch(drift.kind, team.namespace, drift.name, drift.operations)

    wait_for_repair(team, drift.kind, drift.name, lambda live: content(live) == before, drift.what)
    assert_one_write(team, calls, drift.kind, drift.name)


@pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=str)
def test_a_deleted_child_is_made_again_with_one_write(
    kind: Kind, name: str, team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made({"suspend": True})
    before = team.get(kind, name)
    calls.mark()

    team.api.delete(kind, team.namespace, name)

    uid = before["metadata"]["uid"]
    wait_for_repair(team, kind, name, lambda live: live["metadata"]["uid"] != uid, f"{kind} is made again")
    assert content(team.get(kind, name)) == content(before)
    assert_one_write(team, calls, kind, name)


@pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=str)
def test_labels_and_annotations_of_others_stay_when_drift_is_put_right(
    kind: Kind, name: str, team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})
    theirs = {"example.com/owner": "platform"}
    team.patch(kind, {"metadata": {"labels": theirs, "annotations": theirs}}, name)

    team.patch(kind, {"metadata": {"labels": {"app.kubernetes.io/name": "other"}}}, name)

    repaired = wait_for_repair(
        team,
        kind,
        name,
        lambda live: live["metadata"]["labels"]["app.kubernetes.io/name"] == "mlflow",
        "the label",
    )
    assert theirs.items() <= repaired["metadata"]["labels"].items()
    assert theirs.items() <= repaired["metadata"]["annotations"].items()


def test_a_restart_by_kubectl_is_not_undone(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made({"suspend": True})
    calls.mark()

    team.patch(DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "now"}}}}})
    team.made({"suspend": True}, "later")

    assert not [
        call
        for call in calls.writes(team.namespace)
        if call.resource == "deployments" and call.name == "mlflow"
    ]
    team.api.json_patch(DEPLOYMENT, team.namespace, "mlflow", [put(f"{CONTAINER}/image", "nginx")])
    repaired = wait_for_repair(
        team, DEPLOYMENT, "mlflow", lambda live: image_of(live) != "nginx", "the image is put right"
    )
    assert repaired["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] == "now"


def test_a_restart_by_kubectl_survives_a_repair_by_patch(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})
    team.patch(DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "now"}}}}})

    more = add(f"{CONTAINER}/env/-", {"name": "MLFLOW_X", "value": "1"})
    team.api.json_patch(DEPLOYMENT, team.namespace, "mlflow", [more])

    def is_right(live: KubeObject) -> bool:
        return "MLFLOW_X" not in str(live["spec"])

    repaired = wait_for_repair(team, DEPLOYMENT, "mlflow", is_right, "the variable is gone")
    assert repaired["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] == "now"


def test_the_same_drift_is_put_right_again_and_again(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made({"suspend": True})
    before = content(team.get(SERVICE))
    calls.mark()

    for port in range(8080, 8085):
        team.api.json_patch(SERVICE, team.namespace, "mlflow", [put("/spec/ports/0/port", port)])
        wait_for_repair(team, SERVICE, "mlflow", lambda live: content(live) == before, f"port {port}")

    assert len(calls.writes(team.namespace)) == 5


def wait_for_repair(
    team: Team, kind: Kind, name: str, is_right: Callable[[KubeObject], object], what: str
) -> KubeObject:
    """Return the object once it is right again, soon also on a busy machine; `python -m bench drift` measures how soon."""
    started = time.monotonic()
    repaired = team.wait_until_so(kind, name, is_right, f"{what}: put right", 10)
    seconds = time.monotonic() - started

    assert seconds < patient(SECONDS_TO_REPAIR), f"put right only after {seconds:.1f} s"
    return repaired


def assert_one_write(team: Team, calls: OperatorCalls, kind: Kind, name: str) -> None:
    """Exactly one write made it right, and none follows while the operator works on something else."""
    team.made({"suspend": True}, "later")
    writes = [
        call
        for call in calls.writes(team.namespace)
        if call.subresource != "status" and not call.name.startswith("later")
    ]
    assert [(call.resource, call.name, call.code // 100) for call in writes] == [(kind.plural, name, 2)], (
        writes
    )


def content(obj: KubeObject) -> KubeObject:
    """What an object says, without what the API server notes about it."""
    metadata = {key: obj["metadata"][key] for key in ("labels", "ownerReferences") if key in obj["metadata"]}
    assigned = ("clusterIP", "clusterIPs", "volumeName")
    spec = {key: value for key, value in obj.get("spec", {}).items() if key not in assigned}
    rest: KubeObject = {
        key: obj[key]
        for key in ("data", "binaryData", "immutable", "automountServiceAccountToken")
        if key in obj
    }
    return {"metadata": metadata, "spec": spec, **rest}


def image_of(deployment: KubeObject) -> str:
    """The image of the server's container."""
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
