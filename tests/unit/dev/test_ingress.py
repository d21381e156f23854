"""What Traefik is run with in the development cluster."""

from typing import Any

import yaml

from dev.ingress.image import IMAGE
from dev.ingress.manifests import controller_manifests, gateway_manifests
from dev.local_cluster.versions import pinned

ADDRESS = "10.0.0.2"


def objects(*, gateway: bool = False) -> dict[str, Any]:
    """The controller's objects by their kind."""
    return {
        one["kind"]: one
        for one in yaml.safe_load_all(controller_manifests("traefik", ADDRESS, gateway=gateway))
    }


def pod(**options: bool) -> dict[str, Any]:
    spec: dict[str, Any] = objects(**options)["Deployment"]["spec"]["template"]["spec"]
    return spec


def arguments(**options: bool) -> list[str]:
    found: list[str] = pod(**options)["containers"][0]["args"]
    return found


def test_the_image_is_of_the_pinned_version() -> None:
    assert IMAGE.endswith(f"/traefik:{pinned('traefik')}")
    assert pod()["containers"][0]["image"] == IMAGE


def test_its_namespace_enforces_the_restricted_standard_and_its_pod_is_made_for_it() -> None:
    labels = objects()["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod()["securityContext"]["runAsNonRoot"] is True
    (container,) = pod()["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [port for port in container["ports"] if "hostPort" in port]


def test_ingresses_get_the_nodes_address_into_their_status() -> None:
    assert f"--providers.kubernetesIngress.ingressEndpoint.ip={ADDRESS}" in arguments()


def test_no_upload_is_too_slow_for_it() -> None:
    for entry_point in ("web", "websecure"):
        assert f"--entryPoints.{entry_point}.transport.respondingTimeouts.readTimeout=0" in arguments()


def test_it_watches_routes_only_where_their_definitions_are() -> None:
    assert not [argument for argument in arguments() if "Gateway" in argument]
    assert "--providers.kubernetesGateway=true" in arguments(gateway=True)


def test_the_gateways_listener_is_at_the_port_of_an_entry_point() -> None:
    gateway_class, gateway = yaml.safe_load_all(gateway_manifests("traefik"))
    (listener,) = gateway["spec"]["listeners"]
    assert f"--entryPoints.{listener['name']}.address=:{listener['port']}" in arguments()
    assert gateway["spec"]["gatewayClassName"] == gateway_class["metadata"]["name"]
