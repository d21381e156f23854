"""From a specification to a model of what has to exist. Pure; raises Invalid where that cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracking_operator import naming
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.decision import Decision
from tracking_operator.api.marks import RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass, TrackingServerClassSpec
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.objects import KubeObject
from tracking_operator.reconcile.access import access_as_recorded, access_of, address_of
from tracking_operator.reconcile.classes import (
    ChosenClass,
    choose_class,
    default_class_name,
    default_version,
    offered_images,
)
from tracking_operator.reconcile.decide import (
    Note,
    decide,
    differences_today,
    has_lost_its_record,
    named_host,
    recorded_decision,
    wanted_version,
)
from tracking_operator.reconcile.findings import Finding, Verdict
from tracking_operator.reconcile.moves import is_news, move, news_of_move, wanted_address
from tracking_operator.reconcile.policy import (
    Request,
    image_for,
    require_namespace_allowed,
    require_no_downgrade,
    require_permitted,
)
from tracking_operator.reconcile.s3_identities import named_role, named_secret
from tracking_operator.resources.destinations import Network
from tracking_operator.resources.server import ServerModel, model_server

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


@dataclass(frozen=True)
class Surroundings:
    """What a server is measured against, besides its own specification."""

    classes: Sequence[TrackingServerClass]
    namespace_labels: dict[str, str]
    namespace_is_terminating: bool
    siblings: Sequence[TrackingServer]
    """The other servers in the namespace."""
    deployment: KubeObject | None = None
    """The server's own, as it runs now."""
    pods: Sequence[KubeObject] = ()
    """The server's own that exist, those that are about to stop among them."""


@dataclass(frozen=True)
class Plan:
    """What was decided, and the model to build from; credentials are looked at later."""

    chosen: ChosenClass
    decision: Decision
    model: ServerModel
    notes: Sequence[Note]
    news: str = ""
    """What to tell everybody about a change of address that begins now; empty without one."""


def make_plan(server: TrackingServer, around: Surroundings, settings: ReconcileSettings) -> Plan:
    """Decide and model one server.

    Raises Invalid: the specification cannot be carried out. Waiting: the namespace is being deleted.
    """
    if around.namespace_is_terminating:
        raise Waiting(
            Reason.NAMESPACE_TERMINATING,
            f"Namespace {server.metadata.namespace!r} is being deleted, so nothing is created in it any more: "
            "create the server in another namespace.",
            retry_after=NAMESPACE_RETRY_SECONDS,
        )
    before = recorded_decision(server)
    chosen = choose_class(server, before, around.classes)
    require_namespace_allowed(chosen, server.metadata.namespace, around.namespace_labels)
    offered = offered_images(chosen.spec, settings.image_repository)
    newest = default_version(chosen.spec, offered)
    values = _template_values(server, chosen, around, settings)
    if before and has_lost_its_record(server):
        before = before.updated(host=named_host(chosen, values))
    decision = decide(server, before, chosen, values, newest)
    wanted = wanted_address(server, decision)
    decision = move(decision, before, wanted, around.deployment, around.pods)
    version = wanted_version(server, decision)
    image = image_for(server, version, chosen, offered)
    require_no_downgrade(server, version)
    model = model_server(
        server,
        decision,
        chosen.spec,
        version=version,
        image=image,
        cluster_domain=settings.cluster_domain,
        credentials_digest="",
        access=access_of(server, decision, chosen, values),
        network=_network(server, chosen, settings),
        artifact_secret=named_secret(chosen, values),
        role_arn=named_role(chosen, values),
    )
    default_class = _undisputed_default(around.classes)
    older = 0 if before else _older_siblings(server, around.siblings, chosen.name, default_class)
    require_permitted(Request(server, model, chosen, around.namespace_labels, older, decision.host))
    notes = differences_today(
        server, decision, chosen, values, default_version=newest, default_class=default_class
    )
    return Plan(chosen, decision, model, notes, _news(decision, before, model, chosen, values))


def model_of_what_runs(
    server: TrackingServer, settings: ReconcileSettings, replicas: int
) -> ServerModel | None:
    """A model of a server whose specification is refused, good for looking at what still runs; None for a new one."""
    before = recorded_decision(server)
    if before is None:
        return None
    version = server.status.version or before.version
    model = model_server(
        server,
        before,
        TrackingServerClassSpec(),
        version=version,
        image="",
        cluster_domain=settings.cluster_domain,
        credentials_digest="",
        access=access_as_recorded(server, before),
    )
    return replace(model, replicas=replicas)


def _news(
    decision: Decision,
    before: Decision | None,
    model: ServerModel,
    chosen: ChosenClass,
    values: naming.TemplateValues,
) -> str:
    if before is None or not is_news(decision, before):
        return ""
    old = address_of(before.address_in_use, model.access.routing, chosen, values)
    return news_of_move(old, model.access.wanted)


def spec_finding(plan: Plan) -> Finding:
    """Say that the specification is valid, and what is worth knowing about it."""
    if not plan.notes:
        return Finding(
            ConditionType.SPEC_VALID, Verdict.OK, Reason.AS_EXPECTED, f"Permitted by {plan.chosen.title}."
        )
    message = " ".join(note.message for note in plan.notes)
    return Finding(ConditionType.SPEC_VALID, Verdict.OK, plan.notes[0].reason, message)


def _network(server: TrackingServer, chosen: ChosenClass, settings: ReconcileSettings) -> Network:
    offered = chosen.spec.access.network_policy
    return Network(
        operator_namespace=settings.namespace,
        ip_families=settings.ip_families,
        ingress_from=offered.ingress_from,
        further_from=server.spec.network_policy.from_,
        egress=offered.egress,
    )


def _template_values(
    server: TrackingServer, chosen: ChosenClass, around: Surroundings, settings: ReconcileSettings
) -> naming.TemplateValues:
    return naming.TemplateValues(
        namespace=server.metadata.namespace,
        name=server.metadata.name,
        class_name=chosen.name,
        cluster_name=settings.cluster_name,
        namespace_labels=around.namespace_labels,
    )


def _undisputed_default(classes: Sequence[TrackingServerClass]) -> str | None:
    """The default class of the moment (empty: the built-in one); None while several claim to be it."""
    try:
        return default_class_name({one.metadata.name: one for one in classes})
    except Invalid:
        return None


def _older_siblings(
    server: TrackingServer, siblings: Sequence[TrackingServer], class_name: str, default_class: str | None
) -> int:
    """Servers of the class that come first: those already decided, then the older, then by UID."""

    def comes_first(other: TrackingServer) -> bool:
        if RESOLVED_ANNOTATION in other.metadata.annotations:
            return True
        return (other.metadata.creation_timestamp, other.metadata.uid) < (
            server.metadata.creation_timestamp,
            server.metadata.uid,
        )

    return sum(_class_of(other, default_class) == class_name and comes_first(other) for other in siblings)


def _class_of(server: TrackingServer, default_class: str | None) -> str | None:
    """The class that another server has, or will get; its own troubles are not ours."""
    if server.spec.class_name is not None:
        return server.spec.class_name
    try:
        decided = recorded_decision(server)
    except Invalid:
        decided = None
    return decided.class_name if decided else default_class
