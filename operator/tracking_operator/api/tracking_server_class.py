"""The TrackingServerClass: what the platform team offers, permits and limits."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from tracking_operator.api.base import (
    SET,
    ApiModel,
    Duration,
    ImageReference,
    KeyPatterns,
    MlflowVersion,
    ObjectName,
    Rule,
    StorageSize,
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
    enough_memory_for_mlflow,
)
from tracking_operator.api.labels_and_annotations import API_VERSION, DEFAULT_CLASS_ANNOTATION
from tracking_operator.api.pod_settings import JobSettings, Metrics, PodSecurity, Rollout
from tracking_operator.api.s3_connection import AddressingStyle, Endpoint, addressing_style_with
from tracking_operator.api.server_access import HostPattern, ServerAccessSpec
from tracking_operator.api.single_sign_on import OidcPermissions, Template
from tracking_operator.api.tracking_server import ConnectionLimit, DeletionPolicy

DEFAULT_CONNECTION_LIMIT: Final = 40
"""Two replicas with one worker each keep as many connections as MLflow does by itself, also while they roll."""


DEFAULT_MOST_SERVERS: Final = 10
DEFAULT_MOST_OF_BUCKET_POLICY: Final = 33
"""In percent: as many servers as a namespace may have by default, where names are short."""
DEFAULT_MOST_REPLICAS: Final = 10
DEFAULT_MOST_CONNECTIONS: Final = 200
DEFAULT_MOST_RESOURCES: Final[Mapping[str, str]] = {"cpu": "8", "memory": "16Gi"}
"""What a class permits that does not say: more than one server needs, and less than a cluster has."""


class VersionSpec(ApiModel):
    """An MLflow release that servers of the class may use, and the image that holds it."""

    version: MlflowVersion
    """The MLflow release, such as "3.17.2"."""
    image: ImageReference
    """The image that holds it, for example registry.example.com/mlflow:3.17.2."""


class MlflowSpec(ApiModel):
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
        tuple[VersionSpec, ...], Field(max_length=64, json_schema_extra=map_by("version"))
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
    """The host that people use, for example "{{ name }}.{{ namespace }}.mlflow.example.com"."""
    path: Template | None = None
    """The URL prefix of the server. Default: "/"."""
    artifact_prefix: Template | None = None
    """The prefix of a server in the class's bucket. Default: "{{ namespace }}/{{ name }}"."""


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


class PostgresStoreSpec(ApiModel):
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
    """How many connections a server may have that does not say. Default: 40, with a login 60; never more than
    limits.maxConnections."""
    allow_superuser: bool = False
    """Whether the admin login may be a superuser, which is more than is needed. Default: false."""
    rotate_every: Duration | None = None
    """After how many hours or days each server gets new database credentials, for example 90d. Default: never."""


class Isolation(StrEnum):
    """What keeps a server's identity within its prefix."""

    BUCKET_POLICY = "bucketPolicy"
    ABAC = "abac"


_BUCKET_NAME: Final = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_ROLE_ARN: Final = "arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+"


class CreateBucket(ApiModel):
    """How the bucket is made where it does not exist. One that exists is left as it is."""

    versioning: bool = False
    """Whether overwritten and deleted objects are kept as versions. Default: false."""
    encryption: Literal["AES256", "aws:kms"] | None = None
    """How objects are encrypted that do not say. Default: as the object store does by itself."""
    kms_key_id: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """The KMS key for encryption aws:kms. Default: the account's own."""
    block_public_access: bool = True
    """Whether the bucket refuses policies and ACLs that let the public in; where the object store knows no such thing,
    the class says so. Default: true."""
    abort_incomplete_uploads_after_days: Annotated[
        int, Field(ge=1, le=365, json_schema_extra={"format": "int32"})
    ] = 7
    """After how many days the parts of uploads are removed that were never finished. Default: 7."""


