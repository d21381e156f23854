"""From a specification to a model of what has to exist. Pure; raises Invalid where that cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tracking_operator import naming
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import ConnectedClient, GrantedNamespace, TrackingServer
from tracking_operator.api.tracking_server_class import BUILT_IN_CLASS, TrackingServerClass
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.address.change import (
    address_change_message,
    is_address_change,
    move,
    wanted_address,
)
from tracking_operator.controllers.server.address.desired import access_as_recorded, access_of, address_of
from tracking_operator.controllers.server.spec.inputs import Inputs, Sibling
from tracking_operator.controllers.server.spec.permissions import (
    CHECKS,
    Check,
    PermissionRequest,
    image_for,
    require_namespace_allowed,
    require_no_downgrade,
    require_permitted,
)
from tracking_operator.controllers.server.spec.placement import (
    Note,
    decide_placement,
    differences_today,
    host_today,
    is_of_earlier_operator,
    named_host,
    placement_of,
    wanted_version,
)
from tracking_operator.controllers.server.spec.placement_from_marks import NOTHING_FOUND, Found
from tracking_operator.controllers.server_class.class_of_server import (
    ChosenClass,
    choose_class,
    default_class_name,
    default_version,
    offered_images,
)
from tracking_operator.controllers.server_class.s3_identities import named_role, named_secret
from tracking_operator.controllers.server_class.single_sign_on import single_sign_on_of
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.resources.destinations import Network
from tracking_operator.resources.server_model import ServerModel, model_server
from tracking_operator.timings import Timings

NAMESPACE_RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True)
class ReconcileSettings:
    """What the platform team set for the whole operator, as far as servers are concerned."""

    cluster_name: str
    image_repository: str
    namespace: str = "tracking-operator-system"
    """The operator's own namespace: the Secrets and ConfigMaps that classes name are there."""
    namespaces: tuple[str, ...] = ()
    """The namespaces that are served; empty: all."""
    cluster_domain: str = "cluster.local"
    ip_families: tuple[str, ...] = ("IPv4",)
    """The families of the cluster's addresses."""
    has_built_in_class: bool = True
    """Whether servers without a class get the built-in one."""
    watches_secrets: bool = True
    """Whether the cache hears of changed Secrets by itself."""
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True)
class Plan:
    """What was decided, and the model to build from; credentials are looked at later."""

    chosen: ChosenClass
    placement: Placement
    model: ServerModel
    notes: Sequence[Note]
    news: str = ""
    """What to tell everybody about a change of address that begins now; empty without one."""
    granted_namespaces: tuple[GrantedNamespace, ...] = ()
    """Which namespaces are meant to whom the owner grants the use of the server by name."""
    clients: tuple[ConnectedClient, ...] = ()
    """The clients that are let in."""


def make_plan(
    server: TrackingServer,
    inputs: Inputs,
    settings: ReconcileSettings,
    checks: Sequence[Check] = CHECKS,
    found: Found = NOTHING_FOUND,
) -> Plan:
    """Place and model one server, where it is ``found`` if it has no placement; what takes effect is what the class has to permit today, placed before or not.

    Raises Invalid: the specification cannot be carried out. Waiting: the namespace is being deleted.
    """
    if inputs.namespace_is_terminating:
        raise Waiting(
            Reason.NAMESPACE_TERMINATING,
            f"Namespace {server.metadata.namespace!r} is being deleted, so nothing is created in it any more: "
            "create the server in another namespace.",
            retry_after=NAMESPACE_RETRY_SECONDS,
        )
    before = placement_of(server)
    chosen = choose_class(
        server,
        before,
        inputs.classes,
        has_built_in=settings.has_built_in_class,
        unreadable=inputs.unreadable_classes,
    )
    require_namespace_allowed(chosen, server.metadata.namespace, inputs.namespace_labels)
    offered = offered_images(chosen.spec, settings.image_repository)
    newest = default_version(chosen.spec, offered)
    values = _template_values(server, chosen, inputs, settings)
    if before and is_of_earlier_operator(server):
        before = before.updated(host=named_host(chosen, values))
    placement = decide_placement(server, before, chosen, values, newest, found=found)
    wanted = wanted_address(server, placement)
    placement = move(placement, before, wanted, inputs.deployment, inputs.pods)
    version = wanted_version(server, placement)
    image = image_for(server, version, chosen, offered)
    require_no_downgrade(server, version)
    model = model_server(
        server,
        placement,
        chosen.spec,
        version=version,
        image=image,
        cluster_domain=settings.cluster_domain,
        credentials_digest="",
        access=access_of(server, placement, chosen, values),
        network=_network(server, chosen, settings, inputs.clients),
        artifact_secret=named_secret(chosen, values),
        role_arn=named_role(chosen, values),
        single_sign_on=single_sign_on_of(server, chosen, values),
    )
    default_class = _undisputed_default(inputs.classes)
    request = PermissionRequest(
        server,
        model,
        chosen,
        values,
        earlier_servers=_earlier_siblings(server, inputs.siblings, chosen.name, default_class),
        host_of_template=host_today(chosen, values),
        host_once_given=before.host if before else "",
        own_place=(placement.host, placement.path),
    )
    require_permitted(request, checks)
    notes = differences_today(
        server, placement, chosen, values, default_version=newest, default_class=default_class
    )
    return Plan(
        chosen,
        placement,
        model,
        notes,
        _address_change_message(placement, before, model, chosen, values),
        tuple(inputs.granted_namespaces),
        tuple(sorted(inputs.clients, key=lambda one: (one.namespace, one.name))),
    )


