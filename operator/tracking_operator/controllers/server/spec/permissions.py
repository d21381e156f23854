"""What a class lets its servers ask for: a chain of small checks, each of which may object.

Pure. All checks run, so that a team hears of everything at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator import naming
from tracking_operator.api.base import matches_key
from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import LabelSelector, ResourceRequirements
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.controllers.server.sleep.windows import never_wakes
from tracking_operator.controllers.server.spec.remedies import namespace_remedy, not_permitted
from tracking_operator.controllers.server_class.class_of_server import (
    ChosenClass,
    unusable_template,
    version_order,
)
from tracking_operator.controllers.server_class.unique_templates import belongs_elsewhere
from tracking_operator.failures import Invalid
from tracking_operator.kube.quantities import parse_quantity
from tracking_operator.pod_tools.in_clean_environment import steers
from tracking_operator.resources.pod.environment import permitted
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.schedule import BadScheduleError, schedule_of


@dataclass(frozen=True)
class PermissionRequest:
    """A server's specification beside everything that it is measured against."""

    server: TrackingServer
    model: ServerModel
    chosen: ChosenClass
    values: naming.TemplateValues
    """What the class's templates know of the server."""
    earlier_servers: int
    """Servers of the same class in the namespace that come before this one."""
    host_of_template: str = ""
    """The host that the class's template gives today."""
    host_once_given: str = ""
    """The host that the class's template gave when the server was placed."""
    own_place: tuple[str, str] = ("", "")
    """The host and path that the class's templates gave when the server was placed."""


OPEN_PATHS: Final = ("/static", "/favicon.ico", "/health")

Objection = tuple[Reason, str]
Check = Callable[[PermissionRequest], Iterator[Objection]]


def require_permitted(request: PermissionRequest, checks: Sequence[Check]) -> None:
    """Raise Invalid with every objection that the checks have; its reason is the first one's."""
    objections = [objection for check in checks for objection in check(request)]
    if objections:
        raise Invalid(objections[0][0], " ".join(sentence for _, sentence in objections))


def require_namespace_allowed(chosen: ChosenClass, namespace: str, labels: Mapping[str, str]) -> None:
    """Raise Invalid if the class is not for this namespace."""
    selector = chosen.spec.allowed_namespaces
    if selector is not None and not selects(selector, labels):
        raise Invalid(
            Reason.NAMESPACE_NOT_ALLOWED,
            f"The {chosen.title} is not for namespace {namespace!r}, whose labels its allowedNamespaces does not "
            f"select: {namespace_remedy(selector, namespace, labels)}",
        )


def objection_to_deletion(server: TrackingServer, chosen: ChosenClass, labels: Mapping[str, str]) -> str:
    """Why data is kept although the server's specification says that it is deleted with it; empty if nothing forbids that."""
    if server.spec.deletion_policy is not DeletionPolicy.DELETE:
        return ""
    if chosen.is_gone:
        return f"The {chosen.title} is gone, and with it what it permits."
    selector = chosen.spec.allowed_namespaces
    if selector is not None and not selects(selector, labels):
        return f"The {chosen.title} is not for this namespace any more."
    if not chosen.spec.permissions.deletion_policy_delete:
        return f"spec.deletionPolicy: Delete is not permitted by permissions.deletionPolicyDelete of {chosen.title}."
    return ""


def image_for(server: TrackingServer, version: str, chosen: ChosenClass, offered: Mapping[str, str]) -> str:
    """The image to run. Raises Invalid if the version is not on class_access."""
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


def _image(request: PermissionRequest) -> Iterator[Objection]:
    if request.server.spec.image and not request.chosen.spec.permissions.custom_images:
        yield _forbidden(request, "spec.image", "permissions.customImages")


def _external_stores(request: PermissionRequest) -> Iterator[Objection]:
    if request.chosen.spec.permissions.external_stores:
        return
    if request.server.spec.backend_store.kind is BackendStoreKind.EXTERNAL:
        yield _forbidden(request, "spec.backendStore.external", "permissions.externalStores")
    if request.server.spec.artifact_store.kind is ArtifactStoreKind.EXTERNAL:
        yield _forbidden(request, "spec.artifactStore.external", "permissions.externalStores")


