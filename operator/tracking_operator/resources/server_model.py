"""One frozen model of a tracking server, from which every object is built.

Each derived value is computed once, here; the builders only arrange them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tracking_operator import naming
from tracking_operator.api.kubernetes_types import ResourceRequirements
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.placement import ArtifactPlacement, ArtifactStoreKind, BackendStoreKind, Placement
from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.server_access import BasicAuthenticationSpec, Permission
from tracking_operator.api.tracking_server import AccessMode, ArtifactVolume, SqliteStore, TrackingServer
from tracking_operator.api.tracking_server_class import (
    DEFAULT_CONNECTION_LIMIT,
    AddressingStyle,
    S3Identity,
    S3StoreSpec,
    SslMode,
    TrackingServerClassSpec,
)
from tracking_operator.resources.destinations import Destinations, Network
from tracking_operator.resources.server_address import Address, ServerAccess
from tracking_operator.stores.postgres.pool import pool_size

KubeObject = dict[str, Any]

CONNECTION_LIMIT_WITH_LOGIN = 60
"""Where nobody says: with the login's own connections, as many replicas as 40 are good for without it."""

# MLflow 3.17 takes about 420 MiB with one worker process and 180 to 240 MiB for each further one.
FIRST_WORKER_REQUEST_MIB, FURTHER_WORKER_REQUEST_MIB = 640, 256
FIRST_WORKER_LIMIT_MIB, FURTHER_WORKER_LIMIT_MIB = 1024, 384


@dataclass(frozen=True)
class Volume:
    """A volume claim of the server's own."""

    claim: str
    size: str
    storage_class: str | None
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE


@dataclass(frozen=True)
class SqliteBackend:
    """A SQLite file on a volume."""

    volume: Volume


@dataclass(frozen=True)
class PostgresBackend:
    """A database and roles of the server's own on the class's PostgreSQL."""

    host: str
    port: int
    database: str
    secret: str
    """The Secret that the operator writes: a service file, and the CA where the class names one."""
    ssl_mode: SslMode
    has_own_ca: bool
    """Whether the CA comes from the class; if not, the CAs of the image count."""
    connection_limit: int
    most_databases: int
    """How many databases the server's namespace may have there, with those of deleted servers."""


@dataclass(frozen=True)
class ExternalBackend:
    """A database of somebody else's, behind a URI in a Secret."""

    secret: str
    key: str


BackendStore = PostgresBackend | SqliteBackend | ExternalBackend


@dataclass(frozen=True)
class VolumeArtifacts:
    """Artifacts on a volume, served by the tracking server itself."""

    volume: Volume


@dataclass(frozen=True)
class ExternalArtifacts:
    """Artifacts in an object store of somebody else's."""

    uri: str
    secret: str | None


@dataclass(frozen=True)
class S3Artifacts:
    """A prefix of the server's own in the class's bucket."""

    bucket: str
    prefix: str
    """Without a slash at its end."""
    region: str
    endpoint: str | None
    """The URL of the S3 server; None for AWS."""
    addressing_style: AddressingStyle
    secret: str | None
    """The Secret that is mounted: ``NAME-artifacts``, which the operator writes, or the team's own; None without any."""
    has_own_ca: bool
    """Whether the CA comes from the class; if not, the CAs of the image count."""
    has_keys: bool
    """Whether the Secret has keys; if not, the identity comes by the ServiceAccount."""
    has_own_keys: bool = False
    """Whether the keys are those of a Secret that somebody else made."""
    role_arn: str | None = None
    """The role that the ServiceAccount assumes (IAM roles for service accounts)."""
    encryption: str | None = None
    """What every upload has to ask for; None where the bucket's policy does not care."""
    uses_pod_identity: bool = False
    """Whether the pods get their identity from EKS Pod Identity."""

    @property
    def uri(self) -> str:
        """The prefix as MLflow names it."""
        return f"s3://{self.bucket}/{self.prefix}"


