"""Whom a server's own pod can connect to: tried from a pod with its labels, which its NetworkPolicy cannot tell from it."""

import time
from typing import Final

from tracking_operator.isolation.attempts import Area, Book
from tracking_operator.isolation.in_pod.network import CONTAINER_PORT, HEALTH_PORT, METADATA, SILENCE, connect
from tracking_operator.isolation.in_pod.scene import Scene

BOOK: Final = Book[Scene](Area.NETWORK)
SERVER: Final = "from the server's own pod"
SECONDS_TO_BE_KNOWN: Final = 10.0


def connect_once_known(*targets: tuple[str, int]) -> str:
    """Connect as a pod that has run for a while: a network plug-in may let a new one through until it knows its labels."""
    deadline = time.monotonic() + SECONDS_TO_BE_KNOWN
    while time.monotonic() < deadline:
        connect(*targets)
        time.sleep(0.5)
    return connect(*targets)


@BOOK.attempt(
    "from-server-metadata",
    f"connect to {METADATA[0]}, {SERVER}",
    against="the node's cloud identity",
    refusal=SILENCE,
)
def reach_metadata(_scene: Scene) -> str:
    """Where clouds hand out the credentials of a node."""
    return connect_once_known(METADATA)


@BOOK.attempt(
    "from-server-api", f"connect to the API server, {SERVER}", against="Kubernetes", refusal=SILENCE
)
def reach_api_server(_scene: Scene) -> str:
    """A tracking server has nothing to do with Kubernetes."""
    return connect_once_known(("kubernetes.default.svc", 443))


@BOOK.attempt(
    "from-server-pod",
    f"connect to the other server's pod, {SERVER}",
    against="another team's server",
    refusal=SILENCE,
)
def reach_anothers_pod(scene: Scene) -> str:
    """Code that runs in one MLflow does not reach the next."""
    return connect_once_known((scene.other.pod, CONTAINER_PORT))


@BOOK.attempt(
    "from-server-operator", f"connect to the operator, {SERVER}", against="the operator", refusal=SILENCE
)
def reach_operator(scene: Scene) -> str:
    """The operator asks servers, and not the other way round."""
    return connect_once_known(*((address, HEALTH_PORT) for address in scene.operator_pods))
