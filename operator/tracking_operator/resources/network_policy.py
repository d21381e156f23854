"""Who may connect to a server's pods, and where these and the pods of its Jobs may connect to."""

from collections.abc import Iterable, Sequence
from typing import Final

from tracking_operator.api.kubernetes_types import LabelSelector
from tracking_operator.api.network_policy import (
    NetworkPolicyEgressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from tracking_operator.naming import CONTAINER_PORT, METRICS_PORT
from tracking_operator.resources.destinations import Destination, Destinations, Port
from tracking_operator.resources.labels import (
    ARTIFACT_CHECK_COMPONENT,
    ARTIFACT_DELETION_COMPONENT,
    BACKUP_COMPONENT,
    GARBAGE_COMPONENT,
    MIGRATION_COMPONENT,
    RESTORE_COMPONENT,
    SERVER_COMPONENT,
    TRIAL_COMPONENT,
    jobs_selector,
    pod_selector,
)
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.store_endpoints import unresolved

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""The label with which Kubernetes itself marks every namespace."""

OPERATOR_PODS: Final = {"app.kubernetes.io/name": "tracking-operator"}
"""The labels of the operator's pods, in manifests/base/deployment.yaml."""

DNS_PORTS: Final = (53, 5353)
"""5353: where DNS servers listen that may not use a port below 1024, behind a Service that does."""

EVERYWHERE: Final = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
METADATA: Final = {
    "IPv4": ("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"),
    "IPv6": ("fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128"),
}
"""Where nodes get their credentials: link-local addresses, as in nearly every cloud, and those of Alibaba, Azure, AWS and
Google that are none."""


def build_network_policies(server: ServerModel) -> list[KubeObject]:
    """Build the policy of the pods that serve, and those of the pods of the server's Jobs."""
    policies = [build_server_policy(server)]
    if server.needs_migration_job or server.login is not None:
        policies.append(_build_migration_policy(server))
    if server.artifact_store.pod_parts().check_job_arguments:
        policies.append(build_artifact_jobs_policy(server))
    if server.garbage is not None:
        policies.append(_both_stores_policy(server, server.names.collect_garbage, GARBAGE_COMPONENT))
    return policies


def build_server_policy(server: ServerModel) -> KubeObject:
    """Build the policy of the pods that serve."""
    needed = _destinations(server)
    return _policy(
        server,
        server.names.workload,
        SERVER_COMPONENT,
        {"matchLabels": pod_selector(server.name)},
        ingress=[
            {"from": _who_may_connect(server), "ports": _ports((CONTAINER_PORT,))},
            *_way_to_metrics(server),
        ],
        egress=_egress(server, (*needed.backend_store, *needed.artifact_store, *needed.identity_provider)),
    )


def _build_migration_policy(server: ServerModel) -> KubeObject:
    """The Jobs that migrate, and reset the login, go to the database, and nobody to them."""
    return _policy(
        server,
        server.names.migration_policy,
        MIGRATION_COMPONENT,
        jobs_selector(server.name, MIGRATION_COMPONENT),
        ingress=[],
        egress=_egress(server, _destinations(server).backend_store),
    )


def build_artifact_jobs_policy(server: ServerModel) -> KubeObject:
    """Build the policy of the Jobs that go to the server's own prefix with its identity; nobody goes to them."""
    return _policy(
        server,
        server.names.artifact_jobs_policy,
        ARTIFACT_CHECK_COMPONENT,
        jobs_selector(server.name, ARTIFACT_CHECK_COMPONENT, ARTIFACT_DELETION_COMPONENT),
        ingress=[],
        egress=_egress(server, _destinations(server).artifact_store),
    )


def build_backup_policy(server: ServerModel) -> KubeObject:
    """Build the policy of the Job that backs a server up."""
    return _both_stores_policy(server, server.names.backup, BACKUP_COMPONENT)


def build_restore_policy(server: ServerModel) -> KubeObject:
    """Build the policy of the Job that fills a new server's stores from a backup."""
    return _both_stores_policy(server, server.names.restore, RESTORE_COMPONENT)


def build_trial_policy(server: ServerModel) -> KubeObject:
    """Build the policy of the Job that restores a backup for a trial."""
    return _both_stores_policy(server, server.names.trial, TRIAL_COMPONENT)


def _both_stores_policy(server: ServerModel, name: str, component: str) -> KubeObject:
    """A Job that goes to both stores, and nobody goes to it. Backups are in the bucket of the artifacts."""
    needed = _destinations(server)
    return _policy(
        server,
        name,
        component,
        jobs_selector(server.name, component),
        ingress=[],
        egress=_egress(server, (*needed.backend_store, *needed.artifact_store)),
    )


def _destinations(server: ServerModel) -> Destinations:
    return server.destinations or unresolved(server)


def _policy(
    server: ServerModel,
    name: str,
    component: str,
    selector: KubeObject,
    *,
    ingress: list[KubeObject],
    egress: list[KubeObject],
) -> KubeObject:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned_metadata(server, name, component),
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _who_may_connect(server: ServerModel) -> list[KubeObject]:
    """All pods of the server's namespace, the operator, whom class and server name, and the namespaces of clients."""
    own_namespace: KubeObject = {"podSelector": {}}
    operator = [_pods_of(server.network.operator_namespace, OPERATOR_PODS)] if server.is_probed else []
    named = [_peer(peer) for peer in (*server.network.ingress_from, *server.network.further_from)]
    clients = [
        {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: one}}}
        for one in server.network.client_namespaces
    ]
    return [own_namespace, *operator, *_without_repetitions([*named, *clients])]


