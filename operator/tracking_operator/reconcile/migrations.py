"""The gate before a server's pods: no MLflow starts on a schema that is not its own. Pure.

MLflow migrates by itself, unlocked, when newer code meets an older schema. So one Job brings the schema up
first, and the Deployment is left as it is until that has happened: what runs goes on running.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.marks import APPLIED_ANNOTATION, COMPONENT_LABEL
from tracking_operator.api.tracking_server import TrackingServerStatus
from tracking_operator.kube.apply import digest
from tracking_operator.kube.objects import JOB, POD, KubeObject, kind_of, name_of
from tracking_operator.reconcile.databases import DatabaseState
from tracking_operator.reconcile.findings import Finding, Verdict, not_looked_at
from tracking_operator.reconcile.ownership import controlled_by
from tracking_operator.reconcile.pods import (
    STORE_REASONS,
    CheckResult,
    PodProblem,
    container_result,
    pod_problem,
)
from tracking_operator.resources.labels import MIGRATION_COMPONENT
from tracking_operator.resources.migration_job import MIGRATE_CONTAINER, build_migration_job
from tracking_operator.resources.server import ServerModel

TYPE: Final = ConditionType.SCHEMA_READY

PASSING_REASONS: Final = frozenset(
    {Reason.STORE_UNREACHABLE, Reason.LOGIN_REFUSED, Reason.BUSY, Reason.DISK_FULL}
)
"""What the Job tries again by itself."""

MIGRATABLE: Final = (Reason.SCHEMA_MISSING, Reason.SCHEMA_BEHIND)
"""What the check of a pod says about a schema that a Job can bring up to date."""


@dataclass(frozen=True)
class LiveMigration:
    """The Job of the version that is wanted, as it is in the cluster."""

    job: KubeObject
    result: CheckResult | None
    """What its newest pod left behind."""
    problem: PodProblem | None
    """Why its newest pod does not run."""
    is_running: bool
    """Whether a pod of it is at work right now."""

    @property
    def is_done(self) -> bool:
        """Whether it succeeded."""
        return _has_condition(self.job, "Complete")

    @property
    def completed_at(self) -> str:
        """When it succeeded, as Kubernetes writes times; empty while it has not."""
        return str((self.job.get("status") or {}).get("completionTime") or "") if self.is_done else ""

    @property
    def has_failed(self) -> bool:
        """Whether Kubernetes has given it up."""
        return _has_condition(self.job, "Failed")

    def has_brought_it_to(self, found: str | None, recorded: str | None) -> bool:
        """Whether the revision that was ``found`` after it is its work: nobody has put another one back since.

        Its pod, which says to which revision it came, may be seen later than its success, or be gone already.
        """
        expected = (self.result.revision if self.result else None) or recorded or found
        return self.is_done and found is not None and found == expected


@dataclass(frozen=True)
class Gate:
    """Whether pods of the wanted version may start, and what has to happen first."""

    finding: Finding
    is_open: bool
    revision: str | None = None
    """The revision that the schema is at, once it fits the wanted version."""
    job: KubeObject | None = None
    """The Job that has to exist."""
    obsolete_job: KubeObject | None = None
    """A Job that has to go, so that it can be made anew."""
    result: CheckResult | None = None
    """What the Job's last attempt found, as long as it keeps the gate closed."""


def live_migration(children: Sequence[KubeObject], server: ServerModel) -> LiveMigration | None:
    """Find the Job of the version that is wanted, and what its pods tell."""
    name = server.names.migration(server.version)
    for job in children:
        if kind_of(job) == JOB and name_of(job) == name and controlled_by(job, server.uid):
            pods = [pod for pod in children if _is_pod_of(pod, job)]
            return LiveMigration(
                job,
                result=container_result(pods, MIGRATE_CONTAINER),
                problem=pod_problem(pods),
                is_running=any((pod.get("status") or {}).get("phase") == "Running" for pod in pods),
            )
    return None


def external_database(
    server: ServerModel,
    status: TrackingServerStatus,
    migration: LiveMigration | None,
    check: CheckResult | None,
) -> DatabaseState:
    """What is known of a database that the operator does not log in to: what the Job and the pods have found there.

    A pod that finds no schema, or an older one, has met another database than the Job before it.
    """
    job_found = migration.result.revision if migration and migration.is_done and migration.result else None
    if (
        check
        and check.reason in MIGRATABLE
        and check.ended_at > (migration.completed_at if migration else "")
    ):
        return DatabaseState(login="", revision=None)
    return DatabaseState(login="", revision=job_found or _recorded(server, status))


