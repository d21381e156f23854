"""One frozen model of a tracking server, from which every object is built.

Each derived value is computed once, here; the builders only arrange them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tracking_operator import naming
from tracking_operator.api.base import seconds_in
from tracking_operator.api.kubernetes_types import ResourceRequirements
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.placement import Placement
from tracking_operator.api.pod_settings import RolloutStrategy, UserIds
from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.server_access import BasicAuthenticationSpec, Permission, Probe
from tracking_operator.api.tracking_server import AccessMode, TrackingServer
from tracking_operator.api.tracking_server_class import DEFAULT_CONNECTION_LIMIT, TrackingServerClassSpec
from tracking_operator.resources.destinations import Destinations, Network
from tracking_operator.resources.server_address import Address, ServerAccess
from tracking_operator.resources.single_sign_on import SingleSignOn
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import ArtifactStore, BackendStore, Volume
from tracking_operator.resources.stores.registry import artifact_store_of, backend_store_of
from tracking_operator.stores.postgres.pool import connections_for, pool_size, require_budget, usual_limit

KubeObject = dict[str, Any]

CONNECTION_LIMIT_WITH_LOGIN = 60
"""Where nobody says, and no number of replicas or workers needs more: with the login's own connections, as many replicas as 40
are good for without it."""

# MLflow 3.17 takes about 420 MiB with one worker process and 180 to 240 MiB for each further one.
FIRST_WORKER_REQUEST_MIB, FURTHER_WORKER_REQUEST_MIB = 640, 256
FIRST_WORKER_LIMIT_MIB, FURTHER_WORKER_LIMIT_MIB = 1024, 384


@dataclass(frozen=True)
class BasicLogin:
    """MLflow's own login, with its tables beside the others."""

    default_permission: Permission
    """What an ordinary user may do with what belongs to others."""


@dataclass(frozen=True)
class GarbageCollection:
    """What the Job removes that collects garbage."""

    older_than_hours: int
    keeps_registered: bool


@dataclass(frozen=True)
class ServerModel:
    """Everything that the builders need to know about one tracking server."""

    namespace: str
    name: str
    uid: str
    version: str
    image: str
    replicas: int
    """Pods wanted; 0 while the server is suspended or sleeps."""
    replicas_awake: int
    """Pods wanted while the server is not suspended; at least 1."""
    workers: int
    resources: ResourceRequirements
    """What the container that serves may use, and what checks the stores before it."""
    job_resources: ResourceRequirements
    """What the container of a Job may use."""
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
    single_sign_on: SingleSignOn | None = None
    """Where people log in; None: at MLflow itself, or not at all. With it there is a ``login``, too: MLflow's users and permissions."""
    sets_user_ids: bool = True
    """Whether pods say as which user and groups they run; if not, the cluster does."""
    rollout: RolloutStrategy = RolloutStrategy.SURGE
    """What comes first when a pod is replaced, where volumes leave a choice."""
    is_probed: bool = True
    """Whether the operator sends requests to the server."""
    has_metrics: bool = False
    """Whether pods count requests for Prometheus."""
    notes_requests: bool = False
    """Whether pods tell the operator when they were asked something last."""
    permitted_variables: tuple[str, ...] = ()
    """Names, or beginnings with a star, of variables by which teams may steer what runs in the pods."""
    garbage: GarbageCollection | None = None
    """What is removed at planned times of what the team has deleted; None: nothing."""
    why_asleep: str = ""
    """Why no pods are wanted, in sentences, where that is not the specification's word."""

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
        return [*self.backend_store.claims(), *self.artifact_store.claims()]

    @property
    def is_bound_to_one_pod(self) -> bool:
        """Whether a volume lets only one pod at a time run, so that a roll must stop the old one first."""
        return any(volume.access_mode != AccessMode.READ_WRITE_MANY for volume in self.volumes)

    @property
    def surges(self) -> bool:
        """Whether a new pod starts before the old one ends."""
        return not self.is_bound_to_one_pod and self.rollout is RolloutStrategy.SURGE

    @property
    def needs_migration_job(self) -> bool:
        """Whether a Job brings the schema up to date; if not, it is the init container's business."""
        return self.backend_store.pod_parts().needs_migration_job

    def pool_size(self, connection_limit: int) -> int:
        """How many connections each of MLflow's pools keeps: the same for any number of pods."""
        return pool_size(connection_limit, workers=self.workers, has_login=self.login is not None)

    def has_room_for_pools(self, size: int) -> bool:
        """Whether pools of this size stay below the login's limit with as many pods as there are."""
        limit = self.backend_store.pod_parts().connection_limit
        needed = connections_for(
            size, replicas=self.replicas_awake, workers=self.workers, has_login=self.login is not None
        )
        return limit is not None and needed <= limit

    def require_connections(self, connection_limit: int) -> None:
        """Require that all pods together can work with the login's limit.

        Raises Invalid: it is too small for so many pods and workers.
        """
        require_budget(
            connection_limit,
            replicas=self.replicas_awake,
            workers=self.workers,
            has_login=self.login is not None,
        )

    @property
    def artifact_root(self) -> str:
        """The place of artifacts as people should read it."""
        return self.artifact_store.client_parts().root

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
    single_sign_on: SingleSignOn | None = None,
) -> ServerModel:
    """Combine what the team wrote, what was decided once, and what the class offers.

    ``artifact_secret`` and ``role_arn`` are what the class's templates for the identities ``secret`` and ``irsa`` write;
    ``single_sign_on`` is what they write for a server that has it.
    """
    spec = resource.spec
    workers = wanted_workers(resource, class_spec)
    resources = wanted_resources(resource, class_spec)
    stores = StoreInputs(
        resource,
        placement,
        class_spec,
        connection_limit=wanted_connection_limit(resource, class_spec),
        artifact_secret=artifact_secret,
        role_arn=role_arn,
    )
    return ServerModel(
        namespace=resource.metadata.namespace,
        name=resource.metadata.name,
        uid=resource.metadata.uid,
        version=version,
        image=image,
        replicas=0 if spec.suspend else wanted_replicas(resource, class_spec),
        replicas_awake=max(1, wanted_replicas(resource, class_spec)),
        workers=workers,
        resources=resources,
        job_resources=wanted_job_resources(resource, class_spec, resources),
        backend_store=backend_store_of(stores),
        artifact_store=artifact_store_of(stores),
        proxied=spec.artifact_store.proxied,
        access=access,
        cluster_domain=cluster_domain,
        service_account_annotations=dict(spec.service_account.annotations),
        pod_template=spec.pod_template,
        sets_user_ids=class_spec.pod_security.user_ids is UserIds.OPERATOR,
        rollout=spec.pod_template.rollout.strategy or class_spec.rollout.strategy or RolloutStrategy.SURGE,
        is_probed=class_spec.access.probe is Probe.OPERATOR,
        has_metrics=wanted_metrics(resource, class_spec),
        garbage=wanted_garbage_collection(resource),
        notes_requests=spec.sleep.after_idle is not None,
        permitted_variables=class_spec.permissions.pod_template.variables,
        credentials_digest=credentials_digest,
        network=network or Network(),
        login=wanted_login(resource, class_spec),
        single_sign_on=single_sign_on,
    )


