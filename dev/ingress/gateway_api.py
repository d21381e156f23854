"""The definitions of the Gateway API, from the module that its project publishes."""

import shutil
from pathlib import Path

from dev.development_cluster import DevelopmentCluster
from dev.local_cluster import go
from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.progress import step
from dev.local_cluster.versions import pinned

NAME = "gateway-api"
FOLDER = "config/crd/standard"
DEFINITIONS = "*.k8s.io_*.yaml"
HTTP_ROUTES = "crd/httproutes.gateway.networking.k8s.io"


def deploy_gateway_api(cluster: DevelopmentCluster) -> None:
    """Install the definitions of its standard channel: HTTPRoute, Gateway, GatewayClass and what Traefik watches beside."""
    with step("Gateway API"):
        cluster.kubectl("apply", "--server-side", "-f", str(definitions()))
        # A definition that is milliseconds old has `conditions: null`, at which waiting for a condition fails.
        cluster.kubectl("wait", "--for=jsonpath={.status.acceptedNames.kind}", "--timeout=60s", HTTP_ROUTES)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", HTTP_ROUTES)


def remove_gateway_api(cluster: DevelopmentCluster) -> None:
    """Remove the definitions, and with them every Gateway and route; nothing happens if there are none."""
    with step("remove the Gateway API"):
        cluster.kubectl("delete", "--ignore-not-found", "-f", str(definitions()))


def definitions() -> Path:
    """A folder with one YAML file per definition; downloaded when it is not in the cache."""
    key = f"{pinned(NAME)}-{digest_of([pinned(NAME, 'sum')])}"
    return built_once(NAME, key, _download)


def _download(folder: Path) -> None:
    source = folder / "source"
    go.download_module(pinned(NAME, "module"), pinned(NAME), pinned(NAME, "sum"), source)
    for file in (source / FOLDER).glob(DEFINITIONS):
        shutil.copy(file, folder)
    shutil.rmtree(source)