class IamUserIdentity(ApiModel):
    """An IAM user with an inline policy and an access key for each server."""

    path: Annotated[
        str,
        Field(
            max_length=200,
            json_schema_extra=rules(
                Rule(
                    "self.matches('^/([A-Za-z0-9+=,.@_-]+/)*$')",
                    "must begin and end with '/', for example /mlflow/",
                )
            ),
        ),
    ] = "/tracking-operator/"
    """The IAM path of the users. Default: /tracking-operator/."""
    permissions_boundary: (
        Annotated[
            str,
            Field(
                max_length=300,
                json_schema_extra=rules(
                    Rule(
                        "self.matches('^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$')",
                        "must be the ARN of a policy, for example arn:aws:iam::123456789012:policy/mlflow",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """The ARN of the policy that bounds what the users may ever do. Default: none."""
    endpoint: Endpoint | None = None
    """The URL of the IAM API, where it is not AWS's."""
    rotate_every: Duration | None = None
    """After how many hours or days each server gets a new access key, for example 90d. Default: never."""


class IrsaIdentity(ApiModel):
    """A role for each server, which its ServiceAccount assumes (IAM roles for service accounts)."""

    role_arn_template: Template
    """The ARN of a server's role, for example "arn:aws:iam::123456789012:role/mlflow-{{ namespace }}.{{ name }}". The
    platform team makes the roles; `tracking-operator render` prints the trust policy that each needs."""
    oidc_provider: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """The cluster's OIDC issuer without its scheme, for the printed trust policy."""


class PodIdentity(ApiModel):
    """One role for all servers, with an EKS Pod Identity association for each server's ServiceAccount."""

    role_arn: (
        Annotated[
            str,
            Field(
                max_length=300,
                json_schema_extra=rules(
                    Rule(
                        f"self.matches('^{_ROLE_ARN}$')",
                        "must be the ARN of a role, for example arn:aws:iam::123456789012:role/mlflow",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """The ARN of the role, to which the bucket's policy then grants what its tags say. Default: none, and the platform
    team attaches the policy that `tracking-operator render` prints to the role."""
    eks_cluster_name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The name of the EKS cluster: with it, Pods of the same names in other clusters are kept out."""


class VersitygwIdentity(ApiModel):
    """A user of versitygw for each server, made through its admin API."""

    admin_endpoint: Endpoint | None = None
    """The URL of the admin API. Default: the endpoint of the bucket."""
    rotate_every: Duration | None = None
    """After how many hours or days each server gets a new access key, for example 90d. Default: never."""


class SecretIdentity(ApiModel):
    """Keys that somebody else made: a Secret in the server's namespace with accessKeyId and secretAccessKey."""

    name_template: Template = "{{ name }}-s3"
    """The name of the Secret. Default: "{{ name }}-s3"."""


class S3Identity(ApiModel):
    """As whom a server reaches its prefix: exactly one."""

    model_config = with_rules(
        Rule(
            "[has(self.iamUser), has(self.irsa), has(self.podIdentity), has(self.versitygw), has(self.secret)]"
            ".filter(named, named).size() == 1",
            "identity needs exactly one of iamUser, irsa, podIdentity, versitygw and secret; keep the one to use",
        )
    )

    iam_user: IamUserIdentity | None = None
    """An IAM user with an access key for each server."""
    irsa: IrsaIdentity | None = None
    """A role for each server, which its ServiceAccount assumes."""
    pod_identity: PodIdentity | None = None
    """One role for all servers, by EKS Pod Identity."""
    versitygw: VersitygwIdentity | None = None
    """A user of versitygw for each server."""
    secret: SecretIdentity | None = None
    """Keys that somebody else made, in a Secret of the server's namespace."""


class S3StoreSpec(ApiModel):
    """A bucket in which every server of the class gets a prefix of its own, and an identity that ends there."""

    model_config = with_rules(
        Rule(
            "!has(self.isolation) || self.isolation != 'abac' || has(self.identity.podIdentity) || has(self.identity.iamUser)",
            "isolation abac needs identity podIdentity or iamUser, because only these carry the tags that it compares; "
            "use one of them, or isolation bucketPolicy",
            ".isolation",
        ),
        Rule(
            "!has(self.identity.podIdentity) || (has(self.isolation) && self.isolation == 'abac')",
            "identity podIdentity needs isolation abac, because all servers share one role; set isolation to abac",
            ".identity",
        ),
        Rule(
            "!has(self.identity.versitygw) || has(self.endpoint)",
            "identity versitygw needs endpoint, the URL of the versitygw",
            ".endpoint",
        ),
    )

    bucket: Annotated[
        str,
        Field(
            min_length=3,
            max_length=63,
            json_schema_extra=rules(
                Rule(
                    f"self.matches('^{_BUCKET_NAME}$')",
                    "must be the name of a bucket: 3 to 63 lower-case letters, digits, '-' and '.'",
                )
            ),
        ),
    ]
    """The name of the bucket."""
    region: Annotated[str, Field(min_length=1, max_length=63)] = "us-east-1"
    """Its region. Default: us-east-1."""
    endpoint: Endpoint | None = None
    """The URL of the S3 server, as pods and the operator reach it. Default: AWS's own."""
    addressing_style: AddressingStyle | None = None
    """Where requests name the bucket. Default: path with an endpoint, else virtual."""
    ca_config_map_ref: LocalObjectReference | None = None
    """A ConfigMap in the operator's namespace with the CA certificates (PEM) under the key ca.crt. Default: the CAs of
    the image."""
    isolation: Isolation = Isolation.BUCKET_POLICY
    """What keeps an identity within its prefix: a pair of statements in the bucket's policy for each server (13 to
    35 servers per bucket, by the length of names), or one policy that compares tags of the identity (any number). Default: bucketPolicy."""
    identity: S3Identity
    """As whom a server reaches its prefix."""
    admin_secret_ref: LocalObjectReference | None = None
    """A Secret in the operator's namespace with the keys accessKeyId and secretAccessKey of an identity that may change
    the bucket's policy and make the servers' identities. Default: the operator's own cloud identity."""
    create: CreateBucket | None = None
    """How the bucket is made if it does not exist. Default: it has to exist."""
    require_encryption: Literal["AES256", "aws:kms"] | None = None
    """The encryption that every upload has to ask for; others are denied. Default: none."""

    @property
    def effective_addressing_style(self) -> AddressingStyle:
        """Where requests name the bucket."""
        return self.addressing_style or addressing_style_with(self.endpoint)


class PodTemplatePermissions(ApiModel):
    """Which parts of podTemplate tenants may use."""

    labels: KeyPatterns = ()
    """The keys that labels may have: each as it is, or its beginning and '*', for example example.com/*. Default: none."""
    annotations: KeyPatterns = ()
    """The keys that annotations may have: each as it is, or its beginning and '*', for example prometheus.io/*.
    Default: none."""
    scheduling: bool = False
    """Whether nodeSelector, tolerations, affinity and topologySpreadConstraints are permitted. Default: false."""
    env: bool = False
    """Whether env and envFrom are permitted. Default: false."""
    variables: KeyPatterns = ()
    """The variables by which env and envFrom, and the image, may steer MLflow, Python, the loader, libpq, the SDKs of clouds
    and TLS: each by its name, or by its beginning and '*', for example OTEL_*. Others of that kind are refused, or taken
    away when a pod starts. With an external artifact store, those of its SDK are permitted with env. Default: none."""
    priority_class_names: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
        Field(max_length=64, json_schema_extra=SET),
    ] = ()
    """The PriorityClasses that are permitted. Default: none."""


class Permissions(ApiModel):
    """What tenants may ask for; everything is off unless said."""

    custom_images: bool = False
    """Whether servers may run an image of their own. Default: false."""
    external_stores: bool = False
    """Whether servers may use databases and buckets that somebody else made. Default: false."""
    deletion_policy_delete: bool = False
    """Whether servers may have deletionPolicy Delete. Default: false."""
    anonymous_access: bool = False
    """Whether servers may have access.authentication none where the class has a login. Default: false."""
    basic_authentication: bool = False
    """Whether servers may have access.authentication basic where the class has oidc. Default: false."""
    oidc: OidcPermissions = OidcPermissions()
    """What servers may say of their login at the identity provider."""
    hosts: Annotated[tuple[HostPattern, ...], Field(max_length=64, json_schema_extra=SET)] | None = None
    """The hosts that access.host may name: each as it is, or '*.' and a domain for every name directly under it; naming
    templates, for example "*.{{ namespace }}.mlflow.example.com". What naming.host makes for a server is always permitted
    to it, and never to servers of other namespaces, whatever is written here. Default: none where the class has an ingress or a gateway, else all."""
    service_account_annotations: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=317)], ...],
        Field(max_length=64, json_schema_extra=SET),
    ] = ()
    """The keys that serviceAccount.annotations may have, for example eks.amazonaws.com/role-arn. Default: none."""
    pod_template: PodTemplatePermissions = PodTemplatePermissions()
    """Which parts of podTemplate are permitted."""


class Limits(ApiModel):
    """How much tenants may ask for. Each limit has a finite default; who wants none writes a large number."""

    max_servers_per_namespace: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] = (
        DEFAULT_MOST_SERVERS
    )
    """How many servers of the class a namespace may have; older ones come first. Default: 10."""
    max_databases_per_namespace: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})] | None = (
        None
    )
    """How many databases the class's PostgreSQL may hold for a namespace, with those that deleted servers left behind
    (deletionPolicy Retain). Default: 20, or twice maxServersPerNamespace if that is more."""
    max_bucket_policy_percent_per_namespace: Annotated[
        int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})
    ] = DEFAULT_MOST_OF_BUCKET_POLICY
    """How much of the bucket's policy the servers of a namespace may take together, with isolation bucketPolicy, in percent of
    19,500 bytes. A server that is there already goes on. Default: 33, which is enough for 7 to 11 servers."""
    max_replicas: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})] | None = None
    """How many replicas a server may have. Default: 10, or defaults.replicas if that is more."""
    max_connections: ConnectionLimit | None = None
    """How many database connections a server may ask for with backendStore.postgres.connectionLimit. Default: 200, or
    postgres.connectionLimit if that is more."""
    max_database_size: StorageSize | None = None
    """How large the database of a server may become before its condition BackendStoreReady says so, with an Event and an
    alert; nothing is stopped. Default: no such limit."""
    max_artifact_bytes: StorageSize | None = None
    """How many bytes of artifacts a server may have before ArtifactStoreReady says so in the same way, for example 500Gi.
    Default: no such limit."""
    max_resources: ResourceList = {}
    """How much each pod of a server may ask for, requests and limits alike, for example {cpu: "4", memory: 8Gi}.
    A server that sets no limit for one of these resources gets this one. Default for each of cpu and memory that is not
    named: 8 and 16Gi."""


