"""The loop of the TrackingServerBackup: take it, say how it is, and remove what is stored when it goes."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import ConditionType, Reason, merge_conditions, reason_of
from tracking_operator.api.labels_and_annotations import FINALIZER
from tracking_operator.api.tracking_server import DeletionPolicy
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.controllers.backup.attempts import Attempts, Progress
from tracking_operator.controllers.backup.trials import Trial, Trials
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, summarise
from tracking_operator.controllers.conditions.step_result import stopped_unwatched
from tracking_operator.controllers.kinds import TRACKING_SERVER_BACKUP
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.status import announce, report_unreadable, write_status
from tracking_operator.controllers.server_class.scratch_databases import ScratchDatabases
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.failures import Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.finalizers import Held, set_finalizer
from tracking_operator.kube.objects import KubeObject, describe

logger = logging.getLogger(__name__)

TYPE: Final = ConditionType.COMPLETE
SECONDS_UNTIL_A_POD_HAS_ENDED: Final = 2.0


class BackupReconciler:
    """Brings one backup at a time to its end."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        events: EventRecorder,
        *,
        stored: StoredBackups,
        databases: ScratchDatabases,
        networks: Networks,
        settings: ReconcileSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._stored = stored
        self._attempts = Attempts(kube, cache, stored, networks, settings=settings, now=now)
        self._trials = Trials(
            kube,
            cache,
            self._attempts,
            stored=stored,
            databases=databases,
            networks=networks,
            timings=settings.timings,
            now=now,
        )
        self._now = now

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Reconcile one backup. Raises ApiError."""
        live = self._cache.get(TRACKING_SERVER_BACKUP, namespace, name)
        if live is None:
            return Outcome()
        try:
            backup = TrackingServerBackup.model_validate(live)
        except ValidationError as error:
            return await report_unreadable(
                self._kube, self._cache, live, error, events=self._events, now=self._now()
            )
        if backup.metadata.is_being_deleted:
            return await self._finalize(live, backup)
        if backup.is_complete or backup.is_given_up:
            return await self._keep(live, backup)
        return await self._take(live, backup)

    async def _take(self, live: KubeObject, backup: TrackingServerBackup) -> Outcome:
        if FINALIZER not in backup.metadata.finalizers:
            live = await self._set_finalizer(backup, present=True)
            backup = TrackingServerBackup.model_validate(live)
        try:
            progress = await self._attempts.go_on(backup)
        except Failure as failure:
            return await self._stopped(live, backup, failure)
        report = Report([progress.result], progress.requeue_after)
        return await self._report(live, backup, progress, report)

    async def _keep(self, live: KubeObject, backup: TrackingServerBackup) -> Outcome:
        """It is over. A complete one is tried out now and then; a changed deletionPolicy is noted."""
        known, ready = backup.status.condition(TYPE), backup.status.condition(ConditionType.READY)
        if known is None:
            return Outcome()
        trial = Trial(backup.status)
        if backup.is_complete:
            try:
                trial = await self._trials.look(backup)
            except Failure as failure:
                stopped = stopped_unwatched(failure, ConditionType.RESTORABLE)
                trial = Trial(backup.status, stopped.condition_results[0], stopped.requeue_after)
        # What an older operator could not read it said of Ready and not of the rest.
        is_told = ready is not None and ready.reason in (known.reason, Reason.BACKUP_BROKEN)
        is_noted = is_told and backup.status.observed_generation == backup.metadata.generation
        tried = backup.status.condition(ConditionType.RESTORABLE)
        is_news = trial.result is not None and (
            tried is None or (tried.reason, tried.message) != (trial.result.reason, trial.result.message)
        )
        if is_noted and not is_news and trial.status == backup.status:
            return Outcome(requeue_after=trial.requeue_after)
        verdict = Verdict.OK if known.is_true else Verdict.BLOCKED
        result = ConditionResult(TYPE, verdict, reason_of(known.reason), known.message)
        report = Report([result], trial.requeue_after)
        return await self._report(live, backup, Progress(trial.status, result), report, trial.result)

    async def _finalize(self, live: KubeObject, backup: TrackingServerBackup) -> Outcome:
        """End what runs, remove what is stored unless it is to be kept, and let the resource go."""
        if FINALIZER not in backup.metadata.finalizers:
            return Outcome()
        try:
            await self._trials.clear(backup)
            await self._attempts.clear(backup)
            if self._attempts.has_pods(backup):
                raise Waiting(
                    Reason.DELETING,
                    "Waits for the backup's pod to end.",
                    retry_after=SECONDS_UNTIL_A_POD_HAS_ENDED,
                )
            if await self._removes_some(backup):
                raise Waiting(Reason.DELETING, "What is stored is being removed.", retry_after=0.0)
        except Failure as failure:
            # As with the data of servers, nothing waits for a class that is gone: a namespace would never go.
            is_left = backup.may_be_orphaned or self._stored.is_class_gone(backup)
            if failure.reason is Reason.DELETING or not is_left:
                return await self._stopped(live, backup, failure)
            message = f"What is stored is left behind: {failure.message}"
            logger.warning("%s goes. %s", describe(live), message)
            self._events.record(live, "Warning", Reason.DELETION_BLOCKED.value, message)
        await self._set_finalizer(backup, present=False)
        logger.info("Let %s go.", describe(live))
        return Outcome()

    async def _removes_some(self, backup: TrackingServerBackup) -> bool:
        """Remove what is stored, for some seconds; whether something was there. Half a backup is never kept."""
        is_kept = backup.spec.deletion_policy is DeletionPolicy.RETAIN and backup.is_complete
        if is_kept or backup.status.folder is None:
            return False
        return await self._stored.remove(backup, all_attempts=True)

    async def _stopped(self, live: KubeObject, backup: TrackingServerBackup, failure: Failure) -> Outcome:
        report = Report()
        report.take(stopped_unwatched(failure, TYPE))
        return await self._report(live, backup, Progress(backup.status, report.condition_results[0]), report)

    async def _report(
        self,
        live: KubeObject,
        backup: TrackingServerBackup,
        progress: Progress,
        report: Report,
        tried: ConditionResult | None = None,
    ) -> Outcome:
        before = backup.status.conditions
        # A trial that goes on, or could not be made, says nothing against the backup.
        is_broken = tried is not None and tried.reason is Reason.BACKUP_BROKEN
        told = [progress.result, tried] if tried and is_broken else [progress.result]
        wanted = summarise(told, progress.result.message)
        if tried and not is_broken:
            wanted.append(tried.as_condition())
        conditions = merge_conditions(
            before, wanted, observed_generation=backup.metadata.generation, now=self._now()
        )
        status = progress.status.updated(
            observed_generation=backup.metadata.generation, conditions=conditions
        )
        await write_status(self._kube, self._cache, live, status.as_kubernetes())
        announce(self._events, live, before, told, conditions[0])
        return report.outcome()

    async def _set_finalizer(self, backup: TrackingServerBackup, *, present: bool) -> KubeObject:
        metadata = backup.metadata
        held = Held(
            TRACKING_SERVER_BACKUP, metadata.namespace, metadata.name, metadata.uid, metadata.finalizers
        )
        return await set_finalizer(self._kube, self._cache, held, FINALIZER, present=present)
