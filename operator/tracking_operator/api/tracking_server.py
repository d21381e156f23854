"""The TrackingServer: what a team asks for, and what it gets."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from tracking_operator.api.base import (
    ApiModel,
    ImageReference,
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
    Annotations,
    LocalObjectReference,
    ObjectMeta,
    ResourceRequirements,
    SecretKeyReference,
    enough_memory_for_mlflow,
)
from tracking_operator.api.labels_and_annotations import (
    ALLOW_EMPTY_STORE_ANNOTATION,
    API_VERSION,
    FORCE_ORPHAN_ANNOTATION,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    WAKE_ANNOTATION,
)
from tracking_operator.api.maintenance import BackupsStatus, Maintenance, MaintenanceStatus
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind, Placement
from tracking_operator.api.pod_settings import JobSettings, Metrics
from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.s3_connection import AddressingStyle, Endpoint
from tracking_operator.api.server_access import Access, ClientPermission, ServerNetworkPolicy
from tracking_operator.api.sleep import Sleep, SleepStatus

MAX_NAME_LENGTH: Final = 40
"""The longest name of a server, in characters: names of child objects are made from it."""

LONGEST_REVOCATION: Final = 64
"""In characters: as many as a SHA-256 in hexadecimal digits has."""

DEFAULT_SQLITE_SIZE: Final = "1Gi"
DEFAULT_ARTIFACT_VOLUME_SIZE: Final = "10Gi"


class DeletionPolicy(StrEnum):
    """What happens to the data when the resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class AccessMode(StrEnum):
    """How many nodes can mount a volume at the same time."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"
    READ_WRITE_MANY = "ReadWriteMany"


def _does_not_shrink(member: str) -> Rule:
    """Return the rule that a volume does not become smaller.

    What a class makes of a size that is absent is not known here: such a volume keeps its size, and the operator says so.
    """
    return Rule(
        "!has(self.size) || !has(oldSelf.size) || !isQuantity(string(self.size)) "
        "|| quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
        f"{member}.size may not become smaller, because volumes cannot shrink; set it back to at least the size it had, or "
        "remove it",
        ".size",
    )


ConnectionLimit = Annotated[int, Field(ge=1, le=10_000, json_schema_extra={"format": "int32"})]
"""How many connections a login may have at a time."""


class PostgresStore(ApiModel):
    """A database and roles of the server's own on the class's PostgreSQL."""

    connection_limit: ConnectionLimit | None = None
    """How many database connections all pods of the server may have at a time. Default: the class's, else 40, with a login
    60."""


class SqliteStore(ApiModel):
    """An SQLite file on a volume of its own. One replica only."""

    model_config = with_rules(_does_not_shrink("backendStore.sqlite"))

    size: StorageSize = DEFAULT_SQLITE_SIZE
    """The size of the volume. It can grow (where the StorageClass allows it) but not shrink. Default: the class's, else 1Gi; a volume
    that exists keeps its size."""
    storage_class_name: ObjectName | None = None
    """The StorageClass of the volume, fixed once it exists. Default: the cluster's default."""


class ExternalBackendStore(ApiModel):
    """A database that somebody else made. It is never created and never dropped by the operator."""

    uri_secret_ref: SecretKeyReference
    """The Secret, in the server's namespace, and its key that hold the SQLAlchemy URI, for example
    postgresql+psycopg2://user:password@host:5432/database. Options of it that name files of the pod are refused."""
    ca_config_map_ref: LocalObjectReference | None = None
    """A ConfigMap in the server's namespace with the CA certificates (PEM) under the key ca.crt, for PostgreSQL: certificate and
    host of the database are verified (sslmode verify-full, unless the URI says verify-ca). Default: as the URI says."""
    client_certificate_secret_ref: LocalObjectReference | None = None
    """A Secret in the server's namespace with the keys tls.crt and tls.key (PEM), for PostgreSQL: the certificate that the
    server shows, beside a password or instead of one. Default: none."""