def _way_to_metrics(server: ServerModel) -> list[KubeObject]:
    """The rule for those whom the class lets read metrics; none without them: no peers would mean everybody."""
    peers = _without_repetitions(_peer(peer) for peer in server.network.metrics_from)
    return [{"from": peers, "ports": _ports((METRICS_PORT,))}] if server.has_metrics and peers else []


def _egress(server: ServerModel, destinations: Iterable[Destination]) -> list[KubeObject]:
    """Name resolution, the destinations, and what the class adds.

    Names are asked for everywhere: the resolver may be pods, one at a link-local address of each node, or the cloud's,
    and whoever may ask any of them can carry data out in questions.
    """
    name_resolution: KubeObject = {"ports": _ports(DNS_PORTS, protocols=("UDP", "TCP"))}
    needed = [rule for one in destinations if (rule := _way_to(one, server.network.ip_families))]
    added = [_egress_rule(rule) for rule in server.network.egress]
    return [name_resolution, *_joined(needed), *added]


def _way_to(destination: Destination, ip_families: Sequence[str]) -> KubeObject | None:
    """The rule that lets pods out to it; None for what has no address in the cluster's families."""
    if destination.pods is not None:
        peers = [_pods_of(destination.pods.namespace, destination.pods.labels)]
    elif destination.addresses is not None:
        known = destination.addresses
        peers = [{"ipBlock": {"cidr": known[family]}} for family in ip_families if family in known]
    else:
        peers = [
            {"ipBlock": {"cidr": EVERYWHERE[family], "except": list(METADATA[family])}}
            for family in ip_families
        ]
    return {"to": peers, "ports": _ports(destination.ports)} if peers else None


def _pods_of(namespace: str, labels: object) -> KubeObject:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": labels},
    }


def _ports(ports: Iterable[Port], protocols: Sequence[str] = ("TCP",)) -> list[KubeObject]:
    return [{"port": port, "protocol": protocol} for port in ports for protocol in protocols]


def _egress_rule(rule: NetworkPolicyEgressRule) -> KubeObject:
    to, ports = [_peer(peer) for peer in rule.to], [_port(port) for port in rule.ports]
    return ({"to": to} if to else {}) | ({"ports": ports} if ports else {})


def _peer(peer: NetworkPolicyPeer) -> KubeObject:
    if peer.ip_block is not None:
        block: KubeObject = {"cidr": peer.ip_block.cidr}
        return {"ipBlock": block | ({"except": list(peer.ip_block.except_)} if peer.ip_block.except_ else {})}
    named = {"namespaceSelector": peer.namespace_selector, "podSelector": peer.pod_selector}
    return {field: _selector(selector) for field, selector in named.items() if selector is not None}


def _selector(selector: LabelSelector) -> KubeObject:
    """A selector as the API server keeps it: without what is empty."""
    return {field: value for field, value in selector.as_kubernetes().items() if value}


def _port(port: NetworkPolicyPort) -> KubeObject:
    return {"protocol": port.protocol or "TCP"} | port.as_kubernetes()


def _joined(rules: Iterable[KubeObject]) -> list[KubeObject]:
    """One rule for all ports of the same peers."""
    joined: list[KubeObject] = []
    for rule in rules:
        same = next((one for one in joined if one["to"] == rule["to"]), None)
        if same is None:
            joined.append(rule)
        else:
            same["ports"] = _without_repetitions([*same["ports"], *rule["ports"]])
    return joined


def _without_repetitions(entries: Iterable[KubeObject]) -> list[KubeObject]:
    kept: list[KubeObject] = []
    for entry in entries:
        if entry not in kept:
            kept.append(entry)
    return kept
