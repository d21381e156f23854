"""What commands share that go to a cluster: its options, the connection, the server that is meant, and refusals in words."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.terminal import complain
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import NoClusterError, namespace_of_context
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import KubeObject, name_of

FIELD_MANAGER: Final = "kubectl-tracking"
"""Under which the API server keeps what these commands change: never the operator's own name."""
SECONDS_TO_COMPLETE: Final = 3.0
"""How long a shell waits for names."""


class CommandError(Exception):
    """A command cannot be carried out; the message says why and what to do."""


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which cluster is meant."""
    parser.add_argument("--kubeconfig", type=Path, help="default: $KUBECONFIG, else ~/.kube/config")
    parser.add_argument("--context", help="of the kubeconfig (default: its current one)")


def add_server_arguments(parser: argparse.ArgumentParser, *, is_optional: bool = False) -> None:
    """Declare which server of which cluster is meant."""
    name = parser.add_argument(
        "name", nargs="?" if is_optional else None, metavar="NAME", help="the TrackingServer"
    )
    name.completer = names_of_servers  # type: ignore[attr-defined]
    parser.add_argument("-n", "--namespace", help="its namespace (default: the kubeconfig's)")
    add_cluster_arguments(parser)


def execute_in_cluster(
    options: argparse.Namespace, work: Callable[[KubeClient, str], Awaitable[None]]
) -> int:
    """Do the work with a client and the namespace that is meant; the exit code is 1, with a sentence, if it cannot be done."""
    try:
        asyncio.run(_work(options, work))
    except (NoClusterError, CommandError) as error:
        complain(str(error))
        return 1
    except ApiError as error:
        complain(_refusal(error))
        return 1
    return 0


async def find_server(client: KubeClient, namespace: str, name: str) -> TrackingServer:
    """Read a server. Raises CommandError: there is none, or it cannot be read; ApiError: it must not be."""
    found = await client.get(TRACKING_SERVER, namespace, name)
    if found is None:
        raise CommandError(
            f"There is no TrackingServer {name} in namespace {namespace}:"
            " `kubectl get trackingservers --all-namespaces` lists those that there are."
        )
    return as_server(found)


def as_server(found: KubeObject) -> TrackingServer:
    """A server out of what the API server holds. Raises CommandError: a newer version has written it."""
    try:
        return TrackingServer.model_validate(found)
    except ValidationError as error:
        raise CommandError(
            f"TrackingServer {found['metadata']['name']} cannot be read, as it has fields that this version of the command "
            "does not know: take the version that the operator has."
        ) from error


def names_of_servers(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """The servers that a name may be completed to; none where they cannot be asked for at once."""
    found: list[str] = []

    async def work(client: KubeClient, namespace: str) -> None:
        async with asyncio.timeout(SECONDS_TO_COMPLETE):
            servers = await client.list(TRACKING_SERVER, namespace)
        found.extend(name_of(one) for one in servers)

    with suppress(ApiError, NoClusterError, TimeoutError):
        asyncio.run(_work(parsed_args, work))
    return [name for name in found if name.startswith(prefix)]


def called(server: TrackingServer) -> str:
    """How sentences call a server."""
    return f"TrackingServer {server.metadata.name} in namespace {server.metadata.namespace}"


async def _work(options: argparse.Namespace, work: Callable[[KubeClient, str], Awaitable[None]]) -> None:
    namespace = options.namespace or namespace_of_context(options.kubeconfig, options.context)
    async with await KubeClient.connect(
        options.kubeconfig, context=options.context, field_manager=FIELD_MANAGER
    ) as client:
        await work(client, namespace)


def _refusal(error: ApiError) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return (
            f"The API server does not know what was asked for: {error.message} If it means trackingservers, the operator's "
            "definitions are not installed in this cluster: ask the platform team."
        )
    return f"The API server refused, or did not answer: {error.message}"
