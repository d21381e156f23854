"""The step that has garbage collected: one Job at a time, when it is due, and what it found into the status.

It waits for nobody's pods: a server that sleeps is collected, too. Its Job, those of backups and those of migrations take the same lock.
"""

from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.maintenance import (
    GarbageCollectionPlan,
    GarbageCollectionStatus,
    MaintenanceStatus,
)
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.ownership import is_finished, owner_check
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import ensure_tools, failures_of_tools, stranded_job
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.garbage.plan import (
    after_failure,
    after_success,
    known_garbage,
    made_at,
    next_time,
    turn_of,
)
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure
from tracking_operator.kube.apply import apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import JOB, KubeObject, uid_of
from tracking_operator.resources.pod.garbage_job import GARBAGE_CONTAINER, build_garbage_job
from tracking_operator.resources.server_model import ServerModel

COLLECTED: Final = "GarbageCollected"
FAILED: Final = "GarbageCollectionFailed"
SECONDS_UNTIL_A_BACKUP_ENDS: Final = 30.0
SECONDS_UNTIL_A_WORD: Final = 2.0
MOST_SECONDS_UNTIL_A_WORD: Final = 60.0
"""A pod may be seen to have ended later than its Job."""

Known = GarbageCollectionStatus


class GarbageStep:
    """Has the garbage of servers collected."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, events: EventRecorder) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events

    async def look(self, context: ReconcileContext) -> StepResult[MaintenanceStatus | None]:
        """What is known, and a Job if it is time for one. Raises ApiError."""
        plan, server = context.resource.spec.maintenance.garbage_collection, context.model
        job = live_job(
            telling_children(server, self._cache), server, server.names.collect_garbage, GARBAGE_CONTAINER
        )
        if plan is None:
            if job is not None:
                await self._delete(job)
            return StepResult(None)
        known = known_garbage(context.resource)
        if job is None:
            return await self._without_job(context, plan, known)
        known = known.updated(begun_at=made_at(job, context.now))
        if job.is_done or job.has_failed:
            return await self._ended(context, plan, known, job)
        if stranded := await stranded_job(self._kube, self._cache, job, server):
            await self._kube.delete(JOB, server.namespace, job.name, uid=uid_of(stranded))
        heard = await with_refusal(self._kube, job, context.now)
        trouble = heard.job.trouble(ConditionType.WORKLOAD_READY) if heard.job else None
        if trouble is not None:
            known = known.updated(message=trouble.message)
        return _told(known, heard.look_again)

    async def _without_job(
        self, context: ReconcileContext, plan: GarbageCollectionPlan, known: Known
    ) -> StepResult[MaintenanceStatus | None]:
        turn = turn_of(plan, known, context.model.uid, context.now)
        if not turn.is_due:
            return _told(known, turn.seconds)
        if not _may_begin(context):
            return _told(known, None)
        if self._is_backed_up(context.model):
            return _told(known, SECONDS_UNTIL_A_BACKUP_ENDS)
        try:
            await self._make(context.model, is_dry_run=turn.is_dry_run)
        except Failure as failure:
            return _told(known.updated(message=failure.message), UNWATCHED_RETRY_SECONDS)
        return _told(known.updated(begun_at=context.now.replace(microsecond=0)), None)

    async def _make(self, server: ServerModel, *, is_dry_run: bool) -> None:
        """Raises Failure."""
        if server.garbage is None:
            return
        for failure in failures_of_tools(await ensure_tools(self._kube, self._cache, server.namespace)):
            raise failure
        job = build_garbage_job(server, server.garbage, is_dry_run=is_dry_run)
        applied = await apply_all(self._kube, self._cache, [job], owner=owner_check(server))
        for _, error in applied.failures:
            raise error

    async def _ended(
        self, context: ReconcileContext, plan: GarbageCollectionPlan, known: Known, job: LiveJob
    ) -> StepResult[MaintenanceStatus | None]:
        result, now = job.result, context.now
        waits = job.seconds_since_end(now) < MOST_SECONDS_UNTIL_A_WORD
        if job.is_done and (result is None or result.collected is None) and waits:
            return _told(known, SECONDS_UNTIL_A_WORD)
        said = result.message if result and result.message else f"Job {job.name} said nothing."
        if job.is_done and result is not None and result.collected is not None:
            known = after_success(known, result.collected, said, now)
            self._events.record(context.live, "Normal", COLLECTED, _words(context, plan, known, now))
        else:
            known = after_failure(known, said, now)
            message = f"{said} It is tried again at {_utc(next_time(plan, context.model.uid, now))}."
            self._events.record(context.live, "Warning", FAILED, message)
        await self._delete(job)
        seconds = (next_time(plan, context.model.uid, now) - now).total_seconds()
        return _told(known, seconds)

    def _is_backed_up(self, server: ServerModel) -> bool:
        """Whether a backup is under way: it would keep the Job waiting, which takes a pod meanwhile."""
        backup: KubeObject | None = self._cache.get(JOB, server.namespace, server.names.backup)
        return backup is not None and not is_finished(backup)

    async def _delete(self, job: LiveJob) -> None:
        if not job.job["metadata"].get("deletionTimestamp"):
            await self._kube.delete(JOB, job.job["metadata"]["namespace"], job.name, uid=uid_of(job.job))


def _may_begin(context: ReconcileContext) -> bool:
    """Whether the schema is that of the version, the prefix is the server's own, and nothing is changed in either."""
    gate, artifacts = context.gate, context.resource.status.artifact_store
    is_at_its_version = gate is not None and gate.is_open and gate.revision is not None
    has_stores = context.backend_state is not None and context.artifact_state is not None
    is_tried_out = artifacts is not None and artifacts.checked is not None
    return context.may_apply and is_at_its_version and has_stores and is_tried_out


def _words(context: ReconcileContext, plan: GarbageCollectionPlan, known: Known, now: datetime) -> str:
    """What an Event says."""
    said = known.message or ""
    if known.dry_run and not plan.dry_run:
        at = _utc(next_time(plan, context.model.uid, now))
        said += f" This was the first look: at {at} they are removed, unless spec.maintenance.garbageCollection is changed."
    return said


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes").replace("+00:00", "Z")


def _told(known: Known, seconds: float | None) -> StepResult[MaintenanceStatus | None]:
    status = MaintenanceStatus(garbage_collection=known) if known != Known() else None
    return StepResult(status, requeue_after=seconds)