class BackendStore(ApiModel):
    """Where runs, parameters, metrics and the model registry are kept."""

    model_config = with_rules(
        Rule(
            "[has(self.postgres), has(self.sqlite), has(self.external)].filter(named, named).size() <= 1",
            "backendStore has more than one of postgres, sqlite and external; keep the one to use and remove the others",
        )
    )

    postgres: PostgresStore | None = None
    """A database and roles of the server's own on the class's PostgreSQL."""
    external: ExternalBackendStore | None = None
    """A database that somebody else made."""
    sqlite: SqliteStore | None = None
    """An SQLite file on a volume of its own. One replica only."""

    @property
    def kind(self) -> BackendStoreKind | None:
        """The kind that the specification names, or None to keep what was decided."""
        if self.postgres is not None:
            return BackendStoreKind.POSTGRES
        if self.external is not None:
            return BackendStoreKind.EXTERNAL
        return None if self.sqlite is None else BackendStoreKind.SQLITE


class S3Store(ApiModel):
    """A prefix of the server's own in the class's bucket, and an identity that reaches that and nothing else."""


class ArtifactVolume(ApiModel):
    """A volume of the cluster, served by the tracking server itself."""

    model_config = with_rules(_does_not_shrink("artifactStore.volume"))

    size: StorageSize = DEFAULT_ARTIFACT_VOLUME_SIZE
    """The size of the volume. It can grow (where the StorageClass allows it) but not shrink. Default: the class's, else 10Gi; a volume
    that exists keeps its size."""
    storage_class_name: ObjectName | None = None
    """The StorageClass of the volume, fixed once it exists. Default: the cluster's default."""
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE
    """How the volume is mounted, fixed once it exists. More than one replica needs ReadWriteMany. Default: ReadWriteOnce."""


class ExternalArtifactStore(ApiModel):
    """A bucket or container that somebody else made. It is never created and never deleted by the operator."""

    model_config = with_rules(
        Rule(
            "self.uri.startsWith('s3://') || !(has(self.endpoint) || has(self.region) || has(self.addressingStyle) "
            "|| has(self.caConfigMapRef))",
            "endpoint, region, addressingStyle and caConfigMapRef of artifactStore.external are for s3:// only; remove them",
        ),
        Rule(
            "!has(self.caConfigMapRef) || !has(self.endpoint) || self.endpoint.startsWith('https://')",
            "artifactStore.external.endpoint must begin with https:// beside caConfigMapRef, because a CA verifies nothing "
            "without TLS",
            ".endpoint",
        ),
    )

    uri: Annotated[
        str,
        Field(
            max_length=1024,
            json_schema_extra=rules(
                Rule(
                    r"self.matches('^(s3|gs|abfss|wasbs)://[^\\s?#/]+(/[^\\s?#]*)?$')",
                    "must be a bucket or container, with an optional path, by one of the schemes s3://, gs://, "
                    "abfss:// and wasbs://, for example s3://bucket/path",
                )
            ),
        ),
    ]
    """The bucket or container and path, by one of the schemes s3://, gs://, abfss:// and wasbs://."""
    credentials_secret_ref: LocalObjectReference | None = None
    """A Secret in the server's namespace with the keys accessKeyId and secretAccessKey (and sessionToken), or
    credentials (an AWS credentials file), for s3://; credentials.json for gs://; connectionString or accountKey for
    abfss:// and wasbs://. Default: none, for a ServiceAccount that has the right itself."""
    endpoint: Endpoint | None = None
    """The URL of the S3 server, as pods and, where artifacts are not proxied, clients reach it. Default: AWS's own, unless the
    Secret or a variable names it."""
    region: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The region of the bucket. Default: none."""
    addressing_style: AddressingStyle | None = None
    """Where requests name the bucket. Default: path with an endpoint, else as the bucket's name allows."""
    ca_config_map_ref: LocalObjectReference | None = None
    """A ConfigMap in the server's namespace with the CA certificates (PEM) under the key ca.crt, with which the S3 server's
    certificate is verified. Default: the CAs of the image."""


