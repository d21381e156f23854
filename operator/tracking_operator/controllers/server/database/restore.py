"""What comes before a new server's first migration where ``spec.bootstrap.fromBackup`` names a backup: a Job fills its stores.

It counts once. Whether it was done stands in the status, and in the database itself: where the status was lost, the Job finds that,
and touches nothing.
"""

from datetime import datetime
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    not_looked_at,
    problem,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER_BACKUP
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.jobs_with_urls import JobOwner, JobsWithUrls, JobWithUrls
from tracking_operator.controllers.server.children.ownership import owner_check
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import stranded_job
from tracking_operator.controllers.server.database.schema_gate import SECONDS_UNTIL_ANOTHER_JOB, Gate
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import JOB, uid_of
from tracking_operator.outcomes import OUTCOMES
from tracking_operator.resources.backup_secret import build_backup_urls_secret
from tracking_operator.resources.labels import RESTORE_COMPONENT
from tracking_operator.resources.network_policy import build_restore_policy
from tracking_operator.resources.pod.backup_jobs import RESTORE_CONTAINER, build_restore_job
from tracking_operator.resources.server_model import ServerModel

TYPE: Final = ConditionType.SCHEMA_READY
SECONDS_UNTIL_A_BACKUP: Final = 15.0


def backup_to_restore(resource: TrackingServer) -> str | None:
    """The backup that the server's stores have to be filled from now; None: nothing, or that is done."""
    named, status = resource.spec.bootstrap.from_backup, resource.status
    return None if named is None or status.restored_from or status.schema_revision else named.name


class Restores:
    """Fills the stores of new servers."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, stored: StoredBackups) -> None:
        self._kube = kube
        self._cache = cache
        self._stored = stored
        self._jobs = JobsWithUrls(kube, cache)

    async def gate(
        self, server: ServerModel, name: str, class_name: str, now: datetime, *, are_stores_ready: bool
    ) -> Gate | None:
        """The gate as long as the backup is not restored; None once it is. Raises Failure, ApiError."""
        if server.replicas == 0:
            return Gate(not_looked_at(TYPE, "the server to be woken up"), is_open=True)
        if not are_stores_ready:
            return Gate(not_looked_at(TYPE, "the server's stores"), is_open=False)
        job = live_job(telling_children(server, self._cache), server, server.names.restore, RESTORE_CONTAINER)
        if job is None:
            await self._make(server, self._backup(server, name, class_name))
            return _closed(_under_way(server, name))
        if job.is_done:
            # The Job itself can be looked at for a while.
            await self._jobs.clear(server.namespace, server.names.restore, server.uid, keep_job=True)
            return None
        if job.has_failed:
            return await self._failed(server, job, now)
        if stranded := await stranded_job(self._kube, self._cache, job, server):
            await self._kube.delete(JOB, server.namespace, job.name, uid=uid_of(stranded))
        heard = await with_refusal(self._kube, job, now)
        trouble = heard.job.trouble(TYPE) if heard.job else None
        return _closed(trouble or _under_way(server, name), heard.look_again)

    def _backup(self, server: ServerModel, name: str, class_name: str) -> TrackingServerBackup:
        """The backup, if it is complete. Raises Failure."""
        live = self._cache.get(TRACKING_SERVER_BACKUP, server.namespace, name)
        try:
            backup = TrackingServerBackup.model_validate(live) if live else None
        except ValidationError:
            backup = None
        if backup is None or not backup.is_complete or backup.status.sha256 is None:
            what = (
                f"There is no TrackingServerBackup {name}"
                if live is None
                else f"Backup {name} is not Complete"
            )
            raise Waiting(
                Reason.BACKUP_NOT_FOUND,
                f"{what} in namespace {server.namespace}, so nothing is made in the server's stores: wait for it, or name "
                "another one in spec.bootstrap.fromBackup.",
                retry_after=SECONDS_UNTIL_A_BACKUP,
            )
        if backup.status.class_name != class_name:
            raise Invalid(
                Reason.INVALID_SPEC,
                f"Backup {name} is in the bucket of class {backup.status.class_name!r}, and the server is of class "
                f"{class_name!r}: make the server in the backup's class.",
            )
        return backup

    async def _make(self, server: ServerModel, backup: TrackingServerBackup) -> None:
        signed = await self._stored.sign_downloads(backup)
        urls = build_backup_urls_secret(
            server, server.names.restore, RESTORE_COMPONENT, signed.urls, signed.headers
        )
        job = build_restore_job(server, backup.status.sha256 or "")
        await self._jobs.make(JobWithUrls((urls,), build_restore_policy(server), job), _owner(server))

    async def _failed(self, server: ServerModel, job: LiveJob, now: datetime) -> Gate:
        result = job.result
        reason = result.reason if result and result.reason else Reason.MIGRATION_FAILED
        said = (
            result.message
            if result and result.message
            else f"Job {job.name} failed: read the log of its pods."
        )
        is_final = result is not None and result.reason is not None and not OUTCOMES[reason].passes
        if is_final:
            return _closed(problem(TYPE, reason, f"{said} To try again, delete Job {job.name}."))
        remaining = SECONDS_UNTIL_ANOTHER_JOB - job.seconds_since_failure(now)
        if remaining <= 0:
            await self._kube.delete(JOB, server.namespace, job.name, uid=uid_of(job.job))
        again = f"Job {job.name} is made anew {SECONDS_UNTIL_ANOTHER_JOB:.0f} s after it failed."
        return _closed(problem(TYPE, reason, f"{said} {again}"), max(remaining, 1.0))


def _owner(server: ServerModel) -> JobOwner:
    return JobOwner(
        server.uid,
        owner_check(server),
        "exists already and does not belong to this server, so it is left alone: remove or rename it.",
    )


def _closed(result: ConditionResult, requeue_after: float | None = None) -> Gate:
    return Gate(result, is_open=False, requeue_after=requeue_after)


def _under_way(server: ServerModel, name: str) -> ConditionResult:
    message = f"Job {server.names.restore} fills the server's database and prefix from backup {name}; pods start after that."
    return ConditionResult(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)
