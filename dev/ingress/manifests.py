"""The objects of a Traefik in the cluster: templates in `manifests/`, filled in."""

import json
from pathlib import Path
from string import Template

from dev.ingress.image import IMAGE

MANIFESTS = Path(__file__).parent / "manifests"
NAME = "traefik"
CLASS_NAME = "traefik"
"""Of the IngressClass and of the GatewayClass."""
HTTP_PORT = 30080
HTTPS_PORT = 30443
"""At the node's address."""


def controller_manifests(namespace: str, node_address: str, *, gateway: bool) -> str:
    """Everything that runs Traefik, as one YAML stream; Ingresses get `node_address` into their status."""
    return _filled_in(
        "traefik.yaml",
        namespace=namespace,
        image=IMAGE,
        arguments=json.dumps(arguments(node_address, gateway=gateway)),
        http_port=HTTP_PORT,
        https_port=HTTPS_PORT,
    )


def gateway_manifests(namespace: str) -> str:
    """A GatewayClass and a Gateway `traefik` whose listener `web` takes routes of all namespaces."""
    return _filled_in("gateway.yaml", namespace=namespace)


def arguments(node_address: str, *, gateway: bool) -> list[str]:
    """Traefik's command line (https://doc.traefik.io/traefik/v3.5/reference/install-configuration/)."""
    return [
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--ping=true",
        "--ping.entryPoint=ping",
        "--entryPoints.ping.address=:8080",
        "--entryPoints.web.address=:80",
        "--entryPoints.websecure.address=:443",
        "--entryPoints.websecure.http.tls=true",
        # Left alone, a request whose body takes longer than 60 s is cut off: a large artifact over a slow line.
        "--entryPoints.web.transport.respondingTimeouts.readTimeout=0",
        "--entryPoints.websecure.transport.respondingTimeouts.readTimeout=0",
        "--providers.kubernetesIngress=true",
        f"--providers.kubernetesIngress.ingressEndpoint.ip={node_address}",
        *(_gateway_arguments(node_address) if gateway else ()),
    ]


def _gateway_arguments(node_address: str) -> list[str]:
    return [
        "--providers.kubernetesGateway=true",
        f"--providers.kubernetesGateway.statusAddress.ip={node_address}",
    ]


def _filled_in(file: str, **values: object) -> str:
    return Template((MANIFESTS / file).read_text(encoding="utf-8")).substitute(
        class_name=CLASS_NAME, **values
    )
