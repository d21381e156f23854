"""The Service in front of a server's pods."""

from tracking_operator.naming import SERVICE_PORT
from tracking_operator.resources.labels import SERVER_COMPONENT, pod_selector
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_service(server: ServerModel) -> KubeObject:
    """Build the in-cluster address: port 80, named ``http``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned_metadata(server, server.names.workload, SERVER_COMPONENT),
        "spec": {
            "type": "ClusterIP",
            "selector": pod_selector(server.name),
            "ports": [{"name": "http", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "http"}],
            "externalIPs": [],  # stated, so that an address that somebody adds is taken away again
            "publishNotReadyAddresses": False,
        },
    }
