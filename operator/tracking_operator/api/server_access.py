"""How people and programs reach a server: its address, and who is let in. What a team asks for, and what a class offers."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from tracking_operator.api.base import ATOMIC, SET, ApiModel, ObjectName, Rule, map_by, rules, with_rules
from tracking_operator.api.kubernetes_types import Annotations, LabelSelector
from tracking_operator.api.network_policy import NetworkPolicyEgressRule, NetworkPolicyPeers
from tracking_operator.api.single_sign_on import OidcAuthentication, OidcAuthenticationSpec, Template

_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_HOST: Final = f"{_LABEL}([.]{_LABEL})*"
_PORT: Final = "(:([0-9]{1,5}|[*]))?"
_PATH_SEGMENT: Final = "[A-Za-z0-9_~-][A-Za-z0-9._~-]*"

Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^{_HOST}$')",
                "must be a host name of lower-case letters, digits, '-' and '.', without scheme, port or path, for example "
                "mlflow.team-a.example.com",
            )
        ),
    ),
]
"""A DNS name."""

UrlPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^(/|(/{_PATH_SEGMENT})+)$')",
                "must begin with '/' and not end with one, with segments of letters, digits, '-', '_', '.' and '~' that do not "
                "begin with '.', for example /team-a; or be / alone",
            )
        ),
    ),
]
"""The prefix of all of a server's URLs."""

HostPattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=rules(
            Rule(
                f"self.contains('{{{{') || self.matches('^([*][.])?{_HOST}$')",
                "must be a host name, or '*.' and a domain for every name directly under it, for example *.mlflow.example.com, "
                "or a naming template for one of these, for example *.{{ namespace }}.mlflow.example.com",
            )
        ),
    ),
]
"""A host, or all hosts directly under a domain; as it is, or a naming template."""

HostHeader = Annotated[
    str,
    Field(
        min_length=1,
        max_length=260,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^([*][.])?{_HOST}{_PORT}$')",
                "must be a host name, with '*.' in front for every name under it, and with a port or ':*' where clients name one, "
                "for example mlflow.example.com:8443",
            )
        ),
    ),
]
"""What a client sends as its Host header."""

Origin = Annotated[
    str,
    Field(
        min_length=1,
        max_length=270,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^https?://([*][.])?{_HOST}{_PORT}$')",
                "must be scheme and host, with a port where it is not the scheme's own and without a path, for example "
                "https://notebooks.example.com",
            )
        ),
    ),
]
"""What a browser sends as its Origin header."""


class Permission(StrEnum):
    """What an ordinary user may do with experiments and models that belong to others, in MLflow's words."""

    NO_PERMISSIONS = "NO_PERMISSIONS"
    READ = "READ"
    EDIT = "EDIT"
    MANAGE = "MANAGE"


class NoAuthentication(ApiModel):
    """Whoever reaches the address is let in."""


class BasicAuthentication(ApiModel):
    """MLflow's own login: a user name and a password."""


class BasicAuthenticationSpec(ApiModel):
    """MLflow's own login: a user name and a password."""

    default_permission: Permission = Permission.EDIT
    """What an ordinary user may do with experiments and models that belong to others. Who makes one may manage it.
    Default: EDIT, so that programs
    can log to the experiment Default, which belongs to nobody."""


_ONE_KIND_OF_LOGIN: Final = Rule(
    "[has(self.basic), has(self.none), has(self.oidc)].filter(named, named).size() == 1",
    "authentication needs exactly one of basic, oidc and none; write basic: {} for a login with passwords, oidc for one at the "
    "class's identity provider, or none: {} to let everybody in",
)


class Authentication(ApiModel):
    """Who is let in: exactly one."""

    model_config = with_rules(_ONE_KIND_OF_LOGIN)

    basic: BasicAuthentication | None = None
    """MLflow's own login, with a user name and a password."""
    oidc: OidcAuthentication | None = None
    """People log in at the identity provider of the class. Only where the class has one."""
    none: NoAuthentication | None = None
    """Nobody has to log in. Only where the class allows it."""


class AuthenticationSpec(ApiModel):
    """Who is let in by servers that do not say: exactly one."""

    model_config = with_rules(_ONE_KIND_OF_LOGIN)

    basic: BasicAuthenticationSpec | None = None
    """MLflow's own login, with a user name and a password."""
    oidc: OidcAuthenticationSpec | None = None
    """People log in at an identity provider (OpenID Connect)."""
    none: NoAuthentication | None = None
    """Nobody has to log in."""


class ClientPermission(StrEnum):
    """What the programs of another namespace may do, in MLflow's words."""

    READ = "READ"
    EDIT = "EDIT"

    def covers(self, other: "ClientPermission") -> bool:
        """Whether who may do this may do the other, too."""
        return self is ClientPermission.EDIT or self is other


NamespaceName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^{_LABEL}$')",
                "must be the name of a namespace: lower-case letters, digits and '-', beginning and ending with a letter or digit",
            )
        ),
    ),
]
"""The name of a namespace."""


class ClientNamespace(ApiModel):
    """A namespace whose programs may use the server."""

    name: NamespaceName
    """The name of the namespace. It means the namespace that has the name when the operator first sees both: for one that is
    made again later under the same name, remove the entry and add it again."""
    permission: ClientPermission
    """The most that a TrackingServerClient there may ask for."""