class ArtifactStore(ApiModel):
    """Where artifacts and models are kept."""

    model_config = with_rules(
        Rule(
            "[has(self.s3), has(self.external), has(self.volume)].filter(named, named).size() <= 1",
            "artifactStore has more than one of s3, external and volume; keep the one to use and remove the others",
        ),
        Rule(
            "!has(self.volume) || !has(self.proxied) || self.proxied",
            "artifactStore.proxied: false needs artifactStore.s3 or artifactStore.external, because clients cannot reach "
            "the server's volume by themselves; remove proxied or name another store",
            ".proxied",
        ),
    )

    s3: S3Store | None = None
    """A prefix of the server's own in the class's bucket."""
    external: ExternalArtifactStore | None = None
    """A bucket or container that somebody else made."""
    volume: ArtifactVolume | None = None
    """A volume of the cluster, served by the tracking server itself."""
    proxied: bool = True
    """Whether artifacts go through the server, so that clients need no keys of their own. Affects new experiments
    only. Default: true."""

    @property
    def kind(self) -> ArtifactStoreKind | None:
        """The kind that the specification names, or None to keep what was decided."""
        if self.s3 is not None:
            return ArtifactStoreKind.S3
        if self.external is not None:
            return ArtifactStoreKind.EXTERNAL
        return None if self.volume is None else ArtifactStoreKind.VOLUME


class ServiceAccountSettings(ApiModel):
    """The server's ServiceAccount."""

    annotations: Annotations = {}
    """Annotations of the ServiceAccount, for example eks.amazonaws.com/role-arn; only those that the class permits."""


class BackupReference(ApiModel):
    """A TrackingServerBackup in the same namespace."""

    name: ObjectName
    """The name of the TrackingServerBackup."""


class Bootstrap(ApiModel):
    """What a new server starts with. It counts once, before the server's first start."""

    from_backup: BackupReference | None = None
    """The backup that a new server's empty database and prefix are filled from, of a server of the same class. Users of MLflow's
    login are not in it: the new server has passwords of its own. Default: none."""


class TrackingServerSpec(ApiModel):
    """What a team asks for. Every field is optional: an empty specification is a working server."""

    model_config = with_rules(
        enough_memory_for_mlflow("resources"),
        Rule(
            "!has(self.image) || has(self.version)",
            "image needs version, because the operator cannot see which MLflow an image holds; "
            'add for example version: "3.17.2"',
            ".version",
        ),
        Rule(
            "!has(self.replicas) || self.replicas <= 1 || !has(self.backendStore) || !has(self.backendStore.sqlite)",
            "replicas must be 0 or 1 with backendStore.sqlite, because only one pod can use the file; "
            "use backendStore.postgres or an external database for more",
            ".replicas",
        ),
        Rule(
            "!has(self.replicas) || self.replicas <= 1 || !has(self.artifactStore) "
            "|| !has(self.artifactStore.volume) || (has(self.artifactStore.volume.accessMode) "
            "&& self.artifactStore.volume.accessMode == 'ReadWriteMany')",
            "replicas must be 0 or 1 unless artifactStore.volume.accessMode is ReadWriteMany, because pods on "
            "several nodes must share the volume; set it to ReadWriteMany or use an external store",
            ".replicas",
        ),
    )

    class_name: ObjectName | None = None
    """The TrackingServerClass that sets rules and defaults; fixed once the server exists. Default: the class that is
    annotated tracking-operator.dev/is-default-class: "true", and without one a built-in class (SQLite and a volume)."""
    version: MlflowVersion | None = None
    """The MLflow release, one that the class offers, in quotes, such as "3.17.2": YAML takes 3.17 for a number, which the API
    server refuses ("must be of type string"). Default: the class's defaultVersion at creation."""
    image: ImageReference | None = None
    """An image of your own to run instead of the class's. Needs version, and the class's permission. Default: the
    class's image for the version."""
    replicas: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] | None = None
    """How many pods run. 0 is the same as suspend. Default: the class's, else 1."""
    workers: Annotated[int, Field(ge=1, le=32, json_schema_extra={"format": "int32"})] | None = None
    """How many MLflow worker processes run in each pod; each takes about 250 MiB. Default: the class's, else 1."""
    suspend: bool = False
    """Whether the server is put to sleep: no pods run, everything else is kept. Default: false."""
    sleep: Sleep = Sleep()
    """When the server sleeps by itself. Default: never."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the server's container. Default: the class's, else a request and limit that fit the workers."""
    jobs: JobSettings = JobSettings()
    """The Jobs of the server."""
    backend_store: BackendStore = BackendStore()
    """Where runs, parameters, metrics and the model registry are kept; at most one kind. Default: postgres where
    the class has it, else sqlite. The kind is fixed once the server exists, unless the annotation tracking-operator.dev/allow-empty-store is "true"."""
    artifact_store: ArtifactStore = ArtifactStore()
    """Where artifacts and models are kept; at most one kind. Default: s3 where the class has it, else volume. The kind is
    fixed once the server exists, unless the annotation tracking-operator.dev/allow-empty-store is "true"."""
    bootstrap: Bootstrap = Bootstrap()
    """What a new server starts with. Default: empty stores."""
    maintenance: Maintenance = Maintenance()
    """What the operator does to the server by itself at planned times."""
    access: Access = Access()
    """How people and programs reach the server."""
    network_policy: ServerNetworkPolicy = ServerNetworkPolicy()
    """Who may connect to the server's pods."""
    metrics: Metrics = Metrics()
    """What is told to Prometheus."""
    deletion_policy: DeletionPolicy | None = None
    """What happens to the data when this resource is deleted: Retain keeps it for a server of the same name, Delete
    removes it. Deleting the namespace always takes its volumes. Default: the class's, else Retain."""
    service_account: ServiceAccountSettings = ServiceAccountSettings()
    """The server's ServiceAccount."""
    pod_template: PodTemplate = PodTemplate()
    """Additions to the server's pods."""


