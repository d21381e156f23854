"""The TrackingServerClass: what the platform team offers, permits and limits."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from tracking_operator.api.base import (
    SET,
    ApiModel,
    Duration,
    ImageReference,
    MlflowVersion,
    Rule,
    map_by,
    rules,
    with_rules,
)
from tracking_operator.api.conditions import Condition, Conditions, ConditionType, find_condition
from tracking_operator.api.kubernetes_types import (
    LabelSelector,
    LocalObjectReference,
    ObjectMeta,
    ResourceList,
    ResourceRequirements,
)
from tracking_operator.api.marks import API_VERSION, DEFAULT_CLASS_ANNOTATION
from tracking_operator.api.tracking_server import ConnectionLimit, DeletionPolicy

DEFAULT_CONNECTION_LIMIT: Final = 20

Template = Annotated[str, Field(min_length=1, max_length=1024)]
"""A sandboxed Jinja template with the variables namespace, name, class, clusterName and namespaceLabels."""


class OfferedVersion(ApiModel):
    """An MLflow release that servers of the class may use, and the image that holds it."""

    version: MlflowVersion
    """The MLflow release, such as "3.17.2"."""
    image: ImageReference
    """The image that holds it, for example registry.example.com/mlflow:3.17.2."""


class MlflowOffer(ApiModel):
    """Which MLflow releases servers of the class may use."""

    model_config = with_rules(
        Rule(
            "!has(self.defaultVersion) || !has(self.versions) || self.versions.size() == 0 "
            "|| self.versions.exists(offered, offered.version == self.defaultVersion)",
            "mlflow.defaultVersion must be one of mlflow.versions; add it there with its image or choose another",
            ".defaultVersion",
        )
    )

    versions: Annotated[
        tuple[OfferedVersion, ...], Field(max_length=64, json_schema_extra=map_by("version"))
    ] = ()
    """The releases on offer, each with its image. Default: the operator's built-in table."""
    default_version: MlflowVersion | None = None
    """The release of new servers that name none. Default: the newest on offer."""


class Naming(ApiModel):
    """How names are made."""

    database: Template | None = None
    """The database of a server and its roles; made a safe identifier that ends in a hash. Default:
    "mlflow_{{ namespace }}_{{ name }}"."""
    host: Template | None = None
    """The host that people use, for example "{{ name }}-{{ namespace }}.mlflow.example.com"."""
    path: Template | None = None
    """The URL prefix of the server. Default: "/"."""


class SslMode(StrEnum):
    """How a connection to PostgreSQL is protected, in libpq's words."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"

    @property
    def verifies(self) -> bool:
        """Whether the server's certificate is checked against a CA."""
        return self in (SslMode.VERIFY_CA, SslMode.VERIFY_FULL)


_HOST_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?"
_IPV6_ADDRESS: Final = "[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*"
"""Two colons or more: what has one is a host with a port."""


class PostgresOffer(ApiModel):
    """A PostgreSQL server (15 to 18) on which every server of the class gets a database and roles of its own."""

    host: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            json_schema_extra=rules(
                Rule(
                    f"self.matches('^({_HOST_NAME}|{_IPV6_ADDRESS})$')",
                    "must be one host name or address without a port, for example pg.db.svc; the port is a field of its own",
                )
            ),
        ),
    ]
    """The host name of the server, as pods and the operator reach it."""
    port: Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})] = 5432
    """Its port. Default: 5432."""
    admin_secret_ref: LocalObjectReference
    """A Secret in the operator's namespace with the keys username and password of a login that has CREATEROLE and
    CREATEDB."""
    maintenance_database: Annotated[str, Field(min_length=1, max_length=63)] = "postgres"
    """The database that the admin login connects to. Default: postgres."""
    ssl_mode: SslMode = SslMode.VERIFY_FULL
    """How connections are protected; only verify-full is safe from somebody in between. Default: verify-full."""
    ca_config_map_ref: LocalObjectReference | None = None
    """A ConfigMap in the operator's namespace with the CA certificates (PEM) under the key ca.crt. Default: the CAs of
    the image."""
    connection_limit: ConnectionLimit = DEFAULT_CONNECTION_LIMIT
    """How many connections a server may have that does not say. Default: 20."""
    allow_superuser: bool = False
    """Whether the admin login may be a superuser, which is more than is needed. Default: false."""
    rotate_every: Duration | None = None
    """After how many hours or days each server gets new database credentials, for example 90d. Default: never."""


class PodTemplatePermissions(ApiModel):
    """Which parts of podTemplate tenants may use."""

    scheduling: bool = True
    """Whether nodeSelector, tolerations, affinity and topologySpreadConstraints are permitted. Default: true."""
    env: bool = True
    """Whether env and envFrom are permitted. Default: true."""
    priority_class_names: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
        Field(max_length=64, json_schema_extra=SET),
    ] = ()
    """The PriorityClasses that are permitted. Default: none."""


