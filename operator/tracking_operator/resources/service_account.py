"""The ServiceAccount that a server's pods run as."""

from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_service_account(server: ServerModel) -> KubeObject:
    """Build an account that Kubernetes grants nothing; its annotations may name a cloud identity."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owned_metadata(
            server,
            server.names.workload,
            SERVER_COMPONENT,
            server.service_account_annotations | dict(server.artifact_store.pod_parts().account_annotations),
        ),
        "automountServiceAccountToken": False,
    }