class VolumeDefaults(ApiModel):
    """A volume whose server does not say."""

    size: StorageSize | None = None
    """The size of new volumes; those that exist keep theirs."""
    storage_class_name: ObjectName | None = None
    """The StorageClass of new volumes. Default: the cluster's default."""


class Volumes(ApiModel):
    """The volumes of servers that do not say."""

    backend_store: VolumeDefaults = VolumeDefaults()
    """The volume with the SQLite file. Default of its size: 1Gi."""
    artifact_store: VolumeDefaults = VolumeDefaults()
    """The volume with artifacts. Default of its size: 10Gi."""


class Defaults(ApiModel):
    """What servers get that do not say."""

    model_config = with_rules(enough_memory_for_mlflow("resources"))

    replicas: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] | None = None
    """How many pods run. Default: 1."""
    workers: Annotated[int, Field(ge=1, le=32, json_schema_extra={"format": "int32"})] | None = None
    """How many MLflow worker processes run in each pod. Default: 1."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server's container. Default: a request and limit that fit the workers."""
    deletion_policy: DeletionPolicy | None = None
    """What happens to the data when a server is deleted. Default: Retain."""
    metrics: Metrics = Metrics()
    """What is told to Prometheus."""
    volumes: Volumes = Volumes()
    """Size and StorageClass of volumes."""


