"""Who a server's pods are connected with, in words that a NetworkPolicy knows. Pure.

A NetworkPolicy knows no host names, and its rules see addresses after a Service has translated them. So a store behind a
Service of the cluster becomes the pods that this selects, at the port that they listen on; any other becomes its port,
wherever it is but at link-local addresses, where clouds hand out credentials of the node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tracking_operator.api.network_policy import NetworkPolicyEgressRule, NetworkPolicyPeer

MAX_LABEL_LENGTH: Final = 63

Port = int | str
"""A number, or the name of a port of the pods that are meant."""


@dataclass(frozen=True)
class Endpoint:
    """Where a store says that it is; the host is empty where only the port is known."""

    host: str
    port: int


@dataclass(frozen=True)
class ServiceName:
    """A Service, by namespace and name."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Pods:
    """Pods of a namespace, by their labels."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Destination:
    """Something to connect to: pods, or addresses by family; without either, everything that is not link-local."""

    ports: tuple[Port, ...]
    pods: Pods | None = None
    addresses: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Destinations:
    """Where the pods of a server have to connect to for its stores."""

    backend_store: tuple[Destination, ...]
    artifact_store: tuple[Destination, ...]
    identity_provider: tuple[Destination, ...] = ()
    """Where the proxy goes that logs people in; nowhere without one."""
    is_known: bool = True
    """Whether all that names a store could be read; if not, the usual ports stand for what is missing."""


@dataclass(frozen=True)
class Network:
    """What the server's NetworkPolicies let through, beside what its stores need."""

    operator_namespace: str = "tracking-operator-system"
    """The namespace of the operator's pods, which ask whether the server answers."""
    ip_families: tuple[str, ...] = ("IPv4",)
    """The families of the cluster's addresses. There are implementations that fail at addresses of another."""
    ingress_from: tuple[NetworkPolicyPeer, ...] = ()
    """Who may connect to every server of the class."""
    metrics_from: tuple[NetworkPolicyPeer, ...] = ()
    """Who may read the metrics of every server of the class."""
    further_from: tuple[NetworkPolicyPeer, ...] = ()
    """Who may connect to this one."""
    client_namespaces: tuple[str, ...] = ()
    """The namespaces whose clients may connect to this one, asked and granted."""
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    """Where the class lets every server connect to."""


def anywhere(*ports: Port) -> Destination:
    """Ports wherever they are."""
    return Destination(ports)


def named_service(host: str, namespace: str, cluster_domain: str) -> ServiceName | None:
    """The Service that a host name may mean for pods of ``namespace``; None for what is certainly none."""
    name = host.lower().rstrip(".")
    for ending in (f".svc.{cluster_domain}", ".svc"):
        if name.endswith(ending):
            return _service_of(name.removesuffix(ending), None)
    return None if name == "localhost" or name.rpartition(".")[2].isdigit() else _service_of(name, namespace)


def _service_of(name: str, default_namespace: str | None) -> ServiceName | None:
    """Read ``service.namespace``, or ``service`` of the default namespace. A team may have written the name: it becomes
    part of a request's path, so it must be nothing but letters, digits and dashes.
    """
    service, dot, namespace = name.partition(".")
    place = namespace if dot else default_namespace
    return ServiceName(place, service) if place and _is_label(place) and _is_label(service) else None


def _is_label(text: str) -> bool:
    return text.isascii() and text.replace("-", "").isalnum() and len(text) <= MAX_LABEL_LENGTH


def is_certainly_a_service(host: str, cluster_domain: str) -> bool:
    """Whether a host name can be nothing but a Service's."""
    return host.lower().rstrip(".").endswith((".svc", f".svc.{cluster_domain}"))


def resolve(endpoint: Endpoint, service: Mapping[str, Any] | None, namespace: str) -> Destination:
    """What an address means for a NetworkPolicy; ``service`` of ``namespace`` is what its host names, if there is one.

    A Service without a selector (ExternalName, or with endpoints made by hand) may lead anywhere: its ports are let out
    to wherever they are.
    """
    spec = (service or {}).get("spec") or {}
    target = _target_port(spec, endpoint.port)
    selector: Mapping[str, str] = spec.get("selector") or {}
    if spec.get("type") == "ExternalName":
        return anywhere(endpoint.port)
    if selector:
        return Destination((target,), pods=Pods(namespace, selector))
    if isinstance(target, int) and target != endpoint.port:
        return anywhere(endpoint.port, target)
    return anywhere(endpoint.port)


def _target_port(spec: Mapping[str, Any], port: int) -> Port:
    """Where the pods behind a Service's port listen; a headless one translates nothing."""
    if spec.get("clusterIP") == "None":
        return port
    for one in spec.get("ports") or ():
        if one.get("port") == port and one.get("protocol", "TCP") == "TCP":
            target: Port = one.get("targetPort") or port
            return target
    return port
