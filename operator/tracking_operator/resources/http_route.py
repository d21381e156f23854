"""The HTTPRoute that leads requests from a Gateway to a server's Service."""

from collections.abc import Sequence

from tracking_operator.api.server_access import GatewayReference
from tracking_operator.naming import SERVICE_PORT
from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_address import Address
from tracking_operator.resources.server_model import KubeObject, ServerModel

GATEWAY_GROUP = "gateway.networking.k8s.io"


def build_http_route(server: ServerModel) -> KubeObject | None:
    """Build the HTTPRoute; None where the class names no Gateway.

    What the API defaults is stated, so that a change by hand is one.
    """
    gateway = server.access.routing.gateway
    if gateway is None:
        return None
    addresses = _routed(server)
    return {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": owned_metadata(server, server.names.workload, SERVER_COMPONENT),
        "spec": {
            "parentRefs": [_parent(gateway)],
            "hostnames": sorted({host for address in addresses for host in address.hosts}),
            "rules": [_rule(server, path) for path in sorted({address.path for address in addresses})],
        },
    }


def _routed(server: ServerModel) -> Sequence[Address]:
    """The addresses to lead to the server.

    All hosts of a route have all of its paths: those of two addresses that have neither in common would make places
    that are not the server's. Such a server is led to at its old address until it answers at the new one.
    """
    addresses = server.access.addresses
    is_exact = len({one.host for one in addresses}) == 1 or len({one.path for one in addresses}) == 1
    return addresses if is_exact else addresses[:1]


def _parent(gateway: GatewayReference) -> KubeObject:
    optional = {
        "namespace": gateway.namespace,
        "sectionName": gateway.section_name,
        "port": gateway.port,
    }
    parent: KubeObject = {"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway.name}
    return parent | {field: value for field, value in optional.items() if value is not None}


def _rule(server: ServerModel, path: str) -> KubeObject:
    backend = {
        "group": "",
        "kind": "Service",
        "name": server.names.workload,
        "port": SERVICE_PORT,
        "weight": 1,
    }
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": [backend]}
