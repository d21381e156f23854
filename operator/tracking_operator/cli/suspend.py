"""``kubectl tracking suspend``: put a server to sleep."""

import argparse
from typing import Final

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.changes import RIGHTS, Change, add_change_arguments, execute_change
from tracking_operator.cli.cluster import called
from tracking_operator.kube.client import KubeClient

SUMMARY = "Put a TrackingServer to sleep: no pods run, and everything else is kept."
EXAMPLES = f"""examples:
  %(prog)s tracking -n team-a
  %(prog)s tracking -n team-a --dry-run

It sets spec.suspend to true. {RIGHTS}"""
KEPT: Final = "Its data, addresses and credentials are kept."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_change_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Suspend the server; the exit code is 0 as well if it is suspended already."""
    return execute_change(options, _decide)


async def _decide(_client: KubeClient, server: TrackingServer, _options: argparse.Namespace) -> Change:
    return suspension(server)


def suspension(server: TrackingServer) -> Change:
    """What puts a server to sleep. Pure."""
    if server.spec.suspend:
        return Change({}, f"{called(server)} is suspended already.")
    return Change(
        {"spec": {"suspend": True}},
        f"{called(server)} goes to sleep: its pods finish the requests that they have, end, and answer no others. {KEPT} "
        f"`kubectl tracking wake {server.metadata.name} -n {server.metadata.namespace}` wakes it.",
    )
