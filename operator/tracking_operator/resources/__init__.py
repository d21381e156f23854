"""Pure builders of the Kubernetes objects that make up one tracking server, one file per kind."""

from tracking_operator.resources.client_config_map import build_client_config_map
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.http_route import build_http_route
from tracking_operator.resources.ingress import build_ingress
from tracking_operator.resources.network_policy import build_network_policies
from tracking_operator.resources.persistent_volume_claims import build_persistent_volume_claims
from tracking_operator.resources.pod_disruption_budget import build_pod_disruption_budget
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.service import build_service
from tracking_operator.resources.service_account import build_service_account


def build_objects(server: ServerModel) -> list[KubeObject]:
    """Build the full desired set: whatever is not in it, and belongs to the server, is pruned."""
    optional = (build_pod_disruption_budget(server), build_ingress(server), build_http_route(server))
    return [
        build_service_account(server),
        *build_network_policies(server),
        *build_persistent_volume_claims(server),
        build_deployment(server),
        build_service(server),
        build_client_config_map(server),
        *(obj for obj in optional if obj),
    ]