class ServerClients(ApiModel):
    """Which other namespaces may use the server. Each has to ask as well, by a TrackingServerClient of its own."""

    model_config = with_rules(
        Rule(
            "has(self.namespaceSelector) == has(self.permission)",
            "permission says what the namespaces of namespaceSelector may do: write both, or neither; entries of namespaces have "
            "their own",
        ),
        Rule(
            "!has(self.namespaceSelector) || self.namespaceSelector.?matchLabels.orValue({}).size() > 0 "
            "|| self.namespaceSelector.?matchExpressions.orValue([]).size() > 0",
            "namespaceSelector must name at least one label, because an empty one would mean every namespace",
        ),
    )

    namespaces: Annotated[
        tuple[ClientNamespace, ...], Field(max_length=32, json_schema_extra=map_by("name"))
    ] = ()
    """Namespaces by name. An entry decides alone about its namespace, whatever the selector says."""
    namespace_selector: LabelSelector | None = None
    """Further namespaces by their labels, which the platform team sets. Default: none."""
    permission: ClientPermission | None = None
    """The most that a TrackingServerClient in the namespaces of namespaceSelector may ask for."""


class Access(ApiModel):
    """How people and programs reach the server."""

    host: Host | None = None
    """The host that people use; one that the class permits. Default: the class's naming.host."""
    path: UrlPath | None = None
    """The prefix of all URLs: of pages, API and probes alike. Default: the class's naming.path, else /."""
    allowed_hosts: Annotated[tuple[HostHeader, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """Further Host headers that MLflow answers; its own addresses are always among them."""
    allowed_origins: Annotated[tuple[Origin, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """Further origins whose pages may call the API (CORS); its own addresses are always among them."""
    authentication: Authentication | None = None
    """Who is let in. Default: the class's."""
    clients: ServerClients = ServerClients()
    """Which other namespaces may use the server, once they ask by a TrackingServerClient. Default: none."""


class ServerNetworkPolicy(ApiModel):
    """Who may connect to the server's pods, beside its own namespace, the operator, and those that the class lets in."""

    from_: Annotated[NetworkPolicyPeers, Field(alias="from")] = ()
    """Further peers, for example the namespace of a pipeline."""


class Probe(StrEnum):
    """Who asks servers whether they answer."""

    OPERATOR = "Operator"
    NONE = "None"


class IngressTls(ApiModel):
    """How the Ingress encrypts."""

    secret_name: Template | None = None
    """The Secret with the certificate, in the server's namespace: a name or a naming template, for example
    "{{ name }}-tls". cert-manager makes it where the Ingress has its annotation. Default: the controller's own certificate."""


class IngressSpec(ApiModel):
    """An Ingress for each server."""

    class_name: ObjectName | None = None
    """The IngressClass. Default: the cluster's default."""
    annotations: Annotations = {}
    """Annotations of each Ingress, for its controller or for cert-manager: time-outs, sizes of uploads, issuers."""
    tls: IngressTls | None = None
    """How the Ingress encrypts. Default: not at all."""


class GatewayReference(ApiModel):
    """A Gateway that servers attach to."""

    name: ObjectName
    """The name of the Gateway."""
    namespace: ObjectName | None = None
    """Its namespace. Default: the server's own."""
    section_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The listener of the Gateway. Default: all that fit."""
    port: Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})] | None = None
    """The port of the listener. Default: all that fit."""


class GatewaySpec(ApiModel):
    """An HTTPRoute for each server. Needs the Gateway API in the cluster."""

    parent_ref: GatewayReference
    """The Gateway that the routes attach to."""


class NetworkPolicySpec(ApiModel):
    """What the NetworkPolicy of each server lets through, beside what it needs."""

    ingress_from: NetworkPolicyPeers = ()
    """Who may connect to every server: the pods of the ingress controller or gateway."""
    metrics_from: NetworkPolicyPeers = ()
    """Who may read the metrics of every server that has them (metrics.enabled), on port 5001, and nothing else: the pods of
    Prometheus. Default: nobody."""
    egress: Annotated[
        tuple[NetworkPolicyEgressRule, ...], Field(max_length=32, json_schema_extra=ATOMIC)
    ] = ()
    """Where every server may connect to, beside DNS and its stores: a proxy, for example."""


class ServerAccessSpec(ApiModel):
    """How people and programs reach the servers of the class."""

    model_config = with_rules(
        Rule(
            "!(has(self.ingress) && has(self.gateway))",
            "access has both ingress and gateway; keep the one to use and remove the other",
        )
    )

    ingress: IngressSpec | None = None
    """An Ingress for each server. Default: none, or the gateway's route."""
    gateway: GatewaySpec | None = None
    """An HTTPRoute for each server. Default: none, or the Ingress."""
    public_url: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, alias="publicURL"
    )
    """Scheme, host and port that people use, where these differ from the Ingress's own, without a path, for example
    http://localhost:7006; a naming template that knows host as well, for example "https://{{ host }}:8443". Default:
    the host, with https where the Ingress encrypts or there is a gateway."""
    authentication: AuthenticationSpec | None = None
    """Who is let in by servers that do not say. Has to be said: basic, oidc, or none spelled out."""
    probe: Probe = Probe.OPERATOR
    """Operator: once pods serve, the operator's own pod sends requests to each server's Service, by plain HTTP, to see whether
    clients get through and to make the users of a login. None: it sends none, for a mesh that refuses what is not encrypted
    by mutual TLS. Exposed then says NotProbed, and a Job gives the users their passwords in the server's store. Default:
    Operator."""
    network_policy: NetworkPolicySpec = NetworkPolicySpec()
    """What the NetworkPolicy of each server lets through, beside what it needs."""
