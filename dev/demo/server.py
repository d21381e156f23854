"""A class for everybody, and a team's namespace with its tracking server."""

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from dev.demo.failures import DemoError
from dev.demo.watching import wait_for
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.progress import say
from tracking_operator.api.conditions import Condition, ConditionType
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.kube.objects import KubeObject

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
SAMPLE = SAMPLES / "minimal.yaml"
SERVER = "tracking"
"""What the sample is called."""
CLASS = SAMPLES / "class.yaml"
RESOURCE = "trackingservers.tracking-operator.dev"
CLASS_RESOURCE = "trackingserverclasses.tracking-operator.dev"
SECONDS_TO_READY = 600


def apply_class(cluster: DevelopmentCluster) -> None:
    """Apply manifests/samples/class.yaml: the default class, on the PostgreSQL and the S3 server in the cluster."""
    cluster.kubectl("apply", "-f", str(CLASS))


def remove_class(cluster: DevelopmentCluster) -> None:
    """Remove what `apply_class` made; nothing happens if it is gone, or its definition."""
    found = cluster.kubectl("get", "crd", CLASS_RESOURCE, "--ignore-not-found", "--output=name")
    if found.strip():
        cluster.kubectl("delete", "--ignore-not-found", "-f", str(CLASS))


def make_namespace(cluster: DevelopmentCluster, namespace: str) -> None:
    """Make a team's namespace, which admits only pods of the `restricted` Pod Security Standard."""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(build_namespace(namespace)))


def build_namespace(namespace: str) -> KubeObject:
    """Build a team's namespace, with the label that the class asks for."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", **_labels_of_allowed_namespaces()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}


def apply_sample(cluster: DevelopmentCluster, namespace: str) -> None:
    """Apply manifests/samples/minimal.yaml, a TrackingServer with `spec: {}`, in a team's namespace."""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(build_server(namespace)))


def build_server(namespace: str) -> KubeObject:
    """Build the smallest TrackingServer there is."""
    sample: KubeObject = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    return {**sample, "metadata": {**sample["metadata"], "namespace": namespace}}


def wait_until_ready(
    cluster: DevelopmentCluster, namespace: str, name: str, show: Callable[[str], None] = say
) -> TrackingServer:
    """Do as `kubectl wait --for=condition=Ready` does, and show how it gets there.

    Raises:
        DemoError: not ready in time; the message ends with what the conditions say.
    """
    last = TrackingServer()

    def is_ready(seen: KubeObject) -> bool:
        nonlocal last
        before, last = last, TrackingServer.model_validate(seen)
        for line in news(before, last):
            show(line)
        ready = last.status.condition(ConditionType.READY)
        return ready is not None and ready.is_true and ready.observed_generation == last.metadata.generation

    expected = f"TrackingServer {name} is Ready"
    try:
        wait_for(cluster, namespace, (RESOURCE, name), is_ready, expected=expected, seconds=SECONDS_TO_READY)
    except DemoError as error:
        found = "\n".join(_line(condition) for condition in last.status.conditions)
        raise DemoError(
            f"{error}\nThe conditions of TrackingServer {name}:\n{found or 'none: does the operator run?'}"
        ) from error
    return last


def news(before: TrackingServer, after: TrackingServer) -> list[str]:
    """What has happened, as lines for people: what became true, and at what Ready, the summary, waits now."""
    known = {_line(condition) for condition in before.status.conditions}
    return [
        _line(condition)
        for condition in after.status.conditions
        if _line(condition) not in known and (condition.type == ConditionType.READY or condition.is_true)
        # Reconciling repeats what Ready says.
        if condition.type != ConditionType.RECONCILING
    ]


def _labels_of_allowed_namespaces() -> dict[str, str]:
    labels: dict[str, str] = yaml.safe_load(CLASS.read_text(encoding="utf-8"))["spec"]["allowedNamespaces"][
        "matchLabels"
    ]
    return labels


def _line(condition: Condition) -> str:
    return f"{condition.type}={condition.status} ({condition.reason}) {condition.message}".strip()
