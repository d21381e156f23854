"""The parts of a Kubernetes NetworkPolicy that people write: peers, ports and egress rules."""

from typing import Annotated, Literal

from pydantic import Field

from tracking_operator.api.base import ATOMIC, ApiModel, Rule, rules, with_rules
from tracking_operator.api.kubernetes_types import LabelSelector

Cidr = Annotated[
    str,
    Field(
        max_length=43,
        json_schema_extra=rules(
            Rule("isCIDR(self)", "must be a network such as 10.0.0.0/8 or 2001:db8::/32"),
        ),
    ),
]
"""A network in CIDR notation."""


class IpBlock(ApiModel):
    """A network outside of the cluster, or of its nodes."""

    cidr: Cidr
    """The network, for example 10.0.0.0/8."""
    except_: Annotated[tuple[Cidr, ...], Field(alias="except", max_length=16, json_schema_extra=ATOMIC)] = ()
    """Networks within it that are not meant."""


class NetworkPolicyPeer(ApiModel):
    """Somebody at the other end of a connection: pods by their labels and those of their namespace, or a network."""

    model_config = with_rules(
        Rule(
            "has(self.ipBlock) ? !has(self.podSelector) && !has(self.namespaceSelector) "
            ": has(self.podSelector) || has(self.namespaceSelector)",
            "a peer needs podSelector or namespaceSelector (or both), or ipBlock alone",
        )
    )

    pod_selector: LabelSelector | None = None
    """Pods by their labels: in the selected namespaces, or without namespaceSelector in the server's own. Empty: all."""
    namespace_selector: LabelSelector | None = None
    """Namespaces by their labels, for example kubernetes.io/metadata.name. Empty: all."""
    ip_block: IpBlock | None = None
    """A network; then nothing else."""


NetworkPolicyPeers = Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=32, json_schema_extra=ATOMIC)]
"""Those who are let through."""


class NetworkPolicyPort(ApiModel):
    """A port, or a range of ports."""

    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    """The protocol. Default: TCP."""
    port: Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})] | None = None
    """The port. Default: all."""
    end_port: Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})] | None = None
    """The last port of a range that begins with port."""


class NetworkPolicyEgressRule(ApiModel):
    """Connections that are let out: to these peers at these ports."""

    to: NetworkPolicyPeers = ()
    """The peers. Empty: everywhere."""
    ports: Annotated[tuple[NetworkPolicyPort, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()
    """The ports. Empty: all."""
