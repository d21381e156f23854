"""What whoever holds the operator's token can write: the API server refuses all but what servers are made of.

The attacks have every right that RBAC can give, so that it is the policy that refuses them.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.development_cluster import DevelopmentCluster
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import OPERATOR_NAMESPACE, OPERATOR_USER, OperatorHost, Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION, CLIENT_LABEL, SCHEDULED_LABEL
from tracking_operator.api.operator_admission import OPERATOR_POLICY_NAME
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    JOB,
    LEASE,
    NAMESPACE,
    POD,
    SECRET,
    SERVICE,
    Kind,
    KubeObject,
    register,
)
from tracking_operator.resources.tools_archive import build_tools_config_map

GOLDEN = Path(__file__).parents[1] / "golden" / "objects" / "minimal.yaml"
ROLE_BINDING = register(Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"))
CLUSTER_ROLE_BINDING = register(
    Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False)
)


@dataclass(frozen=True)
class Place:
    """A team with a server, and what its own objects look like."""

    team: Team
    uid: str

    @property
    def operator(self) -> KubeApi:
        """The API server, as the operator with every right."""
        return self.team.api

    def owner(self, **change: object) -> KubeObject:
        """The owner reference of the server's objects."""
        return {
            "apiVersion": API_VERSION,
            "kind": "TrackingServer",
            "name": "mlflow",
            "uid": self.uid,
            "controller": True,
            **change,
        }

    def child(self, kind: Kind, name: str = "mlflow", **spec: object) -> KubeObject:
        """One of the server's objects, as the operator makes it."""
        metadata = {
            "name": name,
            "namespace": self.team.namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "tracking-operator",
                "tracking-operator.dev/tracking-server": "mlflow",
            },
            "ownerReferences": [self.owner()],
        }
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **spec}

    def deployment(self) -> KubeObject:
        """The server's Deployment, with no pod."""
        objects = yaml.safe_load_all(GOLDEN.read_text())
        spec = next(obj["spec"] for obj in objects if obj["kind"] == "Deployment")
        return self.child(DEPLOYMENT, spec=spec | {"replicas": 0})

    def pods_with(self, **change: object) -> KubeObject:
        """The Deployment with another pod."""
        deployment = self.deployment()
        deployment["spec"]["template"]["spec"] |= change
        return deployment

    def with_volume_of_the_node(self) -> KubeObject:
        """The Deployment with a folder of the node in place of its scratch volume."""
        volumes = self.deployment()["spec"]["template"]["spec"]["volumes"]
        node = {"name": "scratch", "hostPath": {"path": "/"}}
        return self.pods_with(volumes=[node if one["name"] == "scratch" else one for one in volumes])

    def container_with(self, **change: object) -> KubeObject:
        """The Deployment with another container."""
        deployment = self.deployment()
        deployment["spec"]["template"]["spec"]["containers"][0] |= change
        return deployment


@pytest.fixture(scope="module")
def place(
    cluster: DevelopmentCluster, api: KubeApi, installation: Path, operators: OperatorHost
) -> Iterator[Place]:
    """A team whose server the operator may work on; no operator does, so that the attacker finds nothing made."""
    operators.make_room()
    attacker = KubeApi(cluster.kubeconfig_path, user=OPERATOR_USER, group="system:masters")
    with a_team(api) as team:
        uid = team.apply({"suspend": True})["metadata"]["uid"]
        foreign = {"name": "notes", "namespace": team.namespace}
        api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": foreign})
        api.create({"apiVersion": "v1", "kind": "Secret", "metadata": foreign})
        api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": foreign | {"name": "mlflow"}})
        place = Place(Team(attacker, team.namespace), uid)
        api.create(a_backup(place, "by-hand"))
        wait_until(lambda: is_in_force(place), 30, "the policy is in force")
        yield place


def is_in_force(place: Place) -> bool:
    """Whether the policy refuses; it takes the API server a moment to begin with one that is new."""
    try:
        place.operator.delete(NAMESPACE, None, "no-such-namespace")
        metadata = {"name": "probe", "namespace": place.team.namespace}
        place.operator.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    except Refused as refusal:
        return OPERATOR_POLICY_NAME in refusal.message
    place.operator.delete(CONFIG_MAP, place.team.namespace, "probe")
    return False


def edited(obj: KubeObject, **metadata: object) -> KubeObject:
    """The object with other metadata."""
    return obj | {"metadata": obj["metadata"] | metadata}


def secret(place: Place, name: str, **more: object) -> KubeObject:
    return place.child(SECRET, name, **more)


def binding(kind: Kind, place: Place) -> KubeObject:
    return place.child(
        kind,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "ServiceAccount", "name": "mlflow", "namespace": place.team.namespace}],
    )


def job(place: Place, deployment: KubeObject) -> KubeObject:
    pod = deployment["spec"]["template"]["spec"] | {"restartPolicy": "Never"}
    return place.child(JOB, "mlflow-x", spec={"template": {"spec": pod}})


def service(place: Place, **spec: object) -> KubeObject:
    return place.child(SERVICE, spec={"ports": [{"port": 80}]} | spec)