StatusText = Annotated[str, Field(max_length=2048)]


class Address(ApiModel):
    """An address, found in the same place as in Knative's Addressable."""

    url: StatusText | None = None
    """The URL inside the cluster."""


class BackendStoreStatus(ApiModel):
    """What was decided about the backend store."""

    kind: BackendStoreKind
    """The kind of store that holds the data."""


class DatabaseStatus(ApiModel):
    """The server's own database on the class's PostgreSQL."""

    host: StatusText
    """The host of the PostgreSQL server."""
    port: Annotated[int, Field(json_schema_extra={"format": "int32"})]
    """Its port."""
    name: StatusText
    """The name of the database."""
    role: StatusText
    """The role that everything in the database belongs to. Nobody can log in as it."""
    login_role: StatusText | None = None
    """The login that the server's pods use now; it takes turns with another one when credentials rotate."""


class ArtifactStoreStatus(ApiModel):
    """What was decided about the artifact store."""

    kind: ArtifactStoreKind
    """The kind of store that holds the data."""
    bucket: StatusText | None = None
    """The bucket; absent with another kind than s3."""
    prefix: StatusText | None = None
    """The server's own prefix in the bucket, without a slash at its end."""
    endpoint: StatusText | None = None
    """The URL of the S3 server. Absent: AWS."""
    checked: StatusText | None = None
    """What the store was tried out with when all requests under the prefix succeeded and those outside were denied:
    a digest of place and identity."""


class ClientStatus(ApiModel):
    """What a client pod uses by envFrom."""

    config_map_name: StatusText | None = None
    """The ConfigMap that holds MLFLOW_TRACKING_URI, and TRACKING_SERVER_URL, which a person opens."""
    secret_name: StatusText | None = None
    """The Secret that holds what clients need to log in; absent where they need nothing."""


class GrantedNamespace(ApiModel):
    """Which namespace an entry of spec.access.clients.namespaces means."""

    name: Annotated[str, Field(max_length=63)]
    """The name of the namespace."""
    uid: Annotated[str, Field(max_length=64)]
    """The UID of the namespace that had the name when it was first seen. One that was made later is not meant."""


class ConnectedClient(ApiModel):
    """A TrackingServerClient that is let in: asked and granted."""

    namespace: Annotated[str, Field(max_length=63)]
    """Its namespace."""
    name: Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
    """Its name."""
    permission: ClientPermission
    """What it asks for."""


RevocationValue = Annotated[str, Field(max_length=LONGEST_REVOCATION)]


class RevocationStatus(ApiModel):
    """What the annotation tracking-operator.dev/revoke-now has ended: for each part, the value that it was done for last.

    Of a value of more than 64 characters it is the SHA-256, in hexadecimal digits.
    """

    backend_store: RevocationValue | None = None
    """Logins of the server's own database lost their passwords, and all sessions were ended."""
    artifact_store: RevocationValue | None = None
    """Access keys that the operator had made for the server's own prefix were deleted."""
    pods: RevocationValue | None = None
    """Pods were told to be made anew, with new credentials and another key to sign sessions and forms with."""
    login: RevocationValue | None = None
    """The users of MLflow's own login have other passwords, and no pod is left that was made before."""


