"""``kubectl tracking status``: how a server is, on one page; or which servers there are."""

import argparse
import json
import shutil
import sys
from datetime import UTC, datetime
from http import HTTPStatus

from tracking_operator.cli.cluster import add_server_arguments, as_server, execute_in_cluster, find_server
from tracking_operator.cli.server_report import Happening, ServerReport, latest
from tracking_operator.cli.status_page import server_page, servers_page
from tracking_operator.cli.terminal import say, show
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import EVENT

SUMMARY = "Show how a TrackingServer is, on one page; without a name, the servers of the namespace."
EXAMPLES = """examples:
  %(prog)s                                  # the servers of the kubeconfig's namespace
  %(prog)s tracking -n team-a               # conditions, what it waits for, address, stores, versions, Events
  %(prog)s tracking -n team-a -o json       # the same for programs

Colours are for terminals; NO_COLOR=1 switches them off. The kubeconfig's user needs the verb get on trackingservers (list,
without a name), and list on events to see these."""

MOST_EVENTS_READ = 500
MOST_BYTES_OF_EVENTS = 4 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_server_arguments(parser, is_optional=True)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")


def execute(options: argparse.Namespace) -> int:
    """Print the page; the exit code is 0 if the servers could be read, however they are."""
    as_json = options.output == "json"

    async def work(client: KubeClient, namespace: str) -> None:
        if options.name:
            _print_server(await read_report(client, namespace, options.name), as_json=as_json)
        else:
            await _print_servers(client, namespace, as_json=as_json)

    return execute_in_cluster(options, work)


async def read_report(client: KubeClient, namespace: str, name: str) -> ServerReport:
    """Read a server and the Events about it. Raises CommandError, ApiError."""
    server = await find_server(client, namespace, name)
    return ServerReport(server, await _events(client, namespace, name, server.metadata.uid))


async def _events(client: KubeClient, namespace: str, name: str, uid: str) -> list[Happening] | None:
    """The latest Events about this very server, and none of an earlier one of its name; None if they may not be read."""
    about = f"involvedObject.kind={TRACKING_SERVER.kind},involvedObject.name={name},involvedObject.uid={uid}"
    try:
        found = await client.list(
            EVENT, namespace, field_selector=about, limit=MOST_EVENTS_READ, most_bytes=MOST_BYTES_OF_EVENTS
        )
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
    return latest(found)


def _print_server(report: ServerReport, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.as_json(), indent=2))  # escapes whatever is not ASCII
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    show(server_page(report, datetime.now(UTC), width))


async def _print_servers(client: KubeClient, namespace: str, *, as_json: bool) -> None:
    servers = [as_server(one) for one in await client.list(TRACKING_SERVER, namespace)]
    if as_json:
        items = [ServerReport(one, events=None).as_json() for one in servers]
        print(json.dumps({"items": items}, indent=2))
    elif servers:
        show(servers_page(servers, datetime.now(UTC)))
    else:
        say(f"There are no TrackingServers in namespace {namespace}.")
