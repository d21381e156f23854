"""What a class lets its servers ask for: a chain of small checks, each of which may object.

Pure. All checks run, so that a team hears of everything at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import LabelSelector, ResourceRequirements
from tracking_operator.api.tracking_server import (
    ArtifactStoreKind,
    BackendStoreKind,
    DeletionPolicy,
    TrackingServer,
)
from tracking_operator.failures import Invalid
from tracking_operator.kube.quantities import parse_quantity
from tracking_operator.reconcile.classes import ChosenClass, version_order
from tracking_operator.resources.artifact_environment import RESERVED_ARTIFACT_ENV
from tracking_operator.resources.server import (
    PostgresBackend,
    S3Artifacts,
    ServerModel,
    VolumeArtifacts,
)


@dataclass(frozen=True)
class Request:
    """A server's specification beside everything that it is measured against."""

    server: TrackingServer
    model: ServerModel
    chosen: ChosenClass
    namespace_labels: Mapping[str, str]
    older_siblings: int
    """Servers of the same class in the namespace that come before this one."""
    own_host: str = ""
    """The host that was decided for the server, which it may always have."""


OPEN_PATHS: Final = ("/static", "/favicon.ico", "/health")

Objection = tuple[Reason, str]
Check = Callable[[Request], Iterator[Objection]]


def require_permitted(request: Request) -> None:
    """Raise Invalid with every objection that the checks have; its reason is the first one's."""
    objections = [objection for check in CHECKS for objection in check(request)]
    if objections:
        raise Invalid(objections[0][0], " ".join(sentence for _, sentence in objections))


def require_namespace_allowed(chosen: ChosenClass, namespace: str, labels: Mapping[str, str]) -> None:
    """Raise Invalid if the class is not for this namespace."""
    selector = chosen.spec.allowed_namespaces
    if selector is not None and not selects(selector, labels):
        raise Invalid(
            Reason.NAMESPACE_NOT_ALLOWED,
            f"The {chosen.title} is not for namespace {namespace!r}, whose labels its allowedNamespaces does not "
            "select: use another class, or ask the platform team to label the namespace.",
        )


def image_for(server: TrackingServer, version: str, chosen: ChosenClass, offered: Mapping[str, str]) -> str:
    """The image to run. Raises Invalid if the version is not on offer."""
    if version not in offered:
        versions = ", ".join(sorted(offered, key=version_order))
        raise Invalid(
            Reason.VERSION_NOT_OFFERED,
            f"MLflow {version} is not offered by {chosen.title}: set spec.version to one of {versions}.",
        )
    return server.spec.image or offered[version]


