"""The step that makes planned backups when they are due, and deletes those that are not kept any more.

Between two slots it asks nobody: what it needs is in the cache and in the server's status.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from tracking_operator.api.conditions import Reason
from tracking_operator.api.maintenance import BackupPlan, BackupsStatus
from tracking_operator.controllers.conditions.condition_result import ConditionResult, problem, result_from
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.maintenance.planned_backups import (
    TYPE,
    KnownBackup,
    PlannedBackup,
    backed_up,
    backup_for,
    known_backup,
    newest_complete,
    planned,
    slots_of,
    why_not,
)
from tracking_operator.controllers.server.maintenance.retention import expired
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.events import EventRecorder
from tracking_operator.schedule import BadScheduleError, Schedule, jitter_of, schedule_of
from tracking_operator.timings import Timings


@dataclass(frozen=True)
class Backups:
    """How a server is backed up."""

    status: BackupsStatus | None = None
    """None: there is no plan, and no backup."""
    condition: ConditionResult | None = None
    """It stands beside Ready, which does not depend on it."""
    requeue_after: float | None = None


class BackupStep:
    """Makes and deletes TrackingServerBackups, as the plans of servers say."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, events: EventRecorder, timings: Timings) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._timings = timings

    async def ensure(self, context: ReconcileContext) -> Backups:
        """Make what is due, delete what is too much, and say how the server is backed up."""
        found = await self._look(context)
        if found.condition is not None and found.condition.is_problem:
            self._tell(context, found.condition)
        return found

    async def _look(self, context: ReconcileContext) -> Backups:
        plan = context.resource.spec.maintenance.backup
        backups = self._backups(context)
        status = _with_newest(context.resource.status.backups or BackupsStatus(), backups)
        if plan is None:
            return Backups(_without_plan(status))
        if why := why_not(context.plan.model):
            return _no_backups(status, why)
        try:
            schedule = schedule_of(plan.schedule, plan.time_zone)
            return await self._ensure(context, plan, schedule, backups, status)
        except BadScheduleError as error:
            return _no_backups(status, str(error))
        except ApiError as error:
            failure = failure_from(error, "make or delete a planned backup")
            return Backups(status, result_from(failure, TYPE), UNWATCHED_RETRY_SECONDS)

    async def _ensure(
        self,
        context: ReconcileContext,
        plan: BackupPlan,
        schedule: Schedule,
        backups: list[KnownBackup],
        status: BackupsStatus,
    ) -> Backups:
        now = context.now
        of_plan = planned(backups)
        await self._delete(context, expired(of_plan, plan.keep, schedule.zone))
        under_way = [one for one in of_plan if one.backup.is_under_way]
        times = self._timings
        late = timedelta(seconds=times.until_a_backup_is_late)
        jitter = jitter_of(context.resource.metadata.uid, timedelta(seconds=times.longest_jitter_of_backups))
        wakes = [one.due_at + late for one in under_way]
        if plan.suspend:
            return Backups(_without_plan(status), backed_up(of_plan, plan, late, now), _until(wakes, now))
        slots = slots_of(schedule, _name_of(plan), status, jitter, now)
        if slots.due_at is not None and under_way:
            # One at a time: this one is made when the other has ended, which an event tells.
            return Backups(status, backed_up(of_plan, plan, late, now), _until(wakes, now))
        if slots.due_at is not None:
            of_plan = [await self._make(context, slots.due_at), *of_plan]
            status = status.updated(last_planned_at=slots.due_at)
            wakes.append(slots.due_at + late)
        return Backups(
            status.updated(schedule=_name_of(plan), next_at=slots.next_at),
            backed_up(of_plan, plan, late, now),
            _until([*wakes, slots.next_at + jitter], now),
        )

    async def _make(self, context: ReconcileContext, due_at: datetime) -> PlannedBackup:
        """Make the backup of a slot. One of its name that is there already is that backup."""
        metadata = context.resource.metadata
        wanted = backup_for(metadata.name, metadata.namespace, due_at)
        try:
            self._cache.upsert(await self._kube.create(wanted))
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        return PlannedBackup(due_at, KnownBackup(wanted["metadata"]["name"], metadata.name, due_at))

    async def _delete(self, context: ReconcileContext, expired_ones: list[PlannedBackup]) -> None:
        namespace = context.resource.metadata.namespace
        needed = self._needed(namespace) if expired_ones else set()
        for one in expired_ones:
            if one.name in needed:
                continue
            live = self._cache.get(TRACKING_SERVER_BACKUP, namespace, one.name)
            if live is not None:
                await self._kube.delete(
                    TRACKING_SERVER_BACKUP, namespace, one.name, uid=live["metadata"]["uid"]
                )

    def _backups(self, context: ReconcileContext) -> list[KnownBackup]:
        metadata = context.resource.metadata
        found = self._cache.readings(TRACKING_SERVER_BACKUP, metadata.namespace, known_backup)
        return [one for one in found if one is not None and one.server == metadata.name]

    def _needed(self, namespace: str) -> set[str]:
        """The backups that new servers of the namespace are being filled from."""
        servers = self._cache.list(TRACKING_SERVER, namespace)
        waiting = [one for one in servers if not (one.get("status") or {}).get("restoredFrom")]
        named = [((one.get("spec") or {}).get("bootstrap") or {}).get("fromBackup") or {} for one in waiting]
        return {one["name"] for one in named if one}

    def _tell(self, context: ReconcileContext, found: ConditionResult) -> None:
        """Post an Event of what is new."""
        before = context.resource.status.condition(TYPE)
        if before is None or before.is_true or before.reason != found.reason:
            self._events.record(context.live, "Warning", found.reason.value, found.message)


def _no_backups(status: BackupsStatus, why: str) -> Backups:
    message = f"spec.maintenance.backup makes no backups. {why}"
    return Backups(_without_plan(status), problem(TYPE, Reason.INVALID_SPEC, message))


def _name_of(plan: BackupPlan) -> str:
    return f"{plan.schedule} {plan.time_zone}"


def _with_newest(status: BackupsStatus, backups: list[KnownBackup]) -> BackupsStatus:
    newest = newest_complete(backups)
    return status.updated(
        last_complete=newest.name if newest else None,
        last_completed_at=newest.completed_at if newest else None,
    )


def _without_plan(status: BackupsStatus) -> BackupsStatus | None:
    """What is left to say where nothing is planned; None: nothing."""
    left = status.updated(schedule=None, next_at=None)
    return left if left.as_kubernetes() else None


def _until(moments: Iterable[datetime], now: datetime) -> float | None:
    """The seconds until the first of these moments that is to come."""
    return min(((one - now).total_seconds() for one in moments if one > now), default=None)