def _deletion_policy(request: PermissionRequest) -> Iterator[Objection]:
    permitted = request.chosen.spec.permissions.deletion_policy_delete
    if request.server.spec.deletion_policy is DeletionPolicy.DELETE and not permitted:
        yield _forbidden(request, "spec.deletionPolicy: Delete", "permissions.deletionPolicyDelete")


def _service_account(request: PermissionRequest) -> Iterator[Objection]:
    permitted = request.chosen.spec.permissions.service_account_annotations
    for key in sorted(set(request.server.spec.service_account.annotations) - set(permitted)):
        yield _forbidden(
            request,
            f"spec.serviceAccount.annotations[{key!r}]",
            "permissions.serviceAccountAnnotations",
            permitted,
        )


def _pod_template(request: PermissionRequest) -> Iterator[Objection]:
    template, permitted = request.server.spec.pod_template, request.chosen.spec.permissions.pod_template
    scheduling = {
        "nodeSelector": template.node_selector,
        "tolerations": template.tolerations,
        "affinity": template.affinity,
        "topologySpreadConstraints": template.topology_spread_constraints,
    }
    environment = {"env": template.env, "envFrom": template.env_from}
    for field, keys, patterns in (
        ("labels", template.labels, permitted.labels),
        ("annotations", template.annotations, permitted.annotations),
    ):
        for key in sorted(keys):
            if not any(matches_key(pattern, key) for pattern in patterns):
                what, permission = f"spec.podTemplate.{field}[{key!r}]", f"permissions.podTemplate.{field}"
                yield _forbidden(request, what, permission, patterns)
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
            permitted.priority_class_names,
        )


def _replicas(request: PermissionRequest) -> Iterator[Objection]:
    model, limit = request.model, request.chosen.spec.most_replicas
    if model.replicas > limit:
        yield (
            Reason.LIMIT_EXCEEDED,
            f"spec.replicas is {model.replicas}, but {request.chosen.title} allows {limit}: set it to {limit} or fewer, or ask "
            "the platform team to raise limits.maxReplicas.",
        )
    if model.replicas > 1 and model.is_bound_to_one_pod:
        yield (
            Reason.INVALID_SPEC,
            f"spec.replicas is {model.replicas}, but SQLite or a volume that is not ReadWriteMany serves one pod: "
            "set spec.replicas to 1, or use an external database and a shared artifact store.",
        )


def _connections(request: PermissionRequest) -> Iterator[Objection]:
    asked = request.model.backend_store.pod_parts().connection_limit
    limit = request.chosen.spec.most_connections
    if asked is None:
        return
    if asked > limit:
        yield (
            Reason.LIMIT_EXCEEDED,
            f"spec.backendStore.postgres.connectionLimit is {asked}, but {request.chosen.title} allows "
            f"{limit}: set it to {limit} or fewer, or ask the platform team to raise limits.maxConnections.",
        )
    if asked > limit or request.model.replicas > request.chosen.spec.most_replicas:
        return  # what remains to be said depends on numbers that are not to be
    try:
        request.model.require_connections(asked)
    except Invalid as failure:
        yield failure.reason, _too_few_of_the_class(request, limit) or failure.message


def _too_few_of_the_class(request: PermissionRequest, limit: int) -> str:
    """What to say where as many connections as the class allows are not enough either; empty: they are."""
    model = request.model
    try:
        model.require_connections(limit)
    except Invalid:
        return (
            f"{model.replicas} replicas with {model.workers} workers each need more than the {limit} database connections that "
            f"{request.chosen.title} allows: lower replicas or workers, or ask the platform team to raise "
            "limits.maxConnections."
        )
    return ""


def _proxied(request: PermissionRequest) -> Iterator[Objection]:
    if not request.model.proxied and not request.model.artifact_store.client_parts().are_admitted:
        yield (
            Reason.INVALID_SPEC,
            "spec.artifactStore.proxied is false, but this server keeps its artifacts on a volume, which clients cannot reach "
            "by themselves: remove it, or use an artifact store in a bucket.",
        )


