"""``kubectl tracking env``: address, user and password of a server, as a shell takes them."""

import argparse
import shlex
from typing import Final

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.cluster import (
    CommandError,
    add_server_arguments,
    called,
    execute_in_cluster,
    find_server,
)
from tracking_operator.cli.terminal import complain
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import SECRET
from tracking_operator.resources.client_secret import PASSWORD_KEY, USERNAME_KEY, client_login_in

SUMMARY = "Print address, user and password of a TrackingServer for a shell to take."
EXAMPLES = """examples:
  eval "$(%(prog)s tracking -n team-a)"                              # then programs of this shell log to the server
  eval "$(%(prog)s tracking -n team-a --url http://localhost:7006)"  # where `open` has brought it to this machine

It prints a password: not for logs. The kubeconfig's user needs the verb get on trackingservers, and on secrets in that
namespace where the server has a login."""

URL_VARIABLE: Final = "MLFLOW_TRACKING_URI"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_server_arguments(parser)
    parser.add_argument("--url", help="another address than the one in the server's status")


def execute(options: argparse.Namespace) -> int:
    """Print the variables; the exit code is 1, and nothing is printed, if one of them is not known."""

    async def work(client: KubeClient, namespace: str) -> None:
        server = await find_server(client, namespace, options.name)
        variables = {URL_VARIABLE: options.url or address_of(server)} | await read_login(client, server)
        if not options.url and is_for_pods_only(server):
            complain("This is an address for pods. `open` brings the server to this machine; then say --url.")
        print(exports(variables))

    return execute_in_cluster(options, work)


async def read_login(client: KubeClient, server: TrackingServer) -> dict[str, str]:
    """User and password for programs; nothing where the server has no login.

    Nothing else is taken of the Secret: a team may write any variable into it, such as PATH.
    Raises CommandError: the Secret, or what should be in it, is missing; ApiError: it must not be read.
    """
    name = server.status.client.secret_name if server.status.client else None
    if name is None:
        return {}
    secret = await client.get(SECRET, server.metadata.namespace, name)
    login = client_login_in(secret)
    if login is not None:
        return {USERNAME_KEY: login.username, PASSWORD_KEY: login.password}
    if secret is not None and PASSWORD_KEY not in secret.get("data", {}):
        return {}
    raise CommandError(
        f"Secret {name} of {called(server)} is missing, or holds no password that can be read. "
        "The operator puts that right: try again in a minute."
    )


def address_of(server: TrackingServer) -> str:
    """Where people reach the server. Raises CommandError: nobody knows yet."""
    if not server.status.url:
        raise CommandError(
            f"{called(server)} has no address yet: `kubectl tracking status {server.metadata.name} "
            f"-n {server.metadata.namespace}` says what it waits for."
        )
    return server.status.url


def is_for_pods_only(server: TrackingServer) -> bool:
    """Whether the server has no address but that of its Service."""
    address = server.status.address
    return address is not None and address.url == server.status.url


def exports(variables: dict[str, str]) -> str:
    """Lines that a POSIX shell takes, whatever the values are. Pure."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