def wanted_login(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> BasicLogin | None:
    """The login that the team asks for, or the class where the team does not say; None for none.

    A class that was stored before it had to say asks for one. Who logs in at an identity provider is a user of MLflow's, too.
    """
    asked, offered = resource.spec.access.authentication, class_spec.access.authentication
    is_open = asked.none is not None if asked else offered is not None and offered.none is not None
    if is_open:
        return None
    if offered and offered.oidc and (asked is None or asked.oidc):
        return BasicLogin(Permission(offered.oidc.default_permission))
    basic = offered.basic if offered else None
    return BasicLogin((basic or BasicAuthenticationSpec()).default_permission)


def wanted_metrics(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> bool:
    """Whether the team asks for metrics, or the class where the team does not say."""
    asked, default = resource.spec.metrics.enabled, class_spec.defaults.metrics.enabled
    return bool(default if asked is None else asked)


def wanted_garbage_collection(resource: TrackingServer) -> GarbageCollection | None:
    """What the team wants to have removed of what it has deleted."""
    plan = resource.spec.maintenance.garbage_collection
    if plan is None:
        return None
    return GarbageCollection(int(seconds_in(plan.older_than)) // 3600, plan.keep_registered)


def wanted_replicas(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> int:
    """How many pods the team asks for, suspended or not."""
    return _first(resource.spec.replicas, class_spec.defaults.replicas, 1)


def wanted_workers(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> int:
    """How many MLflow worker processes each pod runs."""
    return _first(resource.spec.workers, class_spec.defaults.workers, 1)


def wanted_resources(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> ResourceRequirements:
    """CPU and memory of the container that serves."""
    usual = default_resources(wanted_workers(resource, class_spec))
    asked = resource.spec.resources or class_spec.defaults.resources or usual
    return bounded_resources(asked, class_spec.most_resources, usual)


def wanted_job_resources(
    resource: TrackingServer, class_spec: TrackingServerClassSpec, of_server: ResourceRequirements
) -> ResourceRequirements:
    """CPU and memory of a Job's container: what fits the server fits its Jobs, unless somebody says otherwise.

    A ResourceQuota, a LimitRange or a policy of the namespace that the server's pods satisfy lets its Jobs pass as well.
    """
    asked = resource.spec.jobs.resources or class_spec.jobs.resources
    if asked is None:
        return of_server
    # A limit of the server's may be less than what is asked for here.
    only_requested = set(asked.requests or {}) - set(asked.limits or {})
    maxima = {
        name: class_spec.most_resources.get(name, amount) if name in only_requested else amount
        for name, amount in {**class_spec.most_resources, **(of_server.limits or {})}.items()
    }
    return bounded_resources(asked, maxima, of_server)


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
    asked, class_store = resource.spec.backend_store.postgres, class_spec.postgres
    if asked and asked.connection_limit:
        return asked.connection_limit
    if class_store and "connection_limit" in class_store.model_fields_set:
        return class_store.connection_limit
    has_login = wanted_login(resource, class_spec) is not None
    default = CONNECTION_LIMIT_WITH_LOGIN if has_login else DEFAULT_CONNECTION_LIMIT
    usual = usual_limit(
        replicas=wanted_replicas(resource, class_spec),
        workers=wanted_workers(resource, class_spec),
        has_login=has_login,
    )
    return min(max(default, usual), class_spec.most_connections)


def _first(*candidates: int | None) -> int:
    return next(candidate for candidate in candidates if candidate is not None)