def _steering_variables(request: PermissionRequest) -> Iterator[Objection]:
    patterns = permitted(request.model)
    for name in sorted(variable.name for variable in request.server.spec.pod_template.env):
        if steers(name) and not any(matches_key(pattern, name) for pattern in patterns):
            yield _forbidden(
                request, f"spec.podTemplate.env {name}", "permissions.podTemplate.variables", patterns
            )


def _artifact_environment(request: PermissionRequest) -> Iterator[Objection]:
    asked = {variable.name for variable in request.server.spec.pod_template.env}
    patterns = permitted(request.model)
    for name in sorted(asked & request.model.artifact_store.pod_parts().reserved_variables):
        if not any(matches_key(pattern, name) for pattern in patterns):
            continue  # refused already, as everything of its kind
        yield (
            Reason.INVALID_SPEC,
            f"spec.podTemplate.env sets {name}, by which the operator tells the pods where their artifacts are: remove it.",
        )


def _resources(request: PermissionRequest) -> Iterator[Objection]:
    of_class, spec, model = request.chosen.title, request.server.spec, request.model
    for name, most in request.chosen.spec.most_resources.items():
        yield from _unreadable(f"limits.maxResources.{name} of {of_class}", most)
    source = "spec.resources" if spec.resources else f"The {of_class}: defaults.resources"
    yield from _amounts(request, source, model.resources)
    if model.job_resources != model.resources:
        source = "spec.jobs.resources" if spec.jobs.resources else f"The {of_class}: jobs.resources"
        yield from _amounts(request, source, model.job_resources)


def _amounts(request: PermissionRequest, source: str, asked: ResourceRequirements) -> Iterator[Objection]:
    of_class, limits = request.chosen.title, request.chosen.spec.most_resources
    for field, amounts in (("requests", asked.requests or {}), ("limits", asked.limits or {})):
        for name, amount in amounts.items():
            limit = limits.get(name)
            if amount == limit:
                continue  # the class's own, as for what the team leaves unsaid
            yield from _unreadable(f"{source}.{field}.{name}", amount)
            if limit is not None and _is_more(amount, limit):
                yield (
                    Reason.LIMIT_EXCEEDED,
                    f"{source}.{field}.{name} is {amount}, but {of_class} allows {limit}: set it to {limit} or less, or ask "
                    f"the platform team to raise limits.maxResources.{name}.",
                )


def _is_more(amount: str, limit: str) -> bool:
    """Whether a quantity is above another one; of one that cannot be read, _unreadable has told already."""
    try:
        return parse_quantity(amount) > parse_quantity(limit)
    except ValueError:
        return False


def _volume_sizes(request: PermissionRequest) -> Iterator[Objection]:
    for volume in request.model.volumes:
        yield from _unreadable(volume.field, volume.size)


def _unreadable(field: str, quantity: str) -> Iterator[Objection]:
    """What is wrong with a quantity that was stored before the CRDs refused its like."""
    try:
        parse_quantity(quantity)
    except ValueError as error:
        yield Reason.INVALID_SPEC, f"{field} cannot be read: {error} Write it in another way."


def _servers_in_namespace(request: PermissionRequest) -> Iterator[Objection]:
    limit = request.chosen.spec.limits.max_servers_per_namespace
    if request.earlier_servers >= limit:
        yield (
            Reason.LIMIT_EXCEEDED,
            f"Namespace {request.model.namespace!r} has {request.earlier_servers} servers that come first and "
            f"{request.chosen.title} allows {limit}: delete one of them, or ask the platform team to raise "
            "limits.maxServersPerNamespace.",
        )


