"""The step that says how a server stands: what the steps and the live objects tell becomes its status."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tracking_operator.api.conditions import (
    Condition,
    ConditionType,
    WantedCondition,
    find_condition,
    merge_conditions,
    reason_of,
)
from tracking_operator.api.tracking_server import TrackingServer, TrackingServerStatus
from tracking_operator.controllers.conditions.busy import kept_while_busy
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    not_looked_at,
    summarise,
)
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.plan import ReconcileSettings, model_of_what_runs
from tracking_operator.controllers.server.planning import Unplanned
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.revocation import waiting_results
from tracking_operator.controllers.server.status import announce, status_of, write_status
from tracking_operator.controllers.server.workload.condition_results import (
    answers,
    condition_results_of,
    observe,
)
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import DEPLOYMENT
from tracking_operator.resources.server_model import ServerModel

DECIDED_BY_OBJECTS: Final = (
    ConditionType.BACKEND_STORE_READY,
    ConditionType.ARTIFACT_STORE_READY,
    ConditionType.SCHEMA_READY,
    ConditionType.WORKLOAD_READY,
    ConditionType.EXPOSED,
)


class Reporting:
    """Writes the status of servers, and announces what is new in it. Raises ApiError."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, events: EventRecorder, settings: ReconcileSettings
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._settings = settings

    async def report(self, context: ReconcileContext, report: Report) -> Outcome:
        """Say how a server stands for which everything was done."""
        resource, server = context.resource, context.model
        report.add_missing(condition_results_of(server, context.observed, _earlier(resource, server)))
        report.add_all(waiting_results(resource))
        report.add_all(context.clients.waits if context.clients else ())
        report.condition_results = _with_patience(context, report.condition_results)
        still_answers = answers(
            server,
            context.observed,
            resource.status.condition(ConditionType.EXPOSED),
            resource.status.condition(ConditionType.READY),
        )
        beside = [context.beside.as_condition()] if context.beside else []
        conditions = _conditions(
            context, report.condition_results, server.url, beside, still_answers=still_answers
        )
        status = status_of(resource, conditions, context.plan.placement, server, context.observed)
        status = status.updated(
            usage=context.usage,
            sleep=context.sleep,
            maintenance=context.maintenance,
            backups=context.backups,
            granted_namespaces=context.plan.granted_namespaces,
            clients=context.plan.clients,
            has_client_users=context.clients.has_users
            if context.clients
            else resource.status.has_client_users,
        )
        return await self._write(context, status, report)

    async def report_unplanned(
        self, context: ReconcileContext, report: Report, unplanned: Unplanned
    ) -> Outcome:
        """Say why nothing can be done; what runs goes on running, and is still reported on."""
        server = self._model_of_what_runs(context.resource)
        report.add_missing(self._results_of_what_runs(context.resource, server, unplanned.waits_for))
        report.add_all(waiting_results(context.resource))
        report.add_all(context.clients.waits if context.clients else ())
        return await self.report_only(context, report, server.url if server else "")

    async def report_only(self, context: ReconcileContext, report: Report, url: str = "") -> Outcome:
        """Say what was found out, and leave what the status says besides."""
        report.condition_results = _with_patience(context, report.condition_results)
        status = context.resource.status.updated(
            observed_generation=context.resource.metadata.generation,
            conditions=_conditions(context, report.condition_results, url, _beside_before(context.resource)),
        )
        if context.clients:
            status = status.updated(has_client_users=context.clients.has_users)
        return await self._write(context, status, report)

    async def _write(
        self, context: ReconcileContext, status: TrackingServerStatus, report: Report
    ) -> Outcome:
        ready = find_condition(status.conditions, ConditionType.READY)
        before = context.resource.status.conditions
        await write_status(self._kube, self._cache, context.live, status.as_kubernetes())
        announce(self._events, context.live, before, report.condition_results, ready)
        return report.outcome()

    def _model_of_what_runs(self, resource: TrackingServer) -> ServerModel | None:
        deployment = self._cache.get(DEPLOYMENT, resource.metadata.namespace, resource.metadata.name)
        replicas = (deployment or {}).get("spec", {}).get("replicas", 0)
        return model_of_what_runs(resource, self._settings, replicas)

    def _results_of_what_runs(
        self, resource: TrackingServer, server: ServerModel | None, waits_for: str
    ) -> Iterable[ConditionResult]:
        if server is None:
            return [not_looked_at(type_, waits_for) for type_ in DECIDED_BY_OBJECTS]
        observed = observe(telling_children(server, self._cache), server)
        return condition_results_of(server, observed, _earlier(resource, server))


def _with_patience(
    context: ReconcileContext, condition_results: Sequence[ConditionResult]
) -> list[ConditionResult]:
    before, generation = context.resource.status.conditions, context.resource.metadata.generation
    return kept_while_busy(condition_results, before, generation, context.memory.busy, context.now)


def _conditions(
    context: ReconcileContext,
    condition_results: Sequence[ConditionResult],
    url: str,
    beside: Sequence[WantedCondition],
    *,
    still_answers: bool = False,
) -> tuple[Condition, ...]:
    return merge_conditions(
        context.resource.status.conditions,
        [*summarise(condition_results, f"MLflow answers at {url}.", answers=still_answers), *beside],
        observed_generation=context.resource.metadata.generation,
        now=context.now,
    )


def _earlier(resource: TrackingServer, server: ServerModel) -> Callable[[ConditionType], Condition | None]:
    """What was found out before; about the schema only if that was for the version which is wanted now."""

    def condition(type_: ConditionType) -> Condition | None:
        if type_ is ConditionType.SCHEMA_READY and resource.status.version != server.version:
            return None
        return find_condition(resource.status.conditions, type_)

    return condition


def _beside_before(resource: TrackingServer) -> list[WantedCondition]:
    """What the server says beside Ready, as it was found last: nothing is done about it now."""
    before = resource.status.condition(ConditionType.BACKED_UP)
    if before is None:
        return []
    return [
        WantedCondition(ConditionType.BACKED_UP, before.is_true, reason_of(before.reason), before.message)
    ]
