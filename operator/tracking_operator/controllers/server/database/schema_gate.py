"""The gate before a server's pods: no MLflow starts on a schema that is not its own. Pure.

MLflow migrates by itself, unlocked, when newer code meets an older schema. So one Job brings the schema up
first, and the Deployment is left as it is until that has happened: what runs goes on running.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServerStatus
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    not_looked_at,
    problem,
)
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.pods import CheckResult
from tracking_operator.controllers.server.managed_stores.states import BackendState
from tracking_operator.kube.objects import KubeObject
from tracking_operator.outcomes import OUTCOMES
from tracking_operator.resources.pod.migration_job import MIGRATE_CONTAINER, build_migration_job
from tracking_operator.resources.server_model import ServerModel

TYPE: Final = ConditionType.SCHEMA_READY

WITH_LOGIN: Final = "+"
"""Between the two revisions of a store with MLflow's own login. They are compared as one."""

MIGRATABLE: Final = (Reason.SCHEMA_MISSING, Reason.SCHEMA_BEHIND)
"""What the check of a pod says about a schema that a Job can bring up to date."""

SECONDS_UNTIL_ANOTHER_JOB: Final = 60.0
"""How long a Job that has given up is left before it is made anew."""
SECONDS_UNTIL_ANOTHER_LOGIN: Final = 900.0
"""The same where somebody else's database refuses the login: each attempt counts towards the locking of an account."""


@dataclass(frozen=True)
class Gate:
    """Whether pods of the wanted version may start, and what has to happen first."""

    condition_result: ConditionResult
    is_open: bool
    revision: str | None = None
    """The revision that the schema is at, once it fits the wanted version."""
    job: KubeObject | None = None
    """The Job that has to exist."""
    obsolete_job: KubeObject | None = None
    """A Job that has to go, so that it can be made anew."""
    result: CheckResult | None = None
    """What the Job's last attempt found, as long as it keeps the gate closed."""
    login_revision: str | None = None
    """The revision of the login's tables, where there is a login."""
    requeue_after: float | None = None
    """In how many seconds the Job may be made anew."""
    restored_from: str | None = None
    """The backup that the stores have just been filled from."""


def stamp(server: ServerModel, revision: str | None, login_revision: str | None) -> str | None:
    """What the store is at, as one word; None while something that the server needs is not there yet."""
    if server.login is None or not revision:
        return revision or None
    return f"{revision}{WITH_LOGIN}{login_revision}" if login_revision else None


def live_migration(children: Sequence[KubeObject], server: ServerModel) -> LiveJob | None:
    """Find the Job of the version that is wanted, and what its pods tell."""
    return live_job(children, server, server.names.migration(server.version), MIGRATE_CONTAINER)


def has_brought_it_to(
    server: ServerModel, migration: LiveJob, found: str | None, recorded: str | None
) -> bool:
    """Whether the revision that was ``found`` after it is its work: nobody has put another one back since.

    Its pod, which says to which revision it came, may be seen later than its success, or be gone already.
    """
    result = migration.result
    said = stamp(server, result.revision, result.login_revision) if result else None
    expected = said or recorded or found
    return migration.is_done and found is not None and found == expected


def external_database(
    server: ServerModel,
    status: TrackingServerStatus,
    migration: LiveJob | None,
    check: CheckResult | None,
) -> BackendState:
    """What is known of a database that the operator does not log in to: what the Job and the pods have found there.

    A pod that finds no schema, or an older one, has met another database than the Job before it.
    """
    job_found = migration.result if migration and migration.is_done else None
    if (
        check
        and check.reason in MIGRATABLE
        and check.ended_at > (migration.completed_at if migration else "")
    ):
        return BackendState(login="", revision=None)
    if job_found:
        return BackendState(
            login="", revision=job_found.revision, login_revision=job_found.login_revision or None
        )
    if status.version != server.version:
        return BackendState(login="", revision=None)
    return BackendState(login="", revision=status.schema_revision, login_revision=status.login_revision)


def schema_gate(
    server: ServerModel,
    status: TrackingServerStatus,
    database: BackendState | None,
    migration: LiveJob | None,
    *,
    now: datetime,
) -> Gate:
    """Decide whether pods of the wanted version may start; ``database`` is None while PostgreSQL cannot be asked."""
    recorded = _recorded(server, status)
    if database is None:
        return _gate_without_database(recorded)
    found = stamp(server, database.revision, database.login_revision)
    if recorded and found == recorded:
        return _open(recorded)
    if found and migration and has_brought_it_to(server, migration, found, recorded):
        return _open(found)
    if server.replicas == 0:
        return Gate(not_looked_at(TYPE, "the server to be woken up"), is_open=True)
    job = build_migration_job(server)
    if migration is None:
        return Gate(_under_way(server, database), is_open=False, job=job)
    return _gate_with_job(server, database, migration, job, now)


