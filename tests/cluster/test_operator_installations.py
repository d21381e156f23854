"""The other ways to install the operator: for chosen namespaces with a Role in each, for many teams, under another name."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.development_cluster import DevelopmentCluster
from dev.service_account import kubeconfig_of
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import (
    BASE,
    OPERATOR,
    OPERATOR_NAMESPACE,
    RUNS_AS_A_POD,
    OperatorHost,
    RunningOperator,
    Team,
    a_team,
)
from tracking_operator.api.operator_admission import OPERATOR_POLICY_NAME
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    SERVICE,
    KubeObject,
)

MANIFESTS = BASE.parent
HOME = f"chosen-{secrets.token_hex(4)}"
"""The namespace of the operator of this module, which is another one than that of all other tests."""
SECONDS_TO_START = 90.0
USER = f"system:serviceaccount:{HOME}:{OPERATOR}"
CLUSTER_WIDE = (
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)


def built(cluster: DevelopmentCluster, folder: Path) -> list[KubeObject]:
    """What kustomize makes of a folder."""
    return [one for one in yaml.safe_load_all(cluster.kubectl("kustomize", str(folder))) if one]


def apply(cluster: DevelopmentCluster, objects: list[KubeObject], *options: str) -> str:
    """Apply objects, namespaces first."""
    ordered = sorted(objects, key=lambda one: one["kind"] != "Namespace")
    return cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", *options, "-f", "-", stdin=yaml.safe_dump_all(ordered)
    )


def overlay(folder: Path, *resources: Path) -> KubeObject:
    """A kustomization in ``folder`` of other ones."""
    paths = [os.path.relpath(one, folder.resolve()) for one in resources]
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": paths}


def in_another_namespace(cluster: DevelopmentCluster, folder: Path) -> list[KubeObject]:
    """``manifests/namespaced`` in a namespace of another name, by what its users are told to write."""
    (base,) = yaml.safe_load_all((BASE / "kustomization.yaml").read_text())
    own = overlay(folder, BASE) | {"namespace": HOME, "replacements": base["replacements"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return built(cluster, folder)


def of_the_module(objects: list[KubeObject], served: str) -> list[KubeObject]:
    """The objects of ``manifests/namespaced``, so that they stand beside those of the other tests' operator."""
    text = yaml.safe_dump_all(objects).replace(OPERATOR_NAMESPACE, HOME)
    chosen = []
    for one in yaml.safe_load_all(text):
        metadata = one["metadata"]
        if (
            one["kind"] in ("CustomResourceDefinition", *RUNS_AS_A_POD)
            or metadata.get("namespace") == "team-b"
        ):
            continue
        if metadata.get("namespace") == "team-a":
            metadata["namespace"] = served
        if one["kind"] in CLUSTER_WIDE:
            metadata["name"] = f"{HOME}.{metadata['name']}"
            if "roleRef" in one:
                one["roleRef"]["name"] = metadata["name"]
            if "policyName" in one.get("spec", {}):
                one["spec"]["policyName"] = f"{HOME}.{one['spec']['policyName']}"
        chosen.append(one)
    return chosen


@pytest.fixture(scope="module")
def served(api: KubeApi, installation: Path) -> Iterator[Team]:
    """A team in a namespace that the operator serves."""
    with a_team(api) as team:
        yield team


@pytest.fixture(scope="module")
def chosen(
    cluster: DevelopmentCluster,
    operators: OperatorHost,
    served: Team,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningOperator]:
    """An operator with the rights of ``manifests/namespaced``."""
    operators.make_room()
    objects = of_the_module(built(cluster, MANIFESTS / "namespaced"), served.namespace)
    apply(cluster, objects)
    folder = tmp_path_factory.mktemp("chosen")
    (folder / "kubeconfig").write_text(kubeconfig_of(cluster, HOME, OPERATOR))
    host = OperatorHost(served.api, folder / "kubeconfig", folder, operators.servers)
    try:
        operator = host.start(namespace=HOME, watch_namespaces=served.namespace)
        operator.wait_until_active(SECONDS_TO_START)
        yield operator
    finally:
        host.stop_all()
        for one in objects:
            if one["kind"] in (*CLUSTER_WIDE, "Namespace"):
                cluster.kubectl("delete", one["kind"], one["metadata"]["name"], "--wait=false")


class TestChosenNamespaces:
    def test_a_life_of_a_server(self, chosen: RunningOperator, served: Team) -> None:
        keys = {
            "name": "keys",
            "namespace": served.namespace,
            "labels": {"tracking-operator.dev/watch": "true"},
        }
        served.made({"deletionPolicy": "Delete", "access": {"authentication": {"basic": {}}}})
        served.wait_for(SECRET, "mlflow-client")
        served.api.delete(SERVICE, served.namespace, "mlflow")
        served.wait_for(SERVICE, "mlflow")
        served.patch(DEPLOYMENT, {"spec": {"replicas": 3}})
        served.wait_until_so(
            DEPLOYMENT, "mlflow", lambda one: one["spec"]["replicas"] == 1, "one replica again"
        )
        served.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": keys})
        served.delete_server()
        served.wait_until_gone(TRACKING_SERVER)
        served.wait_until_gone(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")
        chosen.require_running()
        refused = [line for line in chosen.log_lines() if "forbidden" in str(line).lower()]
        assert not refused, refused[0]

    def test_another_namespace_is_neither_served_nor_read(
        self, chosen: RunningOperator, api: KubeApi, cluster: DevelopmentCluster
    ) -> None:
        operator = KubeApi(cluster.kubeconfig_path, user=USER, group="system:serviceaccounts")
        with a_team(api) as other:
            other.apply({"suspend": True})
            for kind in (SECRET, CONFIG_MAP, TRACKING_SERVER):
                with pytest.raises(Refused, match="cannot list"):
                    operator.list(kind, other.namespace)
            with pytest.raises(Refused, match="cannot list"):
                operator.list(SECRET)
            assert "status" not in other.server()


def test_an_operator_of_many_teams_can_be_installed(cluster: DevelopmentCluster, installation: Path) -> None:
    objects = built(cluster, MANIFESTS / "overlays" / "multi-tenant")
    verbs = {
        verb
        for one in objects
        if one["kind"] == "ClusterRole"
        for rule in one["rules"]
        for verb in rule["verbs"]
        if "secrets" in rule["resources"]
    }
    assert verbs == {"get", "create", "patch", "delete"}
    applied = apply(cluster, objects, "--dry-run=server")
    assert f"{OPERATOR_POLICY_NAME} serverside-applied" in applied
    assert "trackingserverclass.tracking-operator.dev/standard serverside-applied" in applied


def test_the_policy_follows_the_service_account_to_another_namespace(
    cluster: DevelopmentCluster, tmp_path: Path
) -> None:
    objects = in_another_namespace(cluster, tmp_path)
    (policy,) = [
        one
        for one in objects
        if one["metadata"]["name"] == OPERATOR_POLICY_NAME and "matchConditions" in one["spec"]
    ]
    (condition,) = policy["spec"]["matchConditions"]
    assert f"'{HOME}' + ':' + '{OPERATOR}'" in condition["expression"]
    own = {one["name"]: one["expression"] for one in policy["spec"]["variables"]}
    assert own["ownNamespace"] == f"'{HOME}'"
    assert OPERATOR_NAMESPACE not in str(policy)
