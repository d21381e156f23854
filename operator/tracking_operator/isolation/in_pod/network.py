"""Whom a team's pod can connect to, and whom a pod that looks like its server's can."""

import socket
from typing import Final

from tracking_operator.isolation.attempts import Area, Book, By, CannotTryError, Refused
from tracking_operator.isolation.in_pod.scene import Scene

BOOK: Final = Book[Scene](Area.NETWORK)
SECONDS: Final = 3.0
CONTAINER_PORT: Final = 5000
METRICS_PORT_OF_SERVER: Final = 5001
METRICS_PORT: Final = 8080
HEALTH_PORT: Final = 8081
METADATA: Final = ("169.254.169.254", 80)
SILENCE: Final = "timed out|refused|unreachable|no route"


def connect(*targets: tuple[str, int]) -> str:
    """Connect to each. Raises Refused: nobody let us in; CannotTryError: there is nobody to connect to."""
    said = []
    for host, port in targets:
        if not host:
            continue
        try:
            socket.create_connection((host, port), SECONDS).close()
        except socket.gaierror as error:
            raise CannotTryError(f"{host}: {error}") from error
        except OSError as error:
            said.append(f"{port}: {error}")
        else:
            return f"connected to port {port}"
    if not said:
        raise CannotTryError("there is nothing to connect to")
    raise Refused("; ".join(said))


@BOOK.attempt("own", "connect to the Service and to the pod", against="its own server")
def reach_own(scene: Scene) -> str:
    """The control: the network works, and the server listens."""
    return connect((scene.own.service, 80))


@BOOK.attempt("service", "connect to the Service", against="another team's server", refusal=SILENCE)
def reach_anothers_service(scene: Scene) -> str:
    """The NetworkPolicy of that server lets in its own namespace."""
    return connect((scene.other.service, 80))


@BOOK.attempt("pod", "connect to the pod itself", against="another team's server", refusal=SILENCE)
def reach_anothers_pod(scene: Scene) -> str:
    """A pod's address is no way around."""
    return connect((scene.other.pod, CONTAINER_PORT))


@BOOK.attempt(
    "metrics-of-server", "connect to port 5001 of the pod", against="another team's server", refusal=SILENCE
)
def reach_anothers_metrics(scene: Scene) -> str:
    """Only whom the class lets read metrics gets there, and nobody where there are none."""
    return connect((scene.other.pod, METRICS_PORT_OF_SERVER))


@BOOK.attempt("health", "connect to port 8081", against="the operator", by=By.STRANGER, refusal=SILENCE)
def reach_health(scene: Scene) -> str:
    """Only the kubelet asks there, and it comes from the node."""
    return connect(*((address, HEALTH_PORT) for address in scene.operator_pods))


@BOOK.attempt("metrics", "connect to port 8080", against="the operator", by=By.STRANGER, refusal=SILENCE)
def reach_metrics(scene: Scene) -> str:
    """Only monitoring reads metrics."""
    return connect(*((address, METRICS_PORT) for address in scene.operator_pods))
