"""``tracking-operator open``: a server on a port of this machine, for whoever has no Ingress.

Connections go through the API server to a pod of the server, with the rights of the kubeconfig: no kubectl is needed.
Each has a WebSocket of its own, and finds a pod for itself, so that the port goes on working while pods are replaced,
and a browser's parallel connections do not wait for each other. `kubectl port-forward` stays with the pod that it began
with; the `kubernetes` package's own port-forward gives a thread to each connection and needs one more client.
"""

import argparse
import asyncio
import http.client
import socket
import webbrowser
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.cluster import (
    CommandError,
    add_server_arguments,
    called,
    execute_in_cluster,
    find_server,
)
from tracking_operator.cli.terminal import complain, say
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import POD, KubeObject
from tracking_operator.kube.port_forward import PodPort, PortForwardError, carry
from tracking_operator.naming import CONTAINER_PORT
from tracking_operator.resources.labels import pod_selector, selector_text

SUMMARY = "Open a TrackingServer in the browser, through the API server."
EXAMPLES = """examples:
  %(prog)s mlflow                          # in the kubeconfig's namespace, at http://localhost:7006
  %(prog)s mlflow -n team-a --port 7007    # beside another one
  %(prog)s mlflow -n team-a --no-browser   # only the port, for MLFLOW_TRACKING_URI=http://localhost:7006

It runs until Ctrl-C. The kubeconfig's user needs the verbs get on trackingservers, list on pods, and get and create on
pods/portforward in that namespace."""

HOST = "127.0.0.1"
HOST_OF_IPV6 = "::1"
PORT = 7006
SECONDS_TO_ANSWER = 60
TRIES = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_server_arguments(parser)
    parser.add_argument("--port", type=_port, default=PORT, help="of this machine (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def execute(options: argparse.Namespace) -> int:
    """Forward until Ctrl-C; the exit code is 0 then, 1 if the server cannot be opened."""

    async def work(client: KubeClient, namespace: str) -> None:
        await _open(client, await find_server(client, namespace, options.name), options)

    try:
        return execute_in_cluster(options, work)
    except KeyboardInterrupt:
        print()
        return 0


async def _open(client: KubeClient, server: TrackingServer, options: argparse.Namespace) -> None:
    forwarding = Forwarding(client, server)
    await forwarding.find_pod()
    async with await listen(forwarding, options.port) as listener:
        url = local_url(server, options.port)
        asks_for_login = await asyncio.to_thread(_asks_for_login, url)
        say(introduction(server, url, asks_for_login=asks_for_login))
        if not options.no_browser:
            await asyncio.to_thread(webbrowser.open, url)
        await listener.serve_forever()


@dataclass
class Forwarding:
    """Connections of this machine to any ready pod of a server."""

    client: KubeClient
    server: TrackingServer

    async def find_pod(self) -> PodPort:
        """A ready pod of the server. Raises CommandError: there is none; the message has the server's own words."""
        namespace, name = self.server.metadata.namespace, self.server.metadata.name
        pods = await self.client.list(POD, namespace, selector_text(pod_selector(name)))
        for pod in pods:
            if is_ready(pod):
                return PodPort(namespace, pod["metadata"]["name"], CONTAINER_PORT)
        raise CommandError(no_pod(self.server))

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection to a pod; one that cannot be carried is closed, and the reason printed."""
        try:
            await self._carry(reader, writer)
        except (ApiError, CommandError, PortForwardError) as error:
            complain(f"A connection failed: {error}")
        except ConnectionError:
            pass  # the browser has left
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A pod may go between being found and being asked: then another is looked for, once."""
        for tries_left in reversed(range(TRIES)):
            try:
                return await carry(self.client, await self.find_pod(), reader, writer)
            except ApiError:
                if not tries_left:
                    raise
        return None


def is_ready(pod: KubeObject) -> bool:
    """Whether a pod serves and will go on doing so."""
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def no_pod(server: TrackingServer) -> str:
    """Why there is no pod to open, and what would help."""
    if server.spec.suspend or server.spec.replicas == 0:
        return (
            f"{called(server)} is suspended, so no pod runs."
            " Set spec.suspend to false and spec.replicas to 1 or more, then open it again."
        )
    ready = server.status.condition(ConditionType.READY)
    if ready is None:
        return f"No pod of {called(server)} is ready, and nobody has looked at it yet: does the operator run?"
    return f"No pod of {called(server)} is ready ({ready.reason}): {ready.message}"


def local_url(server: TrackingServer, port: int) -> str:
    """The server's address on this machine, under the path that it has everywhere."""
    address = server.status.address
    path = urlsplit(address.url or "").path if address else ""
    return f"http://localhost:{port}{path.rstrip('/')}/"


def introduction(server: TrackingServer, url: str, *, asks_for_login: bool) -> str:
    """Where the server is now, and how to learn the passwords if it asks for one."""
    namespace, name = server.metadata.namespace, server.metadata.name
    opened = f"{called(server)} is at\n\n    {url}\n"
    if not asks_for_login:
        return f"{opened}\nCtrl-C ends this."
    administrator = login_command(namespace, f"{name}-auth", "username", "password")
    everybody = login_command(
        namespace, f"{name}-client", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
    )
    return (
        f"{opened}\nUser and password of the team's jobs:\n\n    {everybody}\n"
        f"\nand of the administrator:\n\n    {administrator}\n\nCtrl-C ends this."
    )


def login_command(
    namespace: str, secret: str, user_key: str, password_key: str, kubectl: str = "kubectl"
) -> str:
    """What prints a user and a password from a Secret, on one line."""
    template = (
        f'{{{{.data.{user_key} | base64decode}}}} {{{{.data.{password_key} | base64decode}}}}{{{{"\\n"}}}}'
    )
    return f"{kubectl} --namespace {namespace} get secret {secret} --output go-template='{template}'"


async def listen(forwarding: Forwarding, port: int) -> asyncio.Server:
    """Listen at the port of every address that ``localhost`` may mean, so that nobody else answers there.

    Raises CommandError: somebody has it.
    """
    try:
        return await asyncio.start_server(forwarding.take, loopback_addresses(), port)
    except OSError as error:
        raise CommandError(
            f"Port {port} of this machine cannot be used: {error.strerror}. Choose another one with --port."
        ) from error


def loopback_addresses() -> list[str]:
    """The addresses that ``localhost`` may mean on this machine, which may know no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((HOST_OF_IPV6, 0))
    except OSError:
        return [HOST]
    return [HOST, HOST_OF_IPV6]


def _asks_for_login(url: str) -> bool:
    """Ask the server for its page as somebody whom it does not know. Raises CommandError: it does not answer."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(HOST, place.port, timeout=SECONDS_TO_ANSWER)
    try:
        connection.request("GET", place.path, headers={"Host": place.netloc})
        return connection.getresponse().status == HTTPStatus.UNAUTHORIZED
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"The server does not answer through the API server: {error!r}.") from error
    finally:
        connection.close()


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port
