"""Restores backups for a trial, one step at a time: into a database that is there for that only, by the Job that restores.

That there is such a database stands in the backup's status before it is made, so that it is dropped whatever happens meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import ConditionType, Reason, reason_of
from tracking_operator.api.tracking_server_backup import TrackingServerBackup, TrackingServerBackupStatus
from tracking_operator.controllers.backup.attempts import Attempts, owner_of_jobs
from tracking_operator.controllers.backup.turns import has_turn
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job_of
from tracking_operator.controllers.server.children.jobs_with_urls import JobsWithUrls, JobWithUrls
from tracking_operator.controllers.server.children.mounted_secrets import SecretsMemory
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.tools import stranded_job
from tracking_operator.controllers.server.maintenance.planned_backups import known_backup, next_trial
from tracking_operator.controllers.server.spec.inputs import readable_server
from tracking_operator.controllers.server_class.scratch_databases import (
    CONNECTION_LIMIT,
    ScratchDatabases,
    scratch_name,
)
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.failures import Failure, Invalid, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import JOB, POD, uid_of
from tracking_operator.naming import ChildNames
from tracking_operator.outcomes import EXIT_CODES, OUTCOMES
from tracking_operator.passwords import new_password
from tracking_operator.resources.backup_secret import build_backup_urls_secret
from tracking_operator.resources.database_secret import DatabaseCredentials, build_database_secret
from tracking_operator.resources.labels import TRIAL_COMPONENT
from tracking_operator.resources.network_policy import build_trial_policy
from tracking_operator.resources.pod.backup_jobs import RESTORE_CONTAINER, build_trial_job
from tracking_operator.resources.stores.postgres import beside
from tracking_operator.timings import Timings

TYPE: Final = ConditionType.RESTORABLE
SECONDS_UNTIL_ANOTHER_JOB: Final = 600.0


@dataclass(frozen=True)
class Trial:
    """What is known of whether a backup can be restored."""

    status: TrackingServerBackupStatus
    result: ConditionResult | None = None
    """None: it was never tried."""
    requeue_after: float | None = None


class Trials:
    """Tries backups out."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        attempts: Attempts,
        *,
        stored: StoredBackups,
        databases: ScratchDatabases,
        networks: Networks,
        timings: Timings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._stored = stored
        self._databases = databases
        self._networks = networks
        self._attempts = attempts
        self._timings = timings
        self._now = now
        self._jobs = JobsWithUrls(kube, cache)

    async def look(self, backup: TrackingServerBackup) -> Trial:
        """Begin a trial if it is time for one, or go on with it. Raises Failure, ApiError."""
        before, every = _before(backup), self._seconds_between(backup)
        if backup.status.scratch_database is None:
            due = self._due(backup, every) if every is not None else None
            pause = (due - self._now()).total_seconds() if due else None
            if pause is None or pause > 0:
                return Trial(backup.status, before, pause)
            begun = backup.status.updated(scratch_database=scratch_name(backup.metadata.uid))
            return Trial(begun, before, 0.0)
        if every is None:  # the plan is gone, or its server
            await self.clear(backup)
            return Trial(backup.status.updated(scratch_database=None), before)
        try:
            return await self._go_on(backup, before or _under_way(backup))
        except Failure as failure:
            if failure.reason is not Reason.BACKUP_BROKEN:
                raise
            return await self._ended(backup, problem(TYPE, failure.reason, failure.message))

    async def clear(self, backup: TrackingServerBackup) -> None:
        """Drop the database if there is one, and remove the Job. Raises Failure, ApiError."""
        if backup.status.scratch_database is None:
            return
        await self._databases.drop(backup, self._attempts.namespace_uid(backup))
        names = ChildNames(backup.spec.server_ref.name)
        await self._jobs.clear(
            backup.metadata.namespace,
            names.trial,
            backup.metadata.uid,
            more_secrets=(names.scratch_database,),
        )

    async def _go_on(self, backup: TrackingServerBackup, shown: ConditionResult) -> Trial:
        job = self._job(backup)
        if job is None:
            await self._make(backup)
            return Trial(backup.status, shown)
        if job.is_done:
            said = job.result.message if job.result else ""
            at = f"{self._now().astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            message = f"At {at} it was restored into a database that was dropped afterwards. {said}".strip()
            return await self._ended(backup, ConditionResult(TYPE, Verdict.OK, Reason.AS_EXPECTED, message))
        if job.has_failed:
            return await self._failed(backup, job)
        if stranded := await stranded_job(self._kube, self._cache, job, self._attempts.plan_of(backup).model):
            await self._kube.delete(JOB, backup.metadata.namespace, job.name, uid=uid_of(stranded))
        heard = await with_refusal(self._kube, job, self._now())
        trouble = heard.job.trouble(TYPE) if heard.job else None
        return Trial(backup.status, trouble or shown, heard.look_again)

    async def _make(self, backup: TrackingServerBackup) -> None:
        plan = self._attempts.plan_of(backup)
        names = plan.model.names
        scratch = beside(
            plan.model.backend_store,
            database=scratch_name(backup.metadata.uid),
            secret=names.scratch_database,
            connection_limit=CONNECTION_LIMIT,
        )
        if scratch is None:
            raise Invalid(
                Reason.INVALID_SPEC, "The server has no database on its class's PostgreSQL any more."
            )
        if not has_turn(backup, plan.placement, self._cache, self._now()):
            raise Waiting(
                Reason.PENDING,
                "Waits for other backups of databases on the same PostgreSQL.",
                retry_after=self._timings.between_looks_for_a_turn,
            )
        signed = await self._stored.sign_downloads(backup)
        password = new_password()
        login, authorities = await self._databases.make(
            backup, self._attempts.namespace_uid(backup), scratch, password
        )
        server = replace(
            plan.model,
            backend_store=scratch,
            destinations=await self._networks.destinations(plan.model, SecretsMemory(), fresh=True),
        )
        credentials = DatabaseCredentials(login, password, "", self._now())
        secrets = (
            build_database_secret(server, scratch, credentials, authorities),
            build_backup_urls_secret(server, names.trial, TRIAL_COMPONENT, signed.urls, signed.headers),
        )
        job = build_trial_job(server, backup.status.sha256 or "")
        await self._jobs.make(
            JobWithUrls(secrets, build_trial_policy(server), job), owner_of_jobs(backup.metadata)
        )

    async def _failed(self, backup: TrackingServerBackup, job: LiveJob) -> Trial:
        reason = job.result.reason if job.result and job.result.reason else Reason.CRASH_LOOPING
        said = job.result.message if job.result and job.result.message else f"Job {job.name} failed."
        if reason in EXIT_CODES and not OUTCOMES[reason].passes:
            return await self._ended(backup, problem(TYPE, reason, said))
        remaining = SECONDS_UNTIL_ANOTHER_JOB - job.seconds_since_failure(self._now())
        if remaining <= 0:
            await self._kube.delete(JOB, backup.metadata.namespace, job.name, uid=uid_of(job.job))
        again = f"Job {job.name} is made anew {SECONDS_UNTIL_ANOTHER_JOB:.0f} s after it failed."
        return Trial(backup.status, problem(TYPE, reason, f"{said} {again}"), max(remaining, 1.0))

    async def _ended(self, backup: TrackingServerBackup, result: ConditionResult) -> Trial:
        """Leave nothing of the trial but what it has shown."""
        await self.clear(backup)
        at = self._now().astimezone(UTC).replace(microsecond=0)
        return Trial(backup.status.updated(scratch_database=None, verified_at=at), result)

    def _job(self, backup: TrackingServerBackup) -> LiveJob | None:
        namespace, server = backup.metadata.namespace, backup.spec.server_ref.name
        name = ChildNames(server).trial
        live = self._cache.get(JOB, namespace, name)
        if live is None:
            return None
        pods = self._cache.children(namespace, server, POD)
        found = live_job_of([live, *pods], backup.metadata.uid, name, RESTORE_CONTAINER)
        if found is None:
            raise Waiting(
                Reason.PENDING,
                f"Waits for Job {name}, which tries out another backup of this server.",
                retry_after=self._timings.between_looks_for_a_turn,
            )
        return found

    def _seconds_between(self, backup: TrackingServerBackup) -> float | None:
        """How much time is between two trials of the server's backups; None: there are none."""
        live = self._cache.get(TRACKING_SERVER, backup.metadata.namespace, backup.spec.server_ref.name)
        server = readable_server(live) if live else None
        plan = server.spec.maintenance.backup if server else None
        return seconds_in(plan.verify_every) if plan and plan.verify_every and not plan.suspend else None

    def _due(self, backup: TrackingServerBackup, seconds_between: float) -> datetime | None:
        found = self._cache.readings(TRACKING_SERVER_BACKUP, backup.metadata.namespace, known_backup)
        of_server = [one for one in found if one is not None and one.server == backup.spec.server_ref.name]
        return next_trial(backup.metadata.name, of_server, seconds_between)


def _before(backup: TrackingServerBackup) -> ConditionResult | None:
    """What the last trial has shown."""
    known = backup.status.condition(TYPE)
    if known is None or known.reason == Reason.PROGRESSING:
        return None
    if known.is_true:
        return ConditionResult(TYPE, Verdict.OK, reason_of(known.reason), known.message)
    return problem(TYPE, reason_of(known.reason), known.message)


def _under_way(backup: TrackingServerBackup) -> ConditionResult:
    message = f"It is being restored into database {backup.status.scratch_database} for a trial."
    return ConditionResult(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)