class Rotation(ApiModel):
    """How new credentials take the place of old ones."""

    deadline: Duration = "24h"
    """After how many hours or days nobody is logged in by a server's old credentials any more: sessions that still do
    something are ended, and old access keys deleted. Idle sessions end minutes after a rotation. Default: 24h."""


class HandOver(ApiModel):
    """A server that gets what was kept for one of its name, in an earlier namespace of the same name."""

    namespace: ObjectName
    """The namespace."""
    namespace_uid: Annotated[str, Field(max_length=64)]
    """The metadata.uid of the namespace as it is now: one that is made later gets nothing."""
    name: ObjectName
    """The server."""


class TrackingServerClassSpec(ApiModel):
    """What the platform team offers. Without stores of its own: SQLite and a volume."""

    model_config = with_rules(
        Rule(
            "has(self.access) && has(self.access.authentication)",
            "a class says who is let in: set access.authentication to basic: {} for a login, or to none: {} to let everybody in "
            "who reaches a server",
            ".access",
        ),
        Rule(
            "!has(self.defaults) || !has(self.defaults.replicas) || !has(self.limits) "
            "|| !has(self.limits.maxReplicas) || self.defaults.replicas <= self.limits.maxReplicas",
            "defaults.replicas may not be more than limits.maxReplicas; lower the one or raise the other",
            ".defaults.replicas",
        ),
        Rule(
            "!has(self.defaults) || !has(self.defaults.deletionPolicy) || self.defaults.deletionPolicy != 'Delete' "
            "|| (has(self.permissions) && has(self.permissions.deletionPolicyDelete) "
            "&& self.permissions.deletionPolicyDelete)",
            "defaults.deletionPolicy may be Delete only where permissions.deletionPolicyDelete is true; "
            "change one of them",
            ".defaults.deletionPolicy",
        ),
        Rule(
            "!has(self.postgres) || !has(self.limits) || !has(self.limits.maxConnections) "
            "|| !has(self.postgres.connectionLimit) || self.postgres.connectionLimit <= self.limits.maxConnections",
            "postgres.connectionLimit may not be more than limits.maxConnections, because servers that do not say would "
            "be refused; lower the one or raise the other",
            ".postgres.connectionLimit",
        ),
    )

    allowed_namespaces: LabelSelector | None = None
    """The namespaces, by their labels, whose servers may use the class. Default: all."""
    mlflow: MlflowSpec = MlflowSpec()
    """Which MLflow releases servers may use."""
    naming: Naming = Naming()
    """How names are made: sandboxed Jinja with the variables namespace, name, class, clusterName and namespaceLabels."""
    postgres: PostgresStoreSpec | None = None
    """A PostgreSQL server on which every server of the class gets a database and roles of its own. Default: none."""
    s3: S3StoreSpec | None = None
    """A bucket in which every server of the class gets a prefix of its own. Default: none."""
    rotation: Rotation = Rotation()
    """How new credentials take the place of old ones."""
    access: ServerAccessSpec = ServerAccessSpec()
    """How people and programs reach the servers."""
    permissions: Permissions = Permissions()
    """What tenants may ask for."""
    limits: Limits = Limits()
    """How much tenants may ask for."""
    defaults: Defaults = Defaults()
    """What servers get that do not say."""
    jobs: JobSettings = JobSettings()
    """The Jobs of servers that do not say."""
    rollout: Rollout = Rollout()
    """How the pods of servers that do not say give way to new ones."""
    pod_security: PodSecurity = PodSecurity()
    """As whom the pods of servers run."""
    hand_over: Annotated[
        tuple[HandOver, ...], Field(max_length=256, json_schema_extra=map_by("namespace", "name"))
    ] = ()
    """Servers that get the database and prefix which are kept for a server of an earlier namespace of the same name."""

    @property
    def most_databases(self) -> int:
        """How many databases a namespace may have, kept ones among them, said or not."""
        servers = max(DEFAULT_MOST_SERVERS, self.limits.max_servers_per_namespace)
        return self.limits.max_databases_per_namespace or 2 * servers

    @property
    def most_replicas(self) -> int:
        """How many replicas a server may have, said or not."""
        return self.limits.max_replicas or max(DEFAULT_MOST_REPLICAS, self.defaults.replicas or 0)

    @property
    def most_connections(self) -> int:
        """How many database connections a server may ask for, said or not."""
        offered = self.postgres.connection_limit if self.postgres else 0
        return self.limits.max_connections or max(DEFAULT_MOST_CONNECTIONS, offered)

    @property
    def most_resources(self) -> dict[str, str]:
        """How much each pod may ask for, said or not."""
        return {**DEFAULT_MOST_RESOURCES, **self.limits.max_resources}


