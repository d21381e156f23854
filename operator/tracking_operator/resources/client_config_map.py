"""The ConfigMap of a server: the settings that its clients read."""

from typing import Final

from tracking_operator.resources.labels import CLIENT_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel

PORT_VARIABLE: Final = "MLFLOW_PORT"
PORT: Final = "5000"

QUIET: Final = {
    # A pod without git gets 45 lines of warnings from GitPython, which MLflow imports (git/cmd.py).
    "GIT_PYTHON_REFRESH": "quiet",
    # "View run at …" names the tracking URI, which is the Service: no browser outside of the cluster opens it.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
BROWSER_URL_VARIABLE: Final = "TRACKING_SERVER_URL"
"""The address for people. MLflow has no variable for it (3.16.1 to 3.18.0), so this name is ours: programs print it."""


def build_client_config_map(server: ServerModel) -> KubeObject:
    """Build what a client pod in the same namespace takes by ``envFrom``: no secrets.

    Clients that reach the object store themselves are told where it is. A CA is not among it: an environment holds no file.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned_metadata(server, server.names.client, CLIENT_COMPONENT),
        "data": {"MLFLOW_TRACKING_URI": server.service_url, BROWSER_URL_VARIABLE: server.url}
        | QUIET
        | _artifact_settings(server)
        | _port_of_mlflow(server),
    }


def _port_of_mlflow(server: ServerModel) -> dict[str, str]:
    """The port that MLflow itself would take, for pods in which Kubernetes would name another one.

    A Service called ``mlflow`` gives later pods of its namespace ``MLFLOW_PORT=tcp://…``, unless they have no service links;
    ``mlflow server`` and ``mlflow models serve`` read it as their port (mlflow/cli, option --port). What ``envFrom`` brings counts more.
    """
    is_read_by_mlflow = f"{server.name.upper().replace('-', '_')}_PORT" == PORT_VARIABLE
    return {PORT_VARIABLE: PORT} if is_read_by_mlflow else {}


def _artifact_settings(server: ServerModel) -> dict[str, str]:
    return {} if server.proxied else dict(server.artifact_store.client_parts().variables)