def schema_gate(
    server: ServerModel,
    status: TrackingServerStatus,
    database: DatabaseState | None,
    migration: LiveMigration | None,
) -> Gate:
    """Decide whether pods of the wanted version may start; ``database`` is None while PostgreSQL cannot be asked."""
    recorded = _recorded(server, status)
    if database is None:
        return _gate_without_database(recorded)
    if recorded and database.revision == recorded:
        return _open(recorded)
    if migration and migration.has_brought_it_to(database.revision, recorded):
        return _open(str(database.revision))
    if server.replicas == 0:
        return Gate(not_looked_at(TYPE, "the server to be woken up"), is_open=True)
    job = build_migration_job(server)
    if migration is None:
        return Gate(_under_way(server, database), is_open=False, job=job)
    return _gate_with_job(server, database, migration, job)


def is_gated(obj: KubeObject, gate: Gate | None) -> bool:
    """Whether an object has to wait for the gate."""
    return gate is not None and not gate.is_open and obj["kind"] == "Deployment"


def _recorded(server: ServerModel, status: TrackingServerStatus) -> str | None:
    """The revision that the status records for the version that is wanted."""
    return status.schema_revision if status.version == server.version else None


def _gate_without_database(recorded: str | None) -> Gate:
    if recorded:
        return _open(recorded)
    return Gate(not_looked_at(TYPE, "the backend store"), is_open=False)


def _gate_with_job(
    server: ServerModel, database: DatabaseState, migration: LiveMigration, job: KubeObject
) -> Gate:
    if migration.is_done and migration.result is None and not database.login:
        return Gate(not_looked_at(TYPE, f"the word of Job {name_of(migration.job)}"), is_open=False)
    if migration.is_done:  # and yet the database is at another revision: somebody has put an older one back
        return Gate(_under_way(server, database), is_open=False, obsolete_job=migration.job)
    if not migration.is_running and _stamp(migration.job) != digest(job):
        return Gate(_under_way(server, database), is_open=False, obsolete_job=migration.job)
    if migration.has_failed:
        return _gate_with_failed_job(server, migration)
    return Gate(_progress(server, database, migration), is_open=False, result=_complaint(migration))


def _gate_with_failed_job(server: ServerModel, migration: LiveMigration) -> Gate:
    result = migration.result
    if result and result.reason in PASSING_REASONS:
        return Gate(
            _store_finding(result) or Finding(TYPE, Verdict.FAILING, result.reason, result.message),
            is_open=False,
            obsolete_job=migration.job,
            result=result,
        )
    job = name_of(migration.job)
    said = result.message if result and result.message else f"Job {job} failed: read the log of its pods."
    reason = result.reason if result and result.reason else Reason.MIGRATION_FAILED
    message = (
        f"{said} What ran before goes on running. To try MLflow {server.version} again, delete Job {job}."
    )
    finding = (result and _store_finding(result)) or Finding(TYPE, Verdict.BLOCKED, reason, message)
    return Gate(finding, is_open=False, result=result)


def _complaint(migration: LiveMigration) -> CheckResult | None:
    """What the last attempt of a Job that tries again did not like."""
    result = migration.result
    return result if result and result.reason and not migration.is_running else None


def _store_finding(result: CheckResult) -> Finding | None:
    """Where the store is at fault its own condition says so, and the schema waits for it."""
    return not_looked_at(TYPE, "the backend store") if result.reason in STORE_REASONS else None


def _progress(server: ServerModel, database: DatabaseState, migration: LiveMigration) -> Finding:
    """How a Job that has not ended is getting on."""
    if migration.problem:
        return Finding(TYPE, Verdict.FAILING, migration.problem.reason, migration.problem.message)
    if (complaint := _complaint(migration)) and complaint.reason:
        goes_on = f" Job {name_of(migration.job)} tries again." if complaint.reason in PASSING_REASONS else ""
        message = complaint.message + goes_on
        return _store_finding(complaint) or Finding(TYPE, Verdict.FAILING, complaint.reason, message)
    return _under_way(server, database)


def _under_way(server: ServerModel, database: DatabaseState) -> Finding:
    job = server.names.migration(server.version)
    start = f"from revision {database.revision} " if database.revision else ""
    message = (
        f"Job {job} brings the schema {start}up to MLflow {server.version}; pods of it start after that."
    )
    return Finding(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)


def _open(revision: str) -> Gate:
    message = f"The backend store is at revision {revision}."
    return Gate(Finding(TYPE, Verdict.OK, Reason.AS_EXPECTED, message), is_open=True, revision=revision)


def _is_pod_of(pod: KubeObject, job: KubeObject) -> bool:
    is_migration = (pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == MIGRATION_COMPONENT
    return kind_of(pod) == POD and is_migration and controlled_by(pod, str(job["metadata"]["uid"]))


def _has_condition(job: KubeObject, type_: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] == type_ and one["status"] == "True" for one in conditions)


def _stamp(job: KubeObject) -> str:
    return str((job["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION, ""))