Amount = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class UsageStatus(ApiModel):
    """How much the server has in the stores that the operator made for it. What could not be told is absent."""

    database_bytes: Amount | None = None
    """The size of the database in bytes, as pg_database_size has it."""
    runs: Amount | None = None
    """How many runs the database has, with those that were deleted and that mlflow gc has not removed yet."""
    models: Amount | None = None
    """How many registered models it has."""
    last_activity: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When a run began or ended, a registered model was changed or a trace began, whichever was last, as clients have said."""
    artifact_bytes: Amount | None = None
    """How many bytes the objects under the server's prefix have. Older versions of objects do not count."""
    artifact_objects: Amount | None = None
    """How many objects are under the prefix."""
    artifacts_incomplete: bool | None = None
    """True where there are more than the operator lists: then artifactBytes and artifactObjects are the least that there are."""
    measured_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})]
    """When this was measured: once an hour or so, and not while the server is suspended."""


class TrackingServerStatus(ApiModel):
    """What the team has got. Written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """The metadata.generation that this status was found for. Older than the resource's own: out of date."""
    conditions: Conditions = ()
    """How the server is, by type. Ready is the summary."""
    url: StatusText | None = None
    """What a person opens."""
    address: Address | None = None
    """The address inside the cluster."""
    class_name: StatusText | None = None
    """The TrackingServerClass in use. Absent: the built-in class."""
    version: StatusText | None = None
    """The MLflow release in use."""
    schema_revision: StatusText | None = None
    """The Alembic revision that was found in the database."""
    login_revision: StatusText | None = None
    """The Alembic revision of the tables of MLflow's own login, in the same database. Absent: nobody has to log in, or
    the tables are not there yet."""
    restored_from: StatusText | None = None
    """The TrackingServerBackup that the server's stores were filled from before its first start. Absent: none."""
    placement: Placement | None = None
    """Where the server and its data are, as placed at its creation: what tenants cannot write, and the operator goes by."""
    artifact_root: StatusText | None = None
    """Where new experiments keep their artifacts."""
    backend_store: BackendStoreStatus | None = None
    """What was decided about the backend store when the server was created."""
    artifact_store: ArtifactStoreStatus | None = None
    """What was decided about the artifact store when the server was created."""
    database: DatabaseStatus | None = None
    """The server's own database; absent with another kind of backend store."""
    client: ClientStatus | None = None
    """What a client pod uses by envFrom."""
    granted_namespaces: Annotated[
        tuple[GrantedNamespace, ...], Field(max_length=32, json_schema_extra=map_by("name"))
    ] = ()
    """Which namespaces the entries of spec.access.clients.namespaces mean."""
    clients: Annotated[
        tuple[ConnectedClient, ...], Field(max_length=32, json_schema_extra=map_by("namespace", "name"))
    ] = ()
    """The TrackingServerClients that are let in, of whichever namespace."""
    has_client_users: bool | None = None
    """Whether MLflow may have users that were made for TrackingServerClients. Absent: nobody has looked."""
    revocation: RevocationStatus | None = None
    """What the annotation tracking-operator.dev/revoke-now has ended; absent if it was never set."""
    usage: UsageStatus | None = None
    """How much the server has in the stores that the operator made for it; absent until it is measured for the first time."""
    maintenance: MaintenanceStatus | None = None
    """What was done to the server at planned times; absent while there was nothing."""
    sleep: SleepStatus | None = None
    """What has become of spec.sleep; absent while there is nothing to tell."""
    backups: BackupsStatus | None = None
    """How the server is backed up; absent without a plan as long as there is no backup."""
    replicas: Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})] | None = None
    """How many pods there are (scale subresource)."""
    selector: StatusText | None = None
    """The label selector of the pods (scale subresource)."""

    def condition(self, type_: ConditionType) -> Condition | None:
        """Return the condition of this type, or None."""
        return find_condition(self.conditions, type_)