def model_of_what_runs(
    server: TrackingServer, settings: ReconcileSettings, replicas: int
) -> ServerModel | None:
    """A model of a server whose specification is refused, good for looking at what still runs; None for a new one."""
    before = placement_of(server)
    if before is None:
        return None
    version = server.status.version or before.version
    model = model_server(
        server,
        before,
        BUILT_IN_CLASS,  # the class does not matter to what runs
        version=version,
        image="",
        cluster_domain=settings.cluster_domain,
        credentials_digest="",
        access=access_as_recorded(server, before),
    )
    return replace(model, replicas=replicas)


def _address_change_message(
    placement: Placement,
    before: Placement | None,
    model: ServerModel,
    chosen: ChosenClass,
    values: naming.TemplateValues,
) -> str:
    if before is None or not is_address_change(placement, before):
        return ""
    old = address_of(before.address_in_use, model.access.routing, chosen, values)
    return address_change_message(old, model.access.wanted)


def spec_result(plan: Plan) -> ConditionResult:
    """Say that the specification is valid, and what is worth knowing about it."""
    if not plan.notes:
        return ConditionResult(
            ConditionType.SPEC_VALID, Verdict.OK, Reason.AS_EXPECTED, f"Permitted by {plan.chosen.title}."
        )
    message = " ".join(note.message for note in plan.notes)
    return ConditionResult(ConditionType.SPEC_VALID, Verdict.OK, plan.notes[0].reason, message)


def _network(
    server: TrackingServer,
    chosen: ChosenClass,
    settings: ReconcileSettings,
    clients: Sequence[ConnectedClient],
) -> Network:
    offered = chosen.spec.access.network_policy
    return Network(
        operator_namespace=settings.namespace,
        ip_families=settings.ip_families,
        ingress_from=offered.ingress_from,
        metrics_from=offered.metrics_from,
        further_from=server.spec.network_policy.from_,
        client_namespaces=tuple(sorted({one.namespace for one in clients})),
        egress=offered.egress,
    )


def _template_values(
    server: TrackingServer, chosen: ChosenClass, inputs: Inputs, settings: ReconcileSettings
) -> naming.TemplateValues:
    return naming.TemplateValues(
        namespace=server.metadata.namespace,
        name=server.metadata.name,
        class_name=chosen.name,
        cluster_name=settings.cluster_name,
        namespace_labels=inputs.namespace_labels,
    )


def _undisputed_default(classes: Sequence[TrackingServerClass]) -> str | None:
    """The default class of the moment (empty: the built-in one); None while several claim to be it."""
    try:
        return default_class_name({one.metadata.name: one for one in classes})
    except Invalid:
        return None


def _earlier_siblings(
    server: TrackingServer, siblings: Sequence[Sibling], class_name: str, default_class: str | None
) -> int:
    """How many servers of the class come first; their own troubles are not ours."""
    me = Sibling.of(server)
    classes = (default_class if one.class_name is None else one.class_name for one in siblings)
    return sum(
        name == class_name and one.comes_before(me) for name, one in zip(classes, siblings, strict=True)
    )