class TrackingServerClassStatus(ApiModel):
    """How the class is. Written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """The metadata.generation that this status was found for. Older than the resource's own: out of date."""
    conditions: Conditions = ()
    """How the class is, by type. Ready is the summary."""
    versions: Annotated[tuple[MlflowVersion, ...], Field(max_length=64, json_schema_extra=SET)] = ()
    """The MLflow releases that servers of the class may use, oldest first."""
    default_version: MlflowVersion | None = None
    """The release of new servers that name none."""

    def condition(self, type_: ConditionType) -> Condition | None:
        """Return the condition of this type, or None."""
        return find_condition(self.conditions, type_)


class TrackingServerClass(ApiModel):
    """What the platform team offers, permits and limits; tenants name it and nothing else."""

    model_config = with_rules(
        Rule(
            "has(self.spec)",
            "a class has a spec, which says at least who is let in: write spec: {access: {authentication: {basic: {}}}}",
        )
    )

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


BUILT_IN_CLASS: Final = TrackingServerClassSpec.model_validate(
    {
        "access": {"authentication": {"none": {}}},
        "permissions": {
            "externalStores": True,
            "deletionPolicyDelete": True,
            "podTemplate": {
                "labels": ["*"],
                "annotations": ["*"],
                "scheduling": True,
                "env": True,
                "variables": [
                    "AWS_*",
                    "AZURE_*",
                    "GOOGLE_*",
                    "MLFLOW_LOGGING_LEVEL",
                    "OTEL_*",
                    "REQUESTS_CA_BUNDLE",
                    "SSL_CERT_*",
                ],
            },
        },
    }
)
"""What a cluster without classes offers, for people who are alone in it: nothing is shared, so little is forbidden. Nobody
has to log in. A platform team switches it off (`TRACKING_OPERATOR_BUILT_IN_CLASS`), or annotates a default class."""
