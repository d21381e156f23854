"""What is installed, and what the operator makes, is what Kubernetes 1.33 to 1.37 know: kubeconform with the schemas of each.

Nothing here asks a cluster. An API server of each version would judge more than schemas: rules of admission, and features that
are off. Clusters of 1.35 are what all other tests use.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart.__main__ import CHART, MANIFESTS, MANY_TEAMS, objects_of
from dev.deploy import BASE
from dev.kubernetes_schemas import MINOR_VERSIONS, problems
from dev.local_cluster.versions import pinned
from tests.helm_chart import CLASSES, rendered
from tests.unit.examples import GOLDEN_SERVERS
from tests.unit.resources.test_golden import applied_objects
from tracking_operator.kube.objects import HTTP_ROUTE

Object = dict[str, Any]

OTHERS_KINDS = {HTTP_ROUTE.kind, "TrackingServerClass"}
"""Custom resources: no Kubernetes has a schema of them."""
LEAST = 15
"""Objects of an installation."""
MANY_VALUES: Object = {
    "image": {"digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "settings": {"logLevel": "DEBUG", "workers": 3},
    "nodeSelector": {"example.com/pool": "system"},
    "tolerations": [{"key": "example.com/system", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
            ]
        }
    },
    "priorityClassName": "system-cluster-critical",
    "networkPolicy": {"extraEgress": [{"ports": [{"port": 6432}]}]},
    "serviceAccount": {"annotations": {"example.com/role": "operator"}},
    "defaultClass": {"spec": {"access": {"authentication": {"basic": {}}}}},
}
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "one", "namespace": "team-a"},
    "spec": {"containers": [{"name": "one", "image": "one"}]},
}


def pod(**spec: object) -> Object:
    return POD | {"spec": POD["spec"] | spec}


def of_kubernetes(objects: list[Object]) -> list[Object]:
    return [one for one in objects if one["kind"] not in OTHERS_KINDS]


def test_the_versions_are_in_a_row_and_the_cluster_of_the_tests_is_among_them() -> None:
    first, *_, last = (int(one.partition(".")[2]) for one in MINOR_VERSIONS)
    assert tuple(f"1.{minor}" for minor in range(first, last + 1)) == MINOR_VERSIONS
    assert all(pinned(f"kubernetes-{one}").startswith(f"{one}.") for one in MINOR_VERSIONS)
    assert pinned("kubernetes").rpartition(".")[0] in MINOR_VERSIONS


@pytest.mark.parametrize("minor", MINOR_VERSIONS)
@pytest.mark.parametrize("folder", [BASE, MANIFESTS / "namespaced", MANIFESTS / "overlays" / "multi-tenant"])
def test_what_kubectl_installs_is_known(folder: Path, minor: str) -> None:
    objects = of_kubernetes(objects_of(folder))
    assert len(objects) >= LEAST
    assert problems(minor, objects) == []


@pytest.mark.parametrize("minor", MINOR_VERSIONS)
@pytest.mark.parametrize("values", [{}, MANY_VALUES, yaml.safe_load((CHART / MANY_TEAMS).read_text())])
def test_what_helm_installs_is_known_and_no_version_is_refused(values: Object, minor: str) -> None:
    options = ("--api-versions", CLASSES, "--kube-version", pinned(f"kubernetes-{minor}"))
    objects = of_kubernetes(list(rendered(values, *options).values()))
    assert len(objects) >= LEAST
    assert problems(minor, objects) == []


@pytest.mark.parametrize("minor", MINOR_VERSIONS)
def test_what_the_operator_makes_of_every_golden_server_is_known(minor: str) -> None:
    objects = [one for case in GOLDEN_SERVERS for one in of_kubernetes(applied_objects(case))]
    assert {"Deployment", "Job", "Ingress", "NetworkPolicy", "Secret"} <= {one["kind"] for one in objects}
    assert problems(minor, objects) == []


@pytest.mark.parametrize("minor", MINOR_VERSIONS)
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (pod(replicas=1), "additional properties 'replicas' not allowed"),
        (pod(terminationGracePeriodSeconds="soon"), "got string, want integer"),
        (pod(containers=[{"image": "one"}]), "missing property 'name'"),
        (POD | {"apiVersion": "v2"}, "could not find schema for Pod"),
        (POD | {"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy"}, "could not find schema"),
    ],
)
def test_what_no_version_knows_is_found(bad: Object, told: str, minor: str) -> None:
    (problem,) = problems(minor, [POD, bad])
    assert told in problem
    assert problem.startswith(f"{bad['kind']} one: ")


def test_a_field_is_known_from_the_version_on_that_brought_it() -> None:
    newer = [pod(hostnameOverride="one.example.com")]
    assert "additional properties 'hostnameOverride' not allowed" in problems("1.33", newer)[0]
    assert problems("1.34", newer) == []
