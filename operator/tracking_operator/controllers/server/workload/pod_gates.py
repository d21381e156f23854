"""The steps that find out whether pods may start: on the schema, and in the prefix."""

from dataclasses import replace

from tracking_operator.api.conditions import ConditionType
from tracking_operator.controllers.conditions.condition_result import result_from
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.artifacts.checks import ArtifactCheck, artifact_check, live_check
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import Tools
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.database.restore import Restores, backup_to_restore
from tracking_operator.controllers.server.database.schema_gate import Gate, external_database, schema_gate
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.workload.condition_results import observe
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import (
    JOB,
    KubeObject,
    KubeObjects,
    describe,
    name_of,
    namespace_of,
    uid_of,
)
from tracking_operator.resources.server_model import ServerModel


class PodGates:
    """Asks the Jobs that stand before a server's pods, and removes those that have to be made anew."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, tools: Tools, restores: Restores) -> None:
        self._kube = kube
        self._cache = cache
        self._tools = tools
        self._restores = restores

    async def schema(self, context: ReconcileContext) -> StepResult[Gate | None]:
        """Whether pods may start on the schema; None where the pods find that out themselves."""
        server, status, database = context.model, context.resource.status, context.backend_state
        if not server.needs_migration_job:
            return StepResult(None)
        if not server.backend_store.is_managed:
            check = observe(self._children(server), server).check
            database = external_database(server, status, context.migration, check)
        report = Report()
        restored_from = backup_to_restore(context.resource)
        if restored_from and (closed := await self._restore(context, restored_from, report)):
            return report.as_result(closed)
        context.migration = await self._with_refusal(context.migration, context, report)
        gate = schema_gate(server, status, database, context.migration, now=context.now)
        gate = replace(gate, restored_from=restored_from)
        report.look_again(gate.requeue_after)
        await self._remove(gate.obsolete_job, context.migration, server, ConditionType.SCHEMA_READY, report)
        return report.as_result(gate)

    async def _restore(self, context: ReconcileContext, name: str, report: Report) -> Gate | None:
        """The gate as long as the server's stores are not filled from a backup; None once they are."""
        artifacts, class_name = context.resource.status.artifact_store, context.plan.placement.class_name
        # That the server's identity is let in has been tried out by then.
        is_tried_out = artifacts is not None and artifacts.checked is not None
        are_ready = context.backend_state is not None and context.artifact_state is not None and is_tried_out
        try:
            gate = await self._restores.gate(
                context.model, name, class_name, context.now, are_stores_ready=are_ready and context.may_apply
            )
        except (Failure, ApiError) as error:
            why = failure_from(error, f"restore backup {name}") if isinstance(error, ApiError) else error
            report.look_again(why.retry_after if isinstance(why, Waiting) else UNWATCHED_RETRY_SECONDS)
            return Gate(result_from(why, ConditionType.SCHEMA_READY), is_open=False)
        if gate is not None:
            report.look_again(gate.requeue_after)
        return gate

    async def artifacts(self, context: ReconcileContext) -> StepResult[ArtifactCheck | None]:
        """How an artifact store that the operator makes does, as the server's identity finds it; None where nobody can tell now."""
        server, state, report = context.model, context.artifact_state, Report()
        if not context.may_apply or state is None:
            return StepResult(None)
        live = await self._with_refusal(live_check(self._children(server), server), context, report)
        check = artifact_check(
            server,
            server.artifact_store,
            status=context.resource.status,
            state=state,
            live=live,
            now=context.now,
        )
        report.look_again(check.requeue_after)
        await self._remove(check.obsolete_job, live, server, ConditionType.ARTIFACT_STORE_READY, report)
        return report.as_result(check)

    async def _with_refusal(
        self, job: LiveJob | None, context: ReconcileContext, report: Report
    ) -> LiveJob | None:
        """The Job, and why it gets no pod if the API server refuses that; no watch tells of it."""
        heard = await with_refusal(self._kube, job, context.now)
        report.look_again(heard.look_again)
        return heard.job

    async def _remove(
        self,
        obsolete: KubeObject | None,
        live: LiveJob | None,
        server: ServerModel,
        type_: ConditionType,
        report: Report,
    ) -> None:
        """Delete the Job that a gate wants to be made anew, or that waits for programs which are gone."""
        job, what = obsolete, f"read the programs of {live.name if live else 'no Job'}"
        try:
            job = job or await self._tools.stranded(live, server)
            if job is None:
                return
            what = f"delete {describe(job)}"
            await self._kube.delete(JOB, namespace_of(job), name_of(job), uid=uid_of(job))
        except ApiError as error:
            report.add_failure(failure_from(error, what), type_)

    def _children(self, server: ServerModel) -> KubeObjects:
        return telling_children(server, self._cache)
