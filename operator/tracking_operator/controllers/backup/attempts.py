"""The attempts of one backup: for each a folder of its own, a Job that fills it, and a look at what is stored then.

A pod replaces nothing that is stored, so that another attempt begins in another folder. The Job, its policy and its Secret are there
as long as it runs; they are called after the server, so that a server has one backup at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.api.labels_and_annotations import API_VERSION, COMPONENT_LABEL
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import (
    BackedUpArtifacts,
    TrackingServerBackup,
    TrackingServerBackupStatus,
)
from tracking_operator.controllers.backup.turns import has_turn
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job_of
from tracking_operator.controllers.server.children.jobs_with_urls import JobOwner, JobsWithUrls, JobWithUrls
from tracking_operator.controllers.server.children.mounted_secrets import SecretsMemory
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.controllers.server.children.pods import ENDED
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.tools import stranded_job
from tracking_operator.controllers.server.maintenance.planned_backups import why_not
from tracking_operator.controllers.server.plan import Plan, ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import inputs_of, readable_server
from tracking_operator.controllers.server.spec.permissions import CHECKS_AT_DELETION
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.apply import Ownership, is_being_deleted
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import (
    JOB,
    NAMESPACE,
    POD,
    KubeObject,
    describe,
    uid_of,
)
from tracking_operator.naming import ChildNames
from tracking_operator.outcomes import EXIT_CODES, OUTCOMES
from tracking_operator.pod_tools.backup_manifest import Manifest
from tracking_operator.resources.backup_secret import build_backup_urls_secret
from tracking_operator.resources.labels import BACKUP_COMPONENT
from tracking_operator.resources.network_policy import build_backup_policy
from tracking_operator.resources.pod.backup_jobs import BACKUP_CONTAINER, FOLDER_ANNOTATION, build_backup_job
from tracking_operator.stores.s3.backups import folder_of_attempt

TYPE: Final = ConditionType.COMPLETE
MOST_ATTEMPTS: Final = 3
SECONDS_BETWEEN_ATTEMPTS: Final = 15.0
SECONDS_UNTIL_ANOTHER_BACKUP: Final = 5.0
SECONDS_UNTIL_A_SERVER: Final = 15.0


@dataclass(frozen=True)
class Progress:
    """How a backup is getting on."""

    status: TrackingServerBackupStatus
    result: ConditionResult
    requeue_after: float | None = None


class Attempts:
    """Takes backups, one step at a time."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        stored: StoredBackups,
        networks: Networks,
        *,
        settings: ReconcileSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._settings = settings
        self._stored = stored
        self._networks = networks
        self._now = now
        self._jobs = JobsWithUrls(kube, cache)

    async def go_on(self, backup: TrackingServerBackup) -> Progress:
        """Go one step on. Raises Failure, ApiError."""
        if backup.status.attempt is None:
            return self._begun(backup)
        job = self.job_of(backup)
        if job is None:
            return await self._make(backup)
        if _folder_of(job) != backup.status.folder or is_being_deleted(job.job):
            await self._delete(job.job)  # of the attempt before
            return Progress(backup.status, _under_way(backup), SECONDS_UNTIL_ANOTHER_BACKUP)
        if job.is_done:
            return await self._ended(backup, job)
        if job.has_failed:
            return await self._failed(backup, job)
        plan = self.plan_of(backup)
        if stranded := await stranded_job(self._kube, self._cache, job, plan.model):
            await self._delete(stranded)
        heard = await with_refusal(self._kube, job, self._now())
        trouble = heard.job.trouble(TYPE) if heard.job else None
        return Progress(backup.status, trouble or _under_way(backup), heard.look_again)

    def job_of(self, backup: TrackingServerBackup) -> LiveJob | None:
        """The backup's own Job. Raises Waiting: another backup of the server has one."""
        namespace, names = backup.metadata.namespace, _names_of(backup)
        live = self._cache.get(JOB, namespace, names.backup)
        if live is None:
            return None
        pods = self._cache.children(namespace, backup.spec.server_ref.name, POD)
        found = live_job_of([live, *pods], backup.metadata.uid, names.backup, BACKUP_CONTAINER)
        if found is None:
            raise Waiting(
                Reason.PENDING,
                f"Waits for {describe(live)}, which is another backup's of this server.",
                retry_after=SECONDS_UNTIL_ANOTHER_BACKUP,
            )
        return found

    def has_pods(self, backup: TrackingServerBackup) -> bool:
        """Whether a pod of the backup may still write."""
        pods = self._cache.children(backup.metadata.namespace, backup.spec.server_ref.name, POD)
        component, job = (
            BACKUP_COMPONENT,
            self._cache.get(JOB, backup.metadata.namespace, _names_of(backup).backup),
        )
        is_ours = job is None or controlled_by(job, backup.metadata.uid)
        return is_ours and any(
            (pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == component
            and (pod.get("status") or {}).get("phase") not in ENDED
            for pod in pods
        )

    async def clear(self, backup: TrackingServerBackup) -> None:
        """Remove the Job, and what was there for it. Raises ApiError."""
        await self._jobs.clear(backup.metadata.namespace, _names_of(backup).backup, backup.metadata.uid)

    def _begun(self, backup: TrackingServerBackup) -> Progress:
        """Decide where it is stored: that is written down before anything is."""
        plan = self.plan_of(backup)
        place = plan.placement.artifacts
        why = why_not(plan.model)
        if why or place is None:
            return self._given_up(backup, why or "The server has no prefix in a bucket.")
        status = backup.status.updated(
            started_at=self._now().astimezone(UTC).replace(microsecond=0),
            attempt=1,
            class_name=plan.placement.class_name,
            bucket=place.bucket,
            endpoint=place.endpoint,
            folder=folder_of_attempt(self.namespace_uid(backup), backup.metadata.uid, 1),
        )
        return Progress(status, _under_way(backup), 0.0)

    async def _make(self, backup: TrackingServerBackup) -> Progress:
        """Make the Job, unless what it would do is done, or was begun by one that is gone."""
        if found := await self._stored.complete(backup):
            return await self._completed(backup, *found)
        if await self._stored.has_any(backup):
            return await self._next_attempt(backup, "Its Job was removed before it had ended.")
        plan = self.plan_of(backup)
        if plan.placement.class_name != backup.status.class_name:
            raise Invalid(Reason.CLASS_NOT_FOUND, "The server is of another class now: make another backup.")
        if not has_turn(backup, plan.placement, self._cache, self._now()):
            raise Waiting(
                Reason.PENDING,
                "Waits for other backups of databases on the same PostgreSQL.",
                retry_after=self._settings.timings.between_looks_for_a_turn,
            )
        server = replace(
            plan.model,
            destinations=await self._networks.destinations(plan.model, SecretsMemory(), fresh=True),
        )
        signed = await self._stored.sign_uploads(backup)
        urls = build_backup_urls_secret(
            server, server.names.backup, BACKUP_COMPONENT, signed.urls, signed.headers
        )
        job = build_backup_job(
            server,
            backup.status.folder or "",
            with_artifacts=backup.spec.artifacts is BackedUpArtifacts.COPY,
        )
        await self._jobs.make(
            JobWithUrls((urls,), build_backup_policy(server), job), owner_of_jobs(backup.metadata)
        )
        return Progress(backup.status, _under_way(backup))

    async def _ended(self, backup: TrackingServerBackup, job: LiveJob) -> Progress:
        """Look whether all is stored that the pod says it has stored."""
        if found := await self._stored.complete(backup):
            return await self._completed(backup, *found)
        await self._delete(job.job)
        return await self._next_attempt(
            backup, f"Job {job.name} ended well, but not all of the backup is stored."
        )

    async def _completed(self, backup: TrackingServerBackup, manifest: Manifest, sha256: str) -> Progress:
        await self.clear(backup)
        status = backup.status.updated(
            completed_at=self._now().astimezone(UTC).replace(microsecond=0),
            size=manifest.size,
            sha256=sha256,
            mlflow_version=manifest.mlflow_version,
            schema_revision=manifest.schema_revision,
            tables=len(manifest.tables),
            runs=manifest.runs,
            objects=manifest.objects,
            bytes=manifest.object_bytes,
        )
        message = f"{manifest.runs} runs and {manifest.objects} artifacts are stored in s3://{status.bucket}/{status.folder}."
        return Progress(status, ConditionResult(TYPE, Verdict.OK, Reason.AS_EXPECTED, message))

    async def _failed(self, backup: TrackingServerBackup, job: LiveJob) -> Progress:
        said = (
            job.result.message
            if job.result and job.result.message
            else f"Job {job.name} failed: its pod was ended."
        )
        reason = job.result.reason if job.result else None
        # Whatever else befell a pod, as the end of its node, another attempt may not meet.
        if reason is not None and reason in EXIT_CODES and not OUTCOMES[reason].passes:
            await self.clear(backup)
            await self._stored.remove(backup, all_attempts=True)
            return self._given_up(backup, said)
        remaining = SECONDS_BETWEEN_ATTEMPTS - job.seconds_since_failure(self._now())
        if remaining > 0 and (backup.status.attempt or 1) < MOST_ATTEMPTS:
            shown = (
                problem(TYPE, reason, f"{said} Another attempt follows.") if reason else _under_way(backup)
            )
            return Progress(backup.status, shown, remaining)
        await self._delete(job.job)
        return await self._next_attempt(backup, said)

    async def _next_attempt(self, backup: TrackingServerBackup, why: str) -> Progress:
        """Begin anew in another folder, a few times. What is in this one is removed."""
        attempt = backup.status.attempt or 1
        await self._stored.remove(backup, all_attempts=False)
        if attempt >= MOST_ATTEMPTS:
            await self.clear(backup)
            return self._given_up(backup, why)
        folder = (backup.status.folder or "").removesuffix(f"{attempt}/")
        status = backup.status.updated(attempt=attempt + 1, folder=f"{folder}{attempt + 1}/")
        return Progress(status, _under_way(backup), 0.0)

    def _given_up(self, backup: TrackingServerBackup, why: str) -> Progress:
        message = f"{why} To try again, delete this backup and make another one."
        return Progress(backup.status, problem(TYPE, Reason.BACKUP_FAILED, message))

    def plan_of(self, backup: TrackingServerBackup) -> Plan:
        """The server as it is planned now. Raises Failure."""
        server = self._server(backup)
        return make_plan(server, inputs_of(server, self._cache), self._settings, CHECKS_AT_DELETION)

    def _server(self, backup: TrackingServerBackup) -> TrackingServer:
        name = backup.spec.server_ref.name
        live = self._cache.get(TRACKING_SERVER, backup.metadata.namespace, name)
        server = readable_server(live) if live is not None and not is_being_deleted(live) else None
        if server is None or server.status.placement is None or not server.status.schema_revision:
            is_there = server is not None
            raise Waiting(
                Reason.SERVER_NOT_FOUND,
                f"Server {name} has no database yet: the backup waits until it has been ready once."
                if is_there
                else f"There is no TrackingServer {name} in namespace {backup.metadata.namespace}: make it, or delete this backup.",
                retry_after=SECONDS_UNTIL_A_SERVER,
            )
        return server

    def namespace_uid(self, backup: TrackingServerBackup) -> str:
        """The UID of the backup's namespace. Raises Waiting: it was not seen yet."""
        live = self._cache.get(NAMESPACE, None, backup.metadata.namespace)
        if live is None:
            raise Waiting(
                Reason.PENDING,
                "Waits for the namespace to be seen.",
                retry_after=SECONDS_UNTIL_ANOTHER_BACKUP,
            )
        return uid_of(live) or ""

    async def _delete(self, job: KubeObject) -> None:
        await self._kube.delete(JOB, job["metadata"]["namespace"], job["metadata"]["name"], uid=uid_of(job))


def owner_reference(metadata: ObjectMeta) -> KubeObject:
    """What makes an object one of this backup's, to be collected when the backup goes."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerBackup",
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_of_jobs(metadata: ObjectMeta) -> JobOwner:
    """What a backup's Jobs belong to."""

    def ownership(live: KubeObject) -> Ownership:
        if not controlled_by(live, metadata.uid):
            return Ownership.FOREIGN
        return Ownership.LEAVING if is_being_deleted(live) else Ownership.OURS

    return JobOwner(
        metadata.uid,
        ownership,
        "exists already and does not belong to this backup, so it is left alone: wait for the backup that has it, or remove it.",
        owner_reference(metadata),
    )


def _names_of(backup: TrackingServerBackup) -> ChildNames:
    return ChildNames(backup.spec.server_ref.name)


def _folder_of(job: LiveJob) -> str | None:
    annotations = job.job["spec"]["template"]["metadata"].get("annotations") or {}
    found: str | None = annotations.get(FOLDER_ANNOTATION)
    return found


def _under_way(backup: TrackingServerBackup) -> ConditionResult:
    message = f"Job {_names_of(backup).backup} copies the database and then the artifacts of server {backup.spec.server_ref.name}."
    return ConditionResult(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)