def event(place: Place, about: str) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "told", "namespace": place.team.namespace},
        "involvedObject": {
            "apiVersion": about,
            "kind": "Pod",
            "namespace": place.team.namespace,
            "name": "x",
        },
        "source": {"component": "tracking-operator"},
    }


def a_backup(place: Place, name: str, **labels: str) -> KubeObject:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerBackup",
        "metadata": {"name": name, "namespace": place.team.namespace, "labels": labels},
        "spec": {"serverRef": {"name": "mlflow"}},
    }


def tools(place: Place) -> KubeObject:
    return build_tools_config_map(place.team.namespace)


Attack = Callable[[Place], object]


def made(build: Callable[[Place], KubeObject]) -> Attack:
    """Make an object."""
    return lambda place: place.operator.create(build(place))


def changed(kind: Kind, name: str, change: KubeObject) -> Attack:
    """Change an object of the team's namespace."""
    return lambda place: place.operator.patch(kind, place.team.namespace, name, change)


PRIVILEGED: dict[str, Any] = {"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}


def client_owner(p: Place, name: str = "runs") -> KubeObject:
    """The owner reference of a client's objects."""
    return p.owner(kind="TrackingServerClient", name=name)


def of_client(obj: KubeObject, owner: KubeObject) -> KubeObject:
    """An object as that of the client `runs`, owned by somebody."""
    labels = obj["metadata"]["labels"] | {CLIENT_LABEL: "runs"}
    return edited(obj, labels=labels, ownerReferences=[owner])


ATTACKS: dict[str, Attack] = {
    "the server's Deployment in kube-system": made(lambda p: edited(p.deployment(), namespace="kube-system")),
    "a ConfigMap in the operator's namespace": made(
        lambda p: edited(p.child(CONFIG_MAP), namespace=OPERATOR_NAMESPACE)
    ),
    "the archive of pods, for somebody to change": made(lambda p: tools(p) | {"immutable": False}),
    "the archive of pods, with something beside it": made(lambda p: tools(p) | {"data": {"a": "b"}}),
    "the archive of pods, of one server": made(
        lambda p: edited(tools(p), ownerReferences=[p.owner(controller=False)])
    ),
    "the archive of pods in kube-system": made(lambda p: edited(tools(p), namespace="kube-system")),
    "something that is only called nearly like the archive": made(
        lambda p: edited(tools(p), name="tracking-operator-tools-client")
    ),
    "a RoleBinding": made(lambda p: binding(ROLE_BINDING, p)),
    "a ClusterRoleBinding": made(lambda p: edited(binding(CLUSTER_ROLE_BINDING, p), namespace=None)),
    "a pod": made(lambda p: p.child(POD, spec=p.deployment()["spec"]["template"]["spec"])),
    "a token of a ServiceAccount": made(
        lambda p: edited(
            secret(p, "mlflow-client", type="kubernetes.io/service-account-token"),
            annotations={"kubernetes.io/service-account.name": "default"},
        )
    ),
    "a Secret of another name": made(lambda p: secret(p, "mlflow-other")),
    "a Secret without an owner": made(lambda p: edited(secret(p, "mlflow-client"), ownerReferences=[])),
    "what has no marks": made(lambda p: edited(p.child(CONFIG_MAP), labels={})),
    "keys without marks": made(
        lambda p: edited(secret(p, "mlflow-encryption"), ownerReferences=[], labels={})
    ),
    "what has no owner": made(lambda p: edited(p.child(CONFIG_MAP), ownerReferences=[])),
    "what another kind owns": made(
        lambda p: edited(p.child(CONFIG_MAP), ownerReferences=[p.owner(kind="TrackingServerClass")])
    ),
    "what another server owns": made(
        lambda p: edited(p.child(CONFIG_MAP), ownerReferences=[p.owner(name="other")])
    ),
    "a Secret of a client that a server owns": made(lambda p: of_client(secret(p, "runs-client"), p.owner())),
    "a Secret of another client": made(
        lambda p: of_client(secret(p, "other-client"), client_owner(p, "other"))
    ),
    "another Secret of a client": made(lambda p: of_client(secret(p, "runs-auth"), client_owner(p))),
    "a Deployment of a client": made(
        lambda p: of_client(edited(p.deployment(), name="runs-client"), client_owner(p))
    ),
    "a server's Secret that a client owns": made(
        lambda p: edited(secret(p, "mlflow-client"), ownerReferences=[client_owner(p, "mlflow")])
    ),
    "what is called otherwise": made(lambda p: p.child(CONFIG_MAP, "aws-auth")),
    "a volume of the node": made(lambda p: p.with_volume_of_the_node()),
    "the node's network": made(lambda p: p.pods_with(hostNetwork=True)),
    "the node's processes": made(lambda p: p.pods_with(hostPID=True)),
    "a node of its choice": made(lambda p: p.pods_with(nodeName="control-plane")),
    "another ServiceAccount": made(lambda p: p.pods_with(serviceAccountName="default")),
    "root": made(lambda p: p.pods_with(securityContext={"runAsUser": 0})),
    "a privileged container": made(lambda p: p.container_with(**PRIVILEGED)),
    "an init container with capabilities": made(
        lambda p: p.pods_with(
            initContainers=[
                {
                    "name": "x",
                    "image": "x",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
                    },
                }
            ]
        )
    ),
    "a port of the node": made(lambda p: p.container_with(ports=[{"containerPort": 5000, "hostPort": 443}])),
    "a Job with a volume of the node": made(lambda p: job(p, p.with_volume_of_the_node())),
    "a load balancer": made(lambda p: service(p, type="LoadBalancer")),
    "a name of elsewhere": made(lambda p: service(p, type="ExternalName", externalName="evil.example.com")),
    "an address of others": made(lambda p: service(p, externalIPs=["192.0.2.1"])),
    "a server": made(
        lambda p: {
            "apiVersion": API_VERSION,
            "kind": "TrackingServer",
            "metadata": {"name": "other", "namespace": p.team.namespace},
        }
    ),
    "a backup that no plan asks for": made(lambda p: a_backup(p, "another")),
    "the end of a backup that somebody has made": lambda p: p.operator.delete(
        TRACKING_SERVER_BACKUP, p.team.namespace, "by-hand"
    ),
    "a backup's plan, of one that somebody has made": changed(
        TRACKING_SERVER_BACKUP, "by-hand", {"spec": {"deletionPolicy": "Retain"}}
    ),
    "a server's specification": changed(TRACKING_SERVER, "mlflow", {"spec": {"suspend": False}}),
    "the end of a server": lambda p: p.operator.delete(TRACKING_SERVER, p.team.namespace, "mlflow"),
    "a foreign ConfigMap": changed(CONFIG_MAP, "notes", {"data": {"a": "b"}}),
    "a foreign ConfigMap, taken over": lambda p: p.operator.patch(
        CONFIG_MAP, p.team.namespace, "notes", {"metadata": p.child(CONFIG_MAP, "notes")["metadata"]}
    ),
    "a foreign Secret": changed(SECRET, "notes", {"data": {"a": base64.b64encode(b"b").decode()}}),
    "the end of a foreign Secret": lambda p: p.operator.delete(SECRET, p.team.namespace, "notes"),
    "the end of a namespace": lambda p: p.operator.delete(NAMESPACE, None, p.team.namespace),
    "a label of a namespace": lambda p: p.operator.patch(
        NAMESPACE, None, p.team.namespace, {"metadata": {"labels": {"mlflow": "true"}}}
    ),
    "a Lease elsewhere": made(lambda p: edited(p.child(LEASE), name="other")),
    "an Event about something else": made(lambda p: event(p, "v1")),
    "the policy's own rules": lambda p: p.operator.patch(
        Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False),
        None,
        "tracking-operator",
        {"metadata": {"labels": {"a": "b"}}},
    ),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_the_operator_may_not_write(what: str, place: Place) -> None:
    with pytest.raises(Refused) as refusal:
        ATTACKS[what](place)
    assert refusal.value.status == 403
    assert OPERATOR_POLICY_NAME in refusal.value.message


