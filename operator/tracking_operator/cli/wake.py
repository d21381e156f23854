"""``kubectl tracking wake``: have a suspended server run again."""

import argparse
from datetime import UTC, datetime
from typing import Any

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import WAKE_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.changes import (
    RIGHTS,
    Change,
    add_change_arguments,
    execute_change,
    wait_command,
)
from tracking_operator.cli.cluster import called
from tracking_operator.kube.client import KubeClient

SUMMARY = "Wake a suspended TrackingServer: its pods run again, on the data that it had."
EXAMPLES = f"""examples:
  %(prog)s tracking -n team-a
  %(prog)s tracking -n team-a --replicas 2      # where spec.replicas is 0

It sets spec.suspend to false, and spec.replicas where that is 0. Of a server that sleeps by spec.sleep it sets the annotation
{WAKE_ANNOTATION} to the time of this moment. {RIGHTS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_change_arguments(parser)
    parser.add_argument(
        "--replicas", type=_replicas, default=1, help="where spec.replicas is 0 (default: %(default)s)"
    )


def execute(options: argparse.Namespace) -> int:
    """Wake the server; the exit code is 0 as well if it is awake."""
    return execute_change(options, _decide)


async def _decide(_client: KubeClient, server: TrackingServer, options: argparse.Namespace) -> Change:
    return waking(server, options.replicas, datetime.now(UTC))


def waking(server: TrackingServer, replicas: int, now: datetime) -> Change:
    """What wakes a server; ``replicas`` pods are to run if nothing but their number keeps it asleep. Pure."""
    spec: dict[str, Any] = {}
    if server.spec.suspend:
        spec["suspend"] = False
    if server.spec.replicas == 0:
        spec["replicas"] = replicas
    fields: dict[str, Any] = {"spec": spec} if spec else {}
    if sleeps(server):
        asked = now.isoformat(timespec="microseconds")
        fields["metadata"] = {"annotations": {WAKE_ANNOTATION: asked}}
    if not fields:
        return Change({}, f"{called(server)} is not suspended.")
    return Change(
        fields,
        f"{called(server)} wakes up. This waits until it answers:\n\n    {wait_command(server, ConditionType.READY)}",
    )


def sleeps(server: TrackingServer) -> bool:
    """Whether it sleeps by itself, or will as soon as it is not suspended any more."""
    known = server.status.sleep
    return known is not None and known.cause is not None


def _replicas(text: str) -> int:
    replicas = int(text)
    if replicas < 1:
        raise argparse.ArgumentTypeError("a server that is awake has 1 pod or more")
    return replicas