def require_no_downgrade(server: TrackingServer, version: str) -> None:
    """Raise Invalid if the data was already brought up to a newer version."""
    settled = server.status.version
    if settled and version_order(version) < version_order(settled):
        raise Invalid(
            Reason.DOWNGRADE_REFUSED,
            f"spec.version {version} is older than {settled}, which the data was brought up to and which goes on "
            f"running: set spec.version to {settled} or newer.",
        )


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches, as Kubernetes defines it."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for requirement in selector.match_expressions:
        value = labels.get(requirement.key)
        matches = {
            "In": value in requirement.values,
            "NotIn": value not in requirement.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[requirement.operator]
        if not matches:
            return False
    return True


def _image(request: Request) -> Iterator[Objection]:
    if request.server.spec.image and not request.chosen.spec.permissions.custom_images:
        yield _forbidden(request, "spec.image", "permissions.customImages")


def _external_stores(request: Request) -> Iterator[Objection]:
    if request.chosen.spec.permissions.external_stores:
        return
    if request.server.spec.backend_store.kind is BackendStoreKind.EXTERNAL:
        yield _forbidden(request, "spec.backendStore.external", "permissions.externalStores")
    if request.server.spec.artifact_store.kind is ArtifactStoreKind.EXTERNAL:
        yield _forbidden(request, "spec.artifactStore.external", "permissions.externalStores")


def _deletion_policy(request: Request) -> Iterator[Objection]:
    permitted = request.chosen.spec.permissions.deletion_policy_delete
    if request.server.spec.deletion_policy is DeletionPolicy.DELETE and not permitted:
        yield _forbidden(request, "spec.deletionPolicy: Delete", "permissions.deletionPolicyDelete")


def _service_account(request: Request) -> Iterator[Objection]:
    permitted = request.chosen.spec.permissions.service_account_annotations
    for key in sorted(set(request.server.spec.service_account.annotations) - set(permitted)):
        yield _forbidden(
            request, f"spec.serviceAccount.annotations[{key!r}]", "permissions.serviceAccountAnnotations"
        )


def _pod_template(request: Request) -> Iterator[Objection]:
    template, permitted = request.server.spec.pod_template, request.chosen.spec.permissions.pod_template
    scheduling = {
        "nodeSelector": template.node_selector,
        "tolerations": template.tolerations,
        "affinity": template.affinity,
        "topologySpreadConstraints": template.topology_spread_constraints,
    }
    environment = {"env": template.env, "envFrom": template.env_from}
    if not permitted.scheduling:
        for field in (name for name, value in scheduling.items() if value):
            yield _forbidden(request, f"spec.podTemplate.{field}", "permissions.podTemplate.scheduling")
    if not permitted.env:
        for field in (name for name, value in environment.items() if value):
            yield _forbidden(request, f"spec.podTemplate.{field}", "permissions.podTemplate.env")
    priority = template.priority_class_name
    if priority and priority not in permitted.priority_class_names:
        yield _forbidden(
            request,
            f"spec.podTemplate.priorityClassName {priority!r}",
            "permissions.podTemplate.priorityClassNames",
        )


def _replicas(request: Request) -> Iterator[Objection]:
    model, limit = request.model, request.chosen.spec.limits.max_replicas
    if limit is not None and model.replicas > limit:
        yield (
            Reason.LIMIT_EXCEEDED,
            f"spec.replicas is {model.replicas}, but {request.chosen.title} allows {limit}: ask for fewer.",
        )
    if model.replicas > 1 and model.is_bound_to_one_pod:
        yield (
            Reason.INVALID_SPEC,
            f"spec.replicas is {model.replicas}, but SQLite or a volume that is not ReadWriteMany serves one pod: "
            "set spec.replicas to 1, or use an external database and a shared artifact store.",
        )


def _connections(request: Request) -> Iterator[Objection]:
    store, limit = request.model.backend_store, request.chosen.spec.limits.max_connections
    if not isinstance(store, PostgresBackend):
        return
    if limit is not None and store.connection_limit > limit:
        yield (
            Reason.LIMIT_EXCEEDED,
            f"spec.backendStore.postgres.connectionLimit is {store.connection_limit}, but {request.chosen.title} allows "
            f"{limit}: ask for fewer.",
        )
    try:
        request.model.pool_sizes(store.connection_limit)
    except Invalid as failure:
        yield failure.reason, failure.message


def _proxied(request: Request) -> Iterator[Objection]:
    if not request.model.proxied and isinstance(request.model.artifact_store, VolumeArtifacts):
        yield (
            Reason.INVALID_SPEC,
            "spec.artifactStore.proxied is false, but this server keeps its artifacts on a volume, which clients cannot reach "
            "by themselves: remove it, or use an artifact store in a bucket.",
        )


def _artifact_environment(request: Request) -> Iterator[Objection]:
    if not isinstance(request.model.artifact_store, S3Artifacts):
        return
    asked = {variable.name for variable in request.server.spec.pod_template.env}
    for name in sorted(asked & RESERVED_ARTIFACT_ENV):
        yield (
            Reason.INVALID_SPEC,
            f"spec.podTemplate.env sets {name}, by which the operator tells the pods where their artifacts are: remove it.",
        )


def _resources(request: Request) -> Iterator[Objection]:
    asked: ResourceRequirements = request.model.resources
    for name, limit in request.chosen.spec.limits.max_resources.items():
        for field, amounts in (("requests", asked.requests), ("limits", asked.limits)):
            if amounts and name in amounts and parse_quantity(amounts[name]) > parse_quantity(limit):
                yield (
                    Reason.LIMIT_EXCEEDED,
                    f"spec.resources.{field}.{name} is {amounts[name]}, but {request.chosen.title} allows {limit}: "
                    "ask for less.",
                )


def _servers_in_namespace(request: Request) -> Iterator[Objection]:
    limit = request.chosen.spec.limits.max_servers_per_namespace
    if limit is not None and request.older_siblings >= limit:
        yield (
            Reason.LIMIT_EXCEEDED,
            f"Namespace {request.model.namespace!r} has {request.older_siblings} older servers and "
            f"{request.chosen.title} allows {limit}: delete one, or ask the platform team for more.",
        )


def _host(request: Request) -> Iterator[Objection]:
    asked, permitted = request.server.spec.access.host, permitted_hosts(request.chosen)
    if asked in (None, request.own_host) or permitted is None:
        return
    if not any(matches_host(pattern, asked) for pattern in permitted):
        yield _forbidden(request, f"spec.access.host {asked!r}", "permissions.hosts")


def permitted_hosts(chosen: ChosenClass) -> Sequence[str] | None:
    """The patterns of hosts that teams may choose; None: all. Where the class leads to its servers, its word counts."""
    offer, hosts = chosen.spec.access, chosen.spec.permissions.hosts
    if hosts is None and (offer.ingress or offer.gateway):
        return ()
    return hosts


def matches_host(pattern: str, host: str) -> bool:
    """Whether a pattern means the host: ``*.`` stands for exactly one label, as in a certificate (RFC 9525, 6.3)."""
    if not pattern.startswith("*."):
        return pattern == host
    label, _, domain = host.partition(".")
    return bool(label) and domain == pattern.removeprefix("*.")


def _named_host(request: Request) -> Iterator[Objection]:
    routing = request.model.access.routing
    if not routing.is_offered or request.model.access.wanted.hosts:
        return
    what = "an Ingress" if routing.ingress else "a Gateway"
    yield (
        Reason.INVALID_SPEC,
        f"The {request.chosen.title} has {what} for its servers, but neither it nor this server names a host: set "
        "spec.access.host, or ask the platform team to set naming.host.",
    )


def _anonymous_access(request: Request) -> Iterator[Objection]:
    asked, offered = (
        request.server.spec.access.authentication,
        request.chosen.spec.access.authentication,
    )
    is_opened = (
        asked is not None and asked.none is not None and offered is not None and offered.basic is not None
    )
    if is_opened and not request.chosen.spec.permissions.anonymous_access:
        yield _forbidden(request, "spec.access.authentication.none", "permissions.anonymousAccess")


def _login(request: Request) -> Iterator[Objection]:
    """MLflow asks nobody to log in whose path begins like one of its open ones (3.17.2: server/auth, is_unprotected_route)."""
    prefix = request.model.access.wanted.prefix
    if request.model.login and prefix.startswith(OPEN_PATHS):
        yield (
            Reason.INVALID_SPEC,
            f"The path {prefix} begins with {' or '.join(OPEN_PATHS)}, where MLflow lets everybody in without a login: set "
            "spec.access.path to another one.",
        )


def _forbidden(request: Request, field: str, permission: str) -> Objection:
    return (
        Reason.NOT_PERMITTED,
        f"{field} is not permitted by {permission} of {request.chosen.title}: "
        "remove it, or ask the platform team.",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _image,
    _external_stores,
    _deletion_policy,
    _service_account,
    _pod_template,
    _replicas,
    _connections,
    _proxied,
    _artifact_environment,
    _resources,
    _servers_in_namespace,
    _host,
    _named_host,
    _anonymous_access,
    _login,
)
