"""The team's namespace and its tracking server."""

import json
from collections.abc import Callable
from pathlib import Path

from dev.demo.failures import DemoError
from dev.demo.watching import wait_for
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.progress import say
from tracking_operator.api.conditions import Condition, ConditionType
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.kube.objects import KubeObject

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "minimal.yaml"
RESOURCE = "trackingservers.tracking-operator.dev"
SECONDS_TO_READY = 300


def make_namespace(cluster: DevelopmentCluster, namespace: str) -> None:
    """Make the team's namespace, which admits only pods of the `restricted` Pod Security Standard."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def apply_sample(cluster: DevelopmentCluster) -> None:
    """Apply manifests/samples/minimal.yaml: a TrackingServer with `spec: {}` in namespace team-a."""
    cluster.kubectl("apply", "-f", str(SAMPLE))


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


def _line(condition: Condition) -> str:
    return f"{condition.type}={condition.status} ({condition.reason}) {condition.message}".strip()
