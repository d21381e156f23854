"""An Ingress controller in the development cluster, Traefik, for the demo, tests and measurements; and the Gateway API."""

from dev.ingress.controller import ClusterIngress
from dev.ingress.deployment import deploy_ingress_controller, remove_ingress_controller
from dev.ingress.gateway_api import deploy_gateway_api, remove_gateway_api

__all__ = [
    "ClusterIngress",
    "deploy_gateway_api",
    "deploy_ingress_controller",
    "remove_gateway_api",
    "remove_ingress_controller",
]