def _stays_alone(store: str, kind: str, others: tuple[str, ...], message: str) -> Rule:
    """Return the rule that replicas are not raised above 1 while the store is of a kind for one pod.

    It is about what was decided; a store that the specification names has a rule of its own.
    """
    named = " ".join(f"|| self.?spec.?{store}.?{member}.hasValue()" for member in (*others, kind))
    return Rule(
        "self.?spec.?replicas.orValue(1) <= 1 || self.spec.replicas == oldSelf.?spec.?replicas.orValue(1) "
        f"{named} "
        f"|| oldSelf.?status.?{store}.?kind.orValue('') != '{kind}'",
        message,
        ".spec.replicas",
    )


class TrackingServer(ApiModel):
    """An MLflow tracking server for one team, with its own stores, that no other team can reach into.

    An empty specification is a working server.
    """

    model_config = with_rules(
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must begin with a lower-case letter, end with a letter or digit and have only a-z, 0-9 "
            "and '-' in it, because the Service is called like the server; choose another name",
            ".metadata.name",
        ),
        Rule(
            f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
            f"metadata.name may have at most {MAX_NAME_LENGTH} characters, because names of other objects are made "
            "from it; choose a shorter name",
            ".metadata.name",
        ),
        Rule(
            "self.metadata.name != 'default'",
            "metadata.name may not be default, because the server's ServiceAccount is called like the server; "
            "choose another name",
            ".metadata.name",
        ),
        Rule(
            "!has(oldSelf.status) || !has(oldSelf.status.className) || oldSelf.status.className == '' "
            "|| !has(self.spec) || !has(self.spec.className) || self.spec.className == oldSelf.status.className "
            "|| self.spec.className == oldSelf.?spec.?className.orValue('')",
            "spec.className is fixed once the server exists; remove it or set it back to the class in status.className, "
            "and create another server for another class",
            ".spec.className",
        ),
        _stays_alone(
            "backendStore",
            BackendStoreKind.SQLITE,
            (BackendStoreKind.POSTGRES, BackendStoreKind.EXTERNAL),
            "spec.replicas must be 0 or 1, because this server keeps its runs in SQLite, whose file only one pod can "
            "use; a server with a PostgreSQL or an external database can have more",
        ),
        _stays_alone(
            "artifactStore",
            ArtifactStoreKind.VOLUME,
            (ArtifactStoreKind.S3, ArtifactStoreKind.EXTERNAL),
            "spec.replicas must be 0 or 1, because this server keeps its artifacts on a volume; if several nodes can "
            "mount it, say so with spec.artifactStore.volume.accessMode: ReadWriteMany",
        ),
    )

    api_version: str = API_VERSION
    kind: Literal["TrackingServer"] = "TrackingServer"
    metadata: ObjectMeta = ObjectMeta()
    spec: TrackingServerSpec = TrackingServerSpec()
    """What the team asks for."""
    status: TrackingServerStatus = TrackingServerStatus()
    """What the team has got. Written by the operator only."""

    @property
    def allows_empty_store(self) -> bool:
        """Whether the owner accepts that a change of store starts empty."""
        return self.metadata.annotations.get(ALLOW_EMPTY_STORE_ANNOTATION) == "true"

    @property
    def may_be_orphaned(self) -> bool:
        """Whether the owner accepts that data which cannot be deleted stays behind."""
        return self.metadata.annotations.get(FORCE_ORPHAN_ANNOTATION) == "true"

    @property
    def asked_rotation(self) -> str:
        """The value that asked for new credentials last; empty if none ever did."""
        return self.metadata.annotations.get(ROTATE_CREDENTIALS_ANNOTATION, "")

    @property
    def asked_revocation(self) -> str:
        """The value that asks for the end of all access, as the status records it; empty if nobody asks."""
        return self._asked_by(REVOKE_NOW_ANNOTATION)

    @property
    def asked_waking(self) -> str:
        """The value that asks for the end of its sleep, as the status records it; empty if nobody asks."""
        return self._asked_by(WAKE_ANNOTATION)

    def _asked_by(self, annotation: str) -> str:
        asked = self.metadata.annotations.get(annotation, "")
        return asked if len(asked) <= LONGEST_REVOCATION else hashlib.sha256(asked.encode()).hexdigest()
