"""The training and the prediction of the demo: two programs that know only an address and a login."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.demo.failures import DemoError
from dev.demo.jobs import Program, run_job
from dev.development_cluster import DevelopmentCluster
from tracking_operator.api.tracking_server import TrackingServer

FOLDER = Path(__file__).parent

# What train.py and predict.py write and read; they are programs of their own, so nothing can be imported from them.
EXPERIMENT = "wine"
MODEL = "wine-alcohol"
ALIAS = "staging"


def train(
    cluster: DevelopmentCluster, server: TrackingServer, *, commit: str, alphas: Sequence[float] = ()
) -> str:
    """Log one model per alpha (train.py's own if none is given), call the best one `staging`; return the log.

    Each run carries `commit` as a tag, unless it is empty.

    Raises:
        DemoError: the training fails.
    """
    arguments = ["--alphas", *(f"{alpha:g}" for alpha in alphas)] if alphas else []
    environment = {"GIT_COMMIT": commit} if commit else {}
    program = _program(cluster, server, "train", arguments, environment)
    return run_job(cluster, server.metadata.namespace, program)


def predict(cluster: DevelopmentCluster, server: TrackingServer) -> str:
    """Load the model by its alias, in another pod, and predict with it; return the log.

    Raises:
        DemoError: the prediction fails.
    """
    return run_job(cluster, server.metadata.namespace, _program(cluster, server, "predict"))


def git_commit() -> str:
    """The commit of this working tree; empty where there is none, as in an unpacked archive."""
    command = ["git", "-C", str(FOLDER), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


def _program(
    cluster: DevelopmentCluster,
    server: TrackingServer,
    name: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Program:
    if server.status.client is None or server.status.client.config_map_name is None:
        raise DemoError(
            f"TrackingServer {server.metadata.name} names no ConfigMap for clients in its status."
        )
    return Program(
        name=name,
        file=FOLDER / f"{name}.py",
        client=server.status.client.config_map_name,
        login=server.status.client.secret_name or "",
        image=_image_of(cluster, server),
        arguments=arguments,
        environment=environment or {},
    )


def _image_of(cluster: DevelopmentCluster, server: TrackingServer) -> str:
    """The server's own image: it is on the node, and has scikit-learn because MLflow needs it."""
    path = "--output=jsonpath={.spec.template.spec.containers[0].image}"
    place = ("--namespace", server.metadata.namespace)
    return cluster.kubectl("get", "deployment", server.metadata.name, *place, path)