class Permissions(ApiModel):
    """What tenants may ask for."""

    custom_images: bool = False
    """Whether servers may run an image of their own. Default: false."""
    external_stores: bool = True
    """Whether servers may use databases and buckets that somebody else made. Default: true."""
    deletion_policy_delete: bool = True
    """Whether servers may have deletionPolicy Delete. Default: true."""
    service_account_annotations: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=317)], ...],
        Field(max_length=64, json_schema_extra=SET),
    ] = ()
    """The keys that serviceAccount.annotations may have, for example eks.amazonaws.com/role-arn. Default: none."""
    pod_template: PodTemplatePermissions = PodTemplatePermissions()
    """Which parts of podTemplate are permitted."""


class Limits(ApiModel):
    """How much tenants may ask for. An absent limit does not limit."""

    max_servers_per_namespace: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] | None = (
        None
    )
    """How many servers of the class a namespace may have; older ones come first."""
    max_replicas: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})] | None = None
    """How many replicas a server may have."""
    max_connections: ConnectionLimit | None = None
    """How many database connections a server may ask for with backendStore.postgres.connectionLimit."""
    max_resources: ResourceList = {}
    """How much each pod of a server may ask for, requests and limits alike, for example {cpu: "4", memory: 8Gi}.
    A server that sets no limit for one of these resources gets this one."""


class Defaults(ApiModel):
    """What servers get that do not say."""

    replicas: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] | None = None
    """How many pods run. Default: 1."""
    workers: Annotated[int, Field(ge=1, le=32, json_schema_extra={"format": "int32"})] | None = None
    """How many MLflow worker processes run in each pod. Default: 1."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server's container. Default: a request and limit that fit the workers."""
    deletion_policy: DeletionPolicy | None = None
    """What happens to the data when a server is deleted. Default: Retain."""


class TrackingServerClassSpec(ApiModel):
    """What the platform team offers. Without any field it is the built-in class: SQLite and a volume."""

    model_config = with_rules(
        Rule(
            "!has(self.defaults) || !has(self.defaults.replicas) || !has(self.limits) "
            "|| !has(self.limits.maxReplicas) || self.defaults.replicas <= self.limits.maxReplicas",
            "defaults.replicas may not be more than limits.maxReplicas; lower the one or raise the other",
            ".defaults.replicas",
        ),
        Rule(
            "!has(self.defaults) || !has(self.defaults.deletionPolicy) || self.defaults.deletionPolicy != 'Delete' "
            "|| !has(self.permissions) || !has(self.permissions.deletionPolicyDelete) "
            "|| self.permissions.deletionPolicyDelete",
            "defaults.deletionPolicy may not be Delete while permissions.deletionPolicyDelete is false; "
            "change one of them",
            ".defaults.deletionPolicy",
        ),
        Rule(
            "!has(self.postgres) || !has(self.limits) || !has(self.limits.maxConnections) "
            f"|| self.postgres.?connectionLimit.orValue({DEFAULT_CONNECTION_LIMIT}) <= self.limits.maxConnections",
            f"postgres.connectionLimit (absent means {DEFAULT_CONNECTION_LIMIT}) may not be more than "
            "limits.maxConnections, because servers that do not say would be refused; lower the one or raise the other",
            ".postgres",
        ),
    )

    allowed_namespaces: LabelSelector | None = None
    """The namespaces, by their labels, whose servers may use the class. Default: all."""
    mlflow: MlflowOffer = MlflowOffer()
    """Which MLflow releases servers may use."""
    naming: Naming = Naming()
    """How names are made: sandboxed Jinja with the variables namespace, name, class, clusterName and namespaceLabels."""
    postgres: PostgresOffer | None = None
    """A PostgreSQL server on which every server of the class gets a database and roles of its own. Default: none."""
    permissions: Permissions = Permissions()
    """What tenants may ask for."""
    limits: Limits = Limits()
    """How much tenants may ask for."""
    defaults: Defaults = Defaults()
    """What servers get that do not say."""


class TrackingServerClassStatus(ApiModel):
    """How the class is. Written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """The metadata.generation that this status was found for. Older than the resource's own: out of date."""
    conditions: Conditions = ()
    """How the class is, by type. Ready is the summary."""

    def condition(self, type_: ConditionType) -> Condition | None:
        """Return the condition of this type, or None."""
        return find_condition(self.conditions, type_)


class TrackingServerClass(ApiModel):
    """What the platform team offers, permits and limits; tenants name it and nothing else."""

    api_version: str = API_VERSION
    kind: Literal["TrackingServerClass"] = "TrackingServerClass"
    metadata: ObjectMeta = ObjectMeta()
    spec: TrackingServerClassSpec = TrackingServerClassSpec()
    """What the platform team offers."""
    status: TrackingServerClassStatus = TrackingServerClassStatus()
    """How the class is. Written by the operator only."""

    @property
    def is_default(self) -> bool:
        """Whether servers without a ``className`` use it."""
        return self.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true"