def is_gated(obj: KubeObject, gate: Gate | None) -> bool:
    """Whether an object has to wait for the gate."""
    return gate is not None and not gate.is_open and obj["kind"] == "Deployment"


def _recorded(server: ServerModel, status: TrackingServerStatus) -> str | None:
    """The revision that the status records for the version that is wanted."""
    if status.version != server.version:
        return None
    return stamp(server, status.schema_revision, status.login_revision)


def _gate_without_database(recorded: str | None) -> Gate:
    if recorded:
        return _open(recorded)
    return Gate(not_looked_at(TYPE, "the backend store"), is_open=False)


def _gate_with_job(
    server: ServerModel, database: BackendState, migration: LiveJob, job: KubeObject, now: datetime
) -> Gate:
    is_other = migration.differs_from(job, server)
    if migration.is_done and migration.result is None and not database.login and not is_other:
        return Gate(not_looked_at(TYPE, f"the word of Job {migration.name}"), is_open=False)
    if migration.is_done:  # and yet the database is at another revision: somebody has put an older one back
        return Gate(_under_way(server, database), is_open=False, obsolete_job=migration.job)
    if not migration.is_running and is_other:
        return Gate(_under_way(server, database), is_open=False, obsolete_job=migration.job)
    if migration.has_failed:
        return _gate_with_failed_job(server, migration, now)
    return Gate(_progress(server, database, migration), is_open=False, result=migration.complaint)


def _gate_with_failed_job(server: ServerModel, migration: LiveJob, now: datetime) -> Gate:
    result = migration.result
    if result and result.reason and OUTCOMES[result.reason].passes:
        return _gate_until_another_job(server, migration, result, result.reason, now)
    job = migration.name
    said = result.message if result and result.message else f"Job {job} failed: read the log of its pods."
    reason = result.reason if result and result.reason else Reason.MIGRATION_FAILED
    message = (
        f"{said} What ran before goes on running. To try MLflow {server.version} again, delete Job {job}."
    )
    condition_result = (result and _store_result(result)) or problem(TYPE, reason, message)
    return Gate(condition_result, is_open=False, result=result)


def _gate_until_another_job(
    server: ServerModel, migration: LiveJob, result: CheckResult, reason: Reason, now: datetime
) -> Gate:
    """The Job goes after a pause. One of something else, as of a Secret that has changed since, has gone at once."""
    pause = _pause_after(server, reason)
    remaining = pause - migration.seconds_since_failure(now)
    said = replace(
        result,
        message=f"{result.message} Job {migration.name} is made anew {pause:.0f} s after it failed; delete it to try again "
        "at once.",
    )
    return Gate(
        _store_result(said) or problem(TYPE, reason, said.message),
        is_open=False,
        obsolete_job=migration.job if remaining <= 0 else None,
        result=said,
        requeue_after=remaining if remaining > 0 else None,
    )


def _pause_after(server: ServerModel, reason: Reason) -> float:
    is_login_of_others = reason is Reason.LOGIN_REFUSED and not server.backend_store.is_managed
    return SECONDS_UNTIL_ANOTHER_LOGIN if is_login_of_others else SECONDS_UNTIL_ANOTHER_JOB


def _store_result(result: CheckResult) -> ConditionResult | None:
    """Where the store is at fault its own condition says so, and the schema waits for it."""
    return not_looked_at(TYPE, "the backend store") if result.is_of_the_store else None


def _progress(server: ServerModel, database: BackendState, migration: LiveJob) -> ConditionResult:
    """How a Job that has not ended is getting on."""
    if not migration.problem and migration.complaint and (waits := _store_result(migration.complaint)):
        return waits
    return migration.trouble(TYPE) or _under_way(server, database)


def _under_way(server: ServerModel, database: BackendState) -> ConditionResult:
    job = server.names.migration(server.version)
    start = f"from revision {database.revision} " if database.revision else ""
    message = (
        f"Job {job} brings the schema {start}up to MLflow {server.version}; pods of it start after that."
    )
    return ConditionResult(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)


def _open(stamped: str) -> Gate:
    revision, _, login_revision = stamped.partition(WITH_LOGIN)
    message = f"The backend store is at revision {revision}."
    return Gate(
        ConditionResult(TYPE, Verdict.OK, Reason.AS_EXPECTED, message),
        is_open=True,
        revision=revision,
        login_revision=login_revision or None,
    )
