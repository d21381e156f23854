"""The ConfigMap of a server: the settings that its clients read."""

from tracking_operator.resources.labels import CLIENT_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_client_config_map(server: ServerModel) -> KubeObject:
    """Build what a client pod in the same namespace takes by ``envFrom``: no secrets.

    Clients that reach the object store themselves are told where it is. A CA is not among it: an environment holds no file.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned_metadata(server, server.names.client, CLIENT_COMPONENT),
        "data": {"MLFLOW_TRACKING_URI": server.service_url} | _artifact_settings(server),
    }


def _artifact_settings(server: ServerModel) -> dict[str, str]:
    return {} if server.proxied else dict(server.artifact_store.client_parts().variables)
