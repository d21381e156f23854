"""Bringing an Ingress controller into the cluster, and taking it out again."""

import subprocess

from dev.development_cluster import DevelopmentCluster
from dev.ingress.controller import ClusterIngress
from dev.ingress.gateway_api import deploy_gateway_api
from dev.ingress.image import traefik_archive
from dev.ingress.manifests import CLASS_NAME, NAME, controller_manifests, gateway_manifests
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.progress import step

SECONDS_TO_START = 120
INTERNAL_ADDRESS = '{.items[0].status.addresses[?(@.type=="InternalIP")].address}'


def deploy_ingress_controller(
    cluster: DevelopmentCluster, *, namespace: str = "traefik", gateway: bool = False
) -> ClusterIngress:
    """Run Traefik in a namespace of its own, or keep it as it is, with an IngressClass `traefik`.

    With `gateway` it serves routes, too: the Gateway API's definitions are installed, and a Gateway `traefik`.

    Raises:
        ClusterError: it is not ready in time; the message says what its log says.
    """
    cluster.load_docker_image(traefik_archive())
    if gateway:
        deploy_gateway_api(cluster)
    with step(f"Traefik in namespace {namespace}"):
        ingress = ClusterIngress(cluster, namespace, node_address(cluster))
        wanted = controller_manifests(namespace, ingress.node_address, gateway=gateway)
        _apply(cluster, wanted)
        if gateway:
            _apply(cluster, gateway_manifests(namespace))
        _wait_until_it_runs(ingress)
    return ingress


def remove_ingress_controller(cluster: DevelopmentCluster, *, namespace: str = "traefik") -> None:
    """Remove Traefik and its IngressClass; nothing happens if there is none. The Gateway API's definitions stay."""
    with step(f"remove Traefik from namespace {namespace}"):
        cluster.kubectl("delete", "--ignore-not-found", "namespace", namespace)
        for kind, name in (("ingressclass", CLASS_NAME), ("clusterrolebinding", NAME), ("clusterrole", NAME)):
            cluster.kubectl("delete", "--ignore-not-found", kind, name)


def node_address(cluster: DevelopmentCluster) -> str:
    """The address of the cluster's only node."""
    return cluster.kubectl("get", "nodes", f"--output=jsonpath={INTERNAL_ADDRESS}").split()[0]


def _apply(cluster: DevelopmentCluster, manifests: str) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)


def _wait_until_it_runs(ingress: ClusterIngress) -> None:
    rollout = ("rollout", "status", f"deployment/{NAME}", "--namespace", ingress.namespace)
    try:
        ingress.cluster.kubectl(*rollout, f"--timeout={SECONDS_TO_START}s")
    except subprocess.CalledProcessError as error:
        events = ingress.cluster.kubectl("events", "--namespace", ingress.namespace)
        raise ClusterError(
            f"Traefik in namespace {ingress.namespace} does not run: {error.stderr.strip()}\n{events}{ingress.log()}"
        ) from error