def _host(request: PermissionRequest) -> Iterator[Objection]:
    """The host that takes effect, whether it is asked for now or was placed earlier."""
    asked, host = request.server.spec.access.host, request.model.access.wanted.host
    if host in ("", request.host_of_template):
        return
    if not may_have_host(request.chosen, request.values, host, request.host_once_given):
        what = f"spec.access.host {host!r}" if asked else f"The host {host!r}, which this server had so far,"
        permitted = permitted_hosts(request.chosen, request.values) or ()
        hosts = [one for one in (request.host_of_template, *permitted) if one]
        yield _forbidden(request, what, "permissions.hosts", hosts)


def may_have_host(
    chosen: ChosenClass, values: naming.TemplateValues, host: str, once_given: str = ""
) -> bool:
    """Whether the class lets a server have a host that its template does not give today.

    A class that says nothing about hosts lets servers keep the one that its template once gave.
    Raises Invalid: a template among the permitted hosts cannot be used.
    """
    permitted = permitted_hosts(chosen, values)
    if permitted is None or (chosen.spec.permissions.hosts is None and host == once_given):
        return True
    return any(matches_host(pattern, host) for pattern in permitted)


def _place_of_others(request: PermissionRequest) -> Iterator[Objection]:
    """A place that the class's templates keep for another namespace, whether a server is there by now or not."""
    access, wanted = request.server.spec.access, request.model.access.wanted
    if access.host is None and access.path is None:
        return
    asked = sorted(wanted.places - {request.own_place})
    if place := belongs_elsewhere(request.chosen, request.values, asked):
        yield (
            Reason.NOT_PERMITTED,
            f"{place} is an address that {request.chosen.title} keeps for servers of another namespace: set spec.access.host "
            "and spec.access.path to an address of this namespace's own, or remove them.",
        )


def permitted_hosts(chosen: ChosenClass, values: naming.TemplateValues) -> Sequence[str] | None:
    """The patterns of hosts that a server may choose; None: all. Where the class leads to its servers, its word counts.

    Raises Invalid: a template among them cannot be used.
    """
    class_access, hosts = chosen.spec.access, chosen.spec.permissions.hosts
    if hosts is None:
        return () if class_access.ingress or class_access.gateway else None
    try:
        return [naming.host_pattern(template, values) for template in hosts]
    except naming.BadName as error:
        raise unusable_template(chosen, "permissions.hosts", error) from error


def matches_host(pattern: str, host: str) -> bool:
    """Whether a pattern means the host: ``*.`` stands for exactly one label, as in a certificate (RFC 9525, 6.3)."""
    if not pattern.startswith("*."):
        return pattern == host
    label, _, domain = host.partition(".")
    return bool(label) and domain == pattern.removeprefix("*.")


def _named_host(request: PermissionRequest) -> Iterator[Objection]:
    routing = request.model.access.routing
    if not routing.is_offered or request.model.access.wanted.hosts:
        return
    what = "an Ingress" if routing.ingress else "a Gateway"
    yield (
        Reason.INVALID_SPEC,
        f"The {request.chosen.title} has {what} for its servers, but neither it nor this server names a host: set "
        "spec.access.host, or ask the platform team to set naming.host.",
    )


def _anonymous_access(request: PermissionRequest) -> Iterator[Objection]:
    asked, offered = (
        request.server.spec.access.authentication,
        request.chosen.spec.access.authentication,
    )
    is_offered = offered is not None and offered.none is not None
    is_opened = asked is not None and asked.none is not None and not is_offered
    if is_opened and not request.chosen.spec.permissions.anonymous_access:
        yield _forbidden(request, "spec.access.authentication.none", "permissions.anonymousAccess")


def _single_sign_on(request: PermissionRequest) -> Iterator[Objection]:
    """Passwords in the place of the class's identity provider, and groups that the class does not let a team name."""
    asked, offered = (
        request.server.spec.access.authentication,
        request.chosen.spec.access.authentication,
    )
    permissions = request.chosen.spec.permissions
    has_provider = offered is not None and offered.oidc is not None
    if asked and asked.basic is not None and has_provider and not permissions.basic_authentication:
        yield _forbidden(request, "spec.access.authentication.basic", "permissions.basicAuthentication")
    for group in asked.oidc.allowed_groups if asked and asked.oidc else ():
        if not any(matches_key(pattern, group) for pattern in permissions.oidc.groups):
            field = f"spec.access.authentication.oidc.allowedGroups {group!r}"
            yield _forbidden(request, field, "permissions.oidc.groups", permissions.oidc.groups)