def test_the_operator_may_not_change_a_class(place: Place, api: KubeApi) -> None:
    with a_class(api, {}) as name, pytest.raises(Refused, match="the status"):
        place.operator.patch(TRACKING_SERVER_CLASS, None, name, {"spec": {"limits": {"maxReplicas": 1}}})


def test_what_a_server_is_made_of_is_written_changed_and_deleted(place: Place) -> None:
    children = [
        place.child(CONFIG_MAP, "mlflow-client", data={"a": "b"}),
        tools(place),
        secret(place, "mlflow-client"),
        edited(secret(place, "mlflow-encryption"), ownerReferences=[]),
        service(place),
        place.deployment(),
    ]
    for child in children:
        kind = Kind(child["apiVersion"], child["kind"], f"{child['kind'].lower()}s")
        place.operator.create(child)
        place.operator.patch(
            kind, place.team.namespace, child["metadata"]["name"], {"metadata": {"annotations": {"a": "b"}}}
        )
        place.operator.delete(kind, place.team.namespace, child["metadata"]["name"])
    place.operator.create(a_backup(place, "planned", **{SCHEDULED_LABEL: "20260101T0200Z"}))
    place.operator.delete(TRACKING_SERVER_BACKUP, place.team.namespace, "planned")
    place.operator.patch_status(TRACKING_SERVER, place.team.namespace, "mlflow", {"className": "x"})
    place.operator.create(event(place, API_VERSION))
    assert place.operator.list(EVENT, place.team.namespace)


def test_what_somebody_else_did_to_a_pod_does_not_keep_the_rest_from_being_repaired(
    place: Place, api: KubeApi
) -> None:
    place.operator.create(place.deployment())
    change = {"spec": {"template": {"spec": {"hostNetwork": True}}}}
    api.patch(DEPLOYMENT, place.team.namespace, "mlflow", change)
    place.operator.patch(DEPLOYMENT, place.team.namespace, "mlflow", {"spec": {"paused": True}})
    place.operator.delete(DEPLOYMENT, place.team.namespace, "mlflow")
