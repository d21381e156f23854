"""The Ingress that leads requests from outside to a server's Service."""

from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_ingress(server: ServerModel) -> KubeObject | None:
    """Build the Ingress; None where the class offers none.

    While the server moves to another address there are rules for both, so that a controller or cert-manager has the
    certificate of a new host before anybody uses it.
    """
    ingress = server.access.routing.ingress
    if ingress is None:
        return None
    rules = _rules(server)
    spec: KubeObject = {
        "rules": rules,
        "tls": _tls(server, [rule["host"] for rule in rules]) if ingress.tls else [],
    }
    if ingress.class_name:
        spec["ingressClassName"] = ingress.class_name
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": owned_metadata(
            server, server.names.workload, SERVER_COMPONENT, dict(ingress.annotations)
        ),
        "spec": spec,
    }


def _rules(server: ServerModel) -> list[KubeObject]:
    """One rule for each host, with the paths that are the server's there."""
    places = sorted({place for address in server.access.addresses for place in address.places})
    return [
        {
            "host": host,
            "http": {"paths": [_path(server, path) for one, path in places if one == host]},
        }
        for host in dict.fromkeys(host for host, _ in places)
    ]


def _tls(server: ServerModel, hosts: list[str]) -> list[KubeObject]:
    secret = server.access.routing.tls_secret
    return [{"hosts": hosts, "secretName": secret} if secret else {"hosts": hosts}]


def _path(server: ServerModel, path: str) -> KubeObject:
    service = {"name": server.names.workload, "port": {"name": "http"}}
    return {"path": path, "pathType": "Prefix", "backend": {"service": service}}