def _login(request: PermissionRequest) -> Iterator[Objection]:
    """MLflow asks nobody to log in whose path begins like one of its open ones (3.17.2: server/auth, is_unprotected_route)."""
    prefix = request.model.access.wanted.prefix
    if request.model.login and prefix.startswith(OPEN_PATHS):
        yield (
            Reason.INVALID_SPEC,
            f"The path {prefix} begins with {' or '.join(OPEN_PATHS)}, where MLflow lets everybody in without a login: set "
            "spec.access.path to another one.",
        )


def _forbidden(
    request: PermissionRequest, field: str, permission: str, permitted: Sequence[str] | None = None
) -> Objection:
    return Reason.NOT_PERMITTED, not_permitted(request.chosen, field, permission, permitted)


def _bootstrap(request: PermissionRequest) -> Iterator[Objection]:
    """Only stores that the operator makes are filled from a backup, and only in the way that it was stored."""
    server, model = request.server, request.model
    is_due = server.spec.bootstrap.from_backup is not None and server.status.restored_from is None
    if is_due and not (model.backend_store.is_managed and model.artifact_store.is_managed):
        yield (
            Reason.INVALID_SPEC,
            "spec.bootstrap.fromBackup needs a database on the class's PostgreSQL and a prefix in the class's bucket, and this server "
            "has other stores: make it in the class of the server that was backed up.",
        )


def _sleep(request: PermissionRequest) -> Iterator[Objection]:
    """Times that mean something, and leave some time to be awake."""
    try:
        is_endless = never_wakes(request.server.spec.sleep.schedule)
    except BadScheduleError as error:
        yield Reason.INVALID_SPEC, f"spec.sleep.schedule cannot be read: {error}"
        return
    if is_endless:
        yield (
            Reason.INVALID_SPEC,
            "spec.sleep.schedule leaves no time to be awake: shorten its times, or set spec.suspend instead.",
        )
    if request.server.spec.sleep.after_idle is not None and not request.model.is_probed:
        yield (
            Reason.INVALID_SPEC,
            f"spec.sleep.afterIdle needs requests of the operator to the server's pods, which {request.chosen.title} rules out "
            "(access.probe): remove it, or use spec.sleep.schedule.",
        )


def _garbage_collection(request: PermissionRequest) -> Iterator[Objection]:
    """A plan that means something, for stores that the operator makes."""
    plan, model = request.server.spec.maintenance.garbage_collection, request.model
    if plan is None:
        return
    try:
        schedule_of(plan.schedule, plan.time_zone)
    except BadScheduleError as error:
        yield Reason.INVALID_SPEC, f"spec.maintenance.garbageCollection.schedule cannot be read: {error}"
    if not (model.backend_store.is_managed and model.artifact_store.is_managed):
        yield (
            Reason.INVALID_SPEC,
            "spec.maintenance.garbageCollection needs a database on the class's PostgreSQL and a prefix in the class's bucket, and "
            "this server has other stores: remove it, and run `mlflow gc` yourself.",
        )


CHECKS_AT_DELETION: Final[tuple[Check, ...]] = (_image, _service_account, _pod_template, _resources)
"""What the pod of the Job that deletes artifacts has of the specification; all else does not matter any more."""

CHECKS: Final[tuple[Check, ...]] = (
    _image,
    _external_stores,
    _deletion_policy,
    _service_account,
    _pod_template,
    _replicas,
    _connections,
    _proxied,
    _bootstrap,
    _sleep,
    _garbage_collection,
    _steering_variables,
    _artifact_environment,
    _resources,
    _volume_sizes,
    _servers_in_namespace,
    _host,
    _place_of_others,
    _named_host,
    _anonymous_access,
    _single_sign_on,
    _login,
)