ArtifactStore = S3Artifacts | VolumeArtifacts | ExternalArtifacts


@dataclass(frozen=True)
class BasicLogin:
    """MLflow's own login, with its tables beside the others."""

    default_permission: Permission
    """What an ordinary user may do with what belongs to others."""


@dataclass(frozen=True)
class ServerModel:
    """Everything that the builders need to know about one tracking server."""

    namespace: str
    name: str
    uid: str
    version: str
    image: str
    replicas: int
    """Pods wanted; 0 while the server is suspended."""
    replicas_awake: int
    """Pods wanted while the server is not suspended; at least 1."""
    workers: int
    resources: ResourceRequirements
    backend_store: BackendStore
    artifact_store: ArtifactStore
    proxied: bool
    """Whether clients reach artifacts through the server instead of the store."""
    access: ServerAccess
    cluster_domain: str
    service_account_annotations: dict[str, str]
    pod_template: PodTemplate
    credentials_digest: str
    """Changes whenever the content of a mounted Secret does; empty without one."""
    network: Network = field(default_factory=Network)
    destinations: Destinations | None = None
    """Where the pods have to connect to, as Services and Secrets say; None before somebody has looked at these."""
    login: BasicLogin | None = None
    """Who is let in; None: whoever reaches the server."""
    permitted_variables: tuple[str, ...] = ()
    """Names, or beginnings with a star, of variables by which teams may steer what runs in the pods."""

    @cached_property
    def names(self) -> naming.ChildNames:
        """What the server's objects are called."""
        return naming.ChildNames(self.name)

    @property
    def address(self) -> Address:
        """Where clients find the server now; ``access.wanted`` is what its pods are made for."""
        return self.access.address

    @property
    def path(self) -> str:
        """The URL prefix, ``/`` for none."""
        return self.address.path

    @property
    def service_url(self) -> str:
        """The URL inside the cluster."""
        return naming.service_url(self.name, self.namespace, self.path)

    @property
    def url(self) -> str:
        """What a person opens; inside the cluster only, where the server has no host."""
        return self.address.url or self.service_url

    @property
    def volumes(self) -> list[Volume]:
        """The server's own volume claims."""
        stores = (self.backend_store, self.artifact_store)
        return [store.volume for store in stores if isinstance(store, SqliteBackend | VolumeArtifacts)]

    @property
    def is_bound_to_one_pod(self) -> bool:
        """Whether a volume lets only one pod at a time run, so that a roll must stop the old one first."""
        return any(volume.access_mode != AccessMode.READ_WRITE_MANY for volume in self.volumes)

    @property
    def needs_migration_job(self) -> bool:
        """Whether a Job brings the schema up to date; SQLite is the init container's business."""
        return not isinstance(self.backend_store, SqliteBackend)

    def pool_size(self, connection_limit: int) -> int:
        """How many connections MLflow keeps, so that all pods together stay below the login's limit.

        Raises Invalid: the limit is too small for so many pods and workers.
        """
        return pool_size(
            connection_limit,
            replicas=self.replicas_awake,
            workers=self.workers,
            has_login=self.login is not None,
        )

    @property
    def artifact_root(self) -> str:
        """The place of artifacts as people should read it."""
        if isinstance(self.artifact_store, S3Artifacts | ExternalArtifacts):
            return self.artifact_store.uri
        return "mlflow-artifacts:/"

    @property
    def owner_reference(self) -> KubeObject:
        """What makes an object one of this server's, to be collected when the server goes."""
        return {
            "apiVersion": API_VERSION,
            "kind": "TrackingServer",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def model_server(
    resource: TrackingServer,
    placement: Placement,
    class_spec: TrackingServerClassSpec,
    *,
    version: str,
    image: str,
    cluster_domain: str,
    credentials_digest: str,
    access: ServerAccess,
    network: Network | None = None,
    artifact_secret: str | None = None,
    role_arn: str | None = None,
) -> ServerModel:
    """Combine what the team wrote, what was decided once, and what the class offers.

    ``artifact_secret`` and ``role_arn`` are what the class's templates for the identities ``secret`` and ``irsa`` write.
    """
    spec, defaults = resource.spec, class_spec.defaults
    workers = wanted_workers(resource, class_spec)
    return ServerModel(
        namespace=resource.metadata.namespace,
        name=resource.metadata.name,
        uid=resource.metadata.uid,
        version=version,
        image=image,
        replicas=0 if spec.suspend else wanted_replicas(resource, class_spec),
        replicas_awake=max(1, wanted_replicas(resource, class_spec)),
        workers=workers,
        resources=bounded_resources(
            spec.resources or defaults.resources or default_resources(workers),
            class_spec.most_resources,
            default_resources(workers),
        ),
        backend_store=_backend_store(resource, placement, class_spec),
        artifact_store=_artifact_store(
            resource, placement, class_spec, artifact_secret=artifact_secret, role_arn=role_arn
        ),
        proxied=spec.artifact_store.proxied,
        access=access,
        cluster_domain=cluster_domain,
        service_account_annotations=dict(spec.service_account.annotations),
        pod_template=spec.pod_template,
        permitted_variables=class_spec.permissions.pod_template.variables,
        credentials_digest=credentials_digest,
        network=network or Network(),
        login=wanted_login(resource, class_spec),
    )


def wanted_login(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> BasicLogin | None:
    """The login that the team asks for, or the class where the team does not say; None for none.

    A class that was stored before it had to say asks for one.
    """
    asked, offered = resource.spec.access.authentication, class_spec.access.authentication
    is_open = asked.none is not None if asked else offered is not None and offered.none is not None
    if is_open:
        return None
    basic = offered.basic if offered else None
    return BasicLogin((basic or BasicAuthenticationSpec()).default_permission)


def wanted_replicas(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> int:
    """How many pods the team asks for, suspended or not."""
    return _first(resource.spec.replicas, class_spec.defaults.replicas, 1)


def wanted_workers(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> int:
    """How many MLflow worker processes each pod runs."""
    return _first(resource.spec.workers, class_spec.defaults.workers, 1)


def default_resources(workers: int) -> ResourceRequirements:
    """CPU and memory for a pod with so many worker processes."""
    request = FIRST_WORKER_REQUEST_MIB + FURTHER_WORKER_REQUEST_MIB * (workers - 1)
    limit = FIRST_WORKER_LIMIT_MIB + FURTHER_WORKER_LIMIT_MIB * (workers - 1)
    return ResourceRequirements.model_validate(
        {"requests": {"cpu": "250m", "memory": f"{request}Mi"}, "limits": {"memory": f"{limit}Mi"}}
    )


def bounded_resources(
    asked: ResourceRequirements, maxima: Mapping[str, str], usual: ResourceRequirements
) -> ResourceRequirements:
    """State every limit and request: what has no limit gets the class's maximum as one.

    Where a team names a limit only, the request equals it, as the API server would default it; stated, it is
    ours to compare. Where it names neither, the request is the ``usual`` one.
    """
    limits = {**maxima, **(asked.limits or {})}
    requests = {**maxima, **(usual.requests or {}), **(asked.limits or {}), **(asked.requests or {})}
    return ResourceRequirements(
        requests={
            name: amount for name, amount in requests.items() if name in limits | (asked.requests or {})
        },
        limits=limits,
    )


def wanted_connection_limit(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> int:
    """How many connections the logins of the server may have together at a time."""
    asked, offer = resource.spec.backend_store.postgres, class_spec.postgres
    if asked and asked.connection_limit:
        return asked.connection_limit
    if offer and "connection_limit" in offer.model_fields_set:
        return offer.connection_limit
    default = CONNECTION_LIMIT_WITH_LOGIN if wanted_login(resource, class_spec) else DEFAULT_CONNECTION_LIMIT
    return min(default, class_spec.most_connections)


def _backend_store(
    resource: TrackingServer, placement: Placement, class_spec: TrackingServerClassSpec
) -> BackendStore:
    store = resource.spec.backend_store
    names = naming.ChildNames(resource.metadata.name)
    if placement.database is not None:
        offer = class_spec.postgres
        return PostgresBackend(
            host=placement.database.host,
            port=placement.database.port,
            database=placement.database.name,
            secret=names.database,
            ssl_mode=offer.ssl_mode if offer else SslMode.VERIFY_FULL,
            has_own_ca=bool(offer and offer.ca_config_map_ref),
            connection_limit=wanted_connection_limit(resource, class_spec),
            most_databases=class_spec.most_databases,
        )
    if placement.backend_store is BackendStoreKind.EXTERNAL:
        if (
            store.external is None
        ):  # taken out of the specification, which is refused: only looked at, never built
            return ExternalBackend("", "")
        reference = store.external.uri_secret_ref
        return ExternalBackend(reference.name, reference.key)
    sqlite = store.sqlite or SqliteStore()
    return SqliteBackend(Volume(names.backend_store, sqlite.size, sqlite.storage_class_name))


def _artifact_store(
    resource: TrackingServer,
    placement: Placement,
    class_spec: TrackingServerClassSpec,
    *,
    artifact_secret: str | None,
    role_arn: str | None,
) -> ArtifactStore:
    store = resource.spec.artifact_store
    names = naming.ChildNames(resource.metadata.name)
    if placement.artifacts is not None:
        if class_spec.s3 is None:  # taken out of the class: only looked at, never built
            return _unreachable_artifacts(placement.artifacts)
        return _s3_artifacts(placement.artifacts, class_spec.s3, names, artifact_secret, role_arn)
    if placement.artifact_store is ArtifactStoreKind.EXTERNAL:
        if store.external is None:
            return ExternalArtifacts("", None)
        credentials = store.external.credentials_secret_ref
        return ExternalArtifacts(store.external.uri, credentials.name if credentials else None)
    volume = store.volume or ArtifactVolume()
    return VolumeArtifacts(
        Volume(names.artifact_store, volume.size, volume.storage_class_name, volume.access_mode)
    )


def _s3_artifacts(
    decided: ArtifactPlacement,
    offer: S3StoreSpec,
    names: naming.ChildNames,
    artifact_secret: str | None,
    role_arn: str | None,
) -> S3Artifacts:
    has_own_ca = offer.ca_config_map_ref is not None
    has_own_keys = offer.identity.secret is not None
    has_keys = has_own_keys or _makes_keys(offer.identity)
    written_by_us = names.artifacts if has_keys or has_own_ca else None
    return S3Artifacts(
        bucket=decided.bucket,
        prefix=decided.prefix,
        region=offer.region,
        endpoint=decided.endpoint,
        addressing_style=offer.effective_addressing_style,
        secret=artifact_secret if has_own_keys else written_by_us,
        has_own_ca=has_own_ca,
        has_keys=has_keys,
        has_own_keys=has_own_keys,
        role_arn=role_arn if offer.identity.irsa else None,
        encryption=offer.require_encryption,
        uses_pod_identity=offer.identity.pod_identity is not None,
    )


def _makes_keys(identity: S3Identity) -> bool:
    """Whether the operator makes a user with keys for each server."""
    return identity.iam_user is not None or identity.versitygw is not None


def _unreachable_artifacts(decided: ArtifactPlacement) -> S3Artifacts:
    return S3Artifacts(
        bucket=decided.bucket,
        prefix=decided.prefix,
        region="",
        endpoint=decided.endpoint,
        addressing_style=AddressingStyle.PATH,
        secret=None,
        has_own_ca=False,
        has_keys=False,
    )


def _first(*candidates: int | None) -> int:
    return next(candidate for candidate in candidates if candidate is not None)
