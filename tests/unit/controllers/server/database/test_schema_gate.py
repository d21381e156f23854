"""The gate before a server's pods: when they may start, and what has to happen to the Job before that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.controllers.live import deployment, migration_pod, said, terminated
from tests.unit.examples import EXTERNAL_DATABASE, Manifest, model, postgres_class, server
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.server.children.pods import CheckResult
from tracking_operator.controllers.server.database.databases import DatabaseState
from tracking_operator.controllers.server.database.schema_gate import (
    SECONDS_UNTIL_ANOTHER_JOB,
    SECONDS_UNTIL_ANOTHER_LOGIN,
    Gate,
    external_database,
    is_gated,
    live_migration,
    schema_gate,
)
from tracking_operator.kube.apply import digest
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.server_model import ServerModel

OLD, NEW = "aaaa", "bbbb"
NOW = datetime(2026, 1, 1, 10, tzinfo=UTC)
FAILED_AT = "2026-01-01T10:00:00Z"
UNSCHEDULABLE: Manifest = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "full",
}


@pytest.fixture
def wanted() -> ServerModel:
    """A server with a database of its own."""
    return model({}, postgres_class())


def job(wanted: ServerModel, condition: str = "", *, is_current: bool = True) -> Manifest:
    """The Job of the version that is wanted, as it is in the cluster."""
    built = build_migration_job(wanted)
    stamp = digest(built) if is_current else "another"
    metadata = built["metadata"] | {"uid": "uid-of-the-job", "annotations": {APPLIED_ANNOTATION: stamp}}
    ended = {"type": condition, "status": "True", "lastTransitionTime": FAILED_AT}
    status: Manifest = {"conditions": [ended]} if condition else {}
    if condition == "Complete":
        status["completionTime"] = "2026-01-01T10:00:00Z"
    return built | {"metadata": metadata, "status": status}


def succeeded(live_job: Manifest, revision: str = NEW) -> Manifest:
    """A pod of the Job that has brought the schema to a revision."""
    return migration_pod(live_job, terminated(0, "Completed", said("", "Done.", revision)))


def failed(live_job: Manifest, reason: str, exit_code: int | None = None) -> Manifest:
    """A pod of the Job that has given up; it ends as its reason asks for unless told otherwise."""
    code = EXIT_CODES[reason] if exit_code is None else exit_code
    return migration_pod(live_job, terminated(code, "Error", said(reason, "That is why.")))


def gate(
    wanted: ServerModel,
    found: str | None,
    *children: Manifest,
    recorded: tuple[str, str] | None = None,
    is_reachable: bool = True,
    later: float = 0.0,
) -> Gate:
    """The gate of a server whose database is at ``found``; ``recorded`` are version and revision in its status."""
    status: Manifest = {"version": recorded[0], "schemaRevision": recorded[1]} if recorded else {}
    database = DatabaseState(login="x_a", revision=found) if is_reachable else None
    migration, now = live_migration(children, wanted), NOW + timedelta(seconds=later)
    return schema_gate(wanted, server(status=status).status, database, migration, now=now)


def external_gate(external: ServerModel, *children: Manifest, later: float = 0.0) -> Gate:
    """The gate of a server on somebody else's database, ``later`` than its Job ended."""
    status, migration = server().status, live_migration(children, external)
    database = external_database(external, status, migration, None)
    return schema_gate(external, status, database, migration, now=NOW + timedelta(seconds=later))


def test_a_new_server_waits_for_a_job(wanted: ServerModel) -> None:
    closed = gate(wanted, None)
    assert not closed.is_open
    assert closed.job == build_migration_job(wanted)
    assert (closed.condition_result.verdict, closed.condition_result.reason) == (
        Verdict.WORKING,
        Reason.PROGRESSING,
    )
    assert is_gated(deployment(), closed)
    assert not is_gated(build_migration_job(wanted), closed)
    assert not is_gated(deployment(), None)


def test_a_database_of_a_predecessor_is_migrated_as_well(wanted: ServerModel) -> None:
    closed = gate(wanted, OLD)
    assert closed.job is not None
    assert OLD in closed.condition_result.message


def test_nothing_is_done_about_a_job_that_is_under_way(wanted: ServerModel) -> None:
    live_job = job(wanted)
    running = migration_pod(live_job, {"running": {}}) | {"status": {"phase": "Running"}}
    for children in ([live_job], [live_job, running]):
        closed = gate(wanted, None, *children)
        assert (closed.is_open, closed.job, closed.obsolete_job) == (False, None, None)
        assert closed.condition_result.reason is Reason.PROGRESSING


def test_pods_start_once_the_job_has_brought_the_schema_up(wanted: ServerModel) -> None:
    live_job = job(wanted, "Complete")
    opened = gate(wanted, NEW, live_job, succeeded(live_job))
    assert (opened.is_open, opened.revision, opened.obsolete_job) == (True, NEW, None)
    assert not is_gated(deployment(), opened)


def test_a_success_counts_although_its_pod_is_not_seen(wanted: ServerModel) -> None:
    opened = gate(wanted, NEW, job(wanted, "Complete"))
    assert (opened.is_open, opened.revision) == (True, NEW)


def test_a_success_whose_work_is_not_there_is_repeated(wanted: ServerModel) -> None:
    live_job = job(wanted, "Complete")
    closed = gate(wanted, None, live_job)
    assert (closed.is_open, closed.obsolete_job) == (False, live_job)


def test_a_success_in_an_external_database_waits_for_its_pod_to_tell() -> None:
    external = model({"backendStore": EXTERNAL_DATABASE})
    closed = external_gate(external, job(external, "Complete"))
    assert (closed.is_open, closed.obsolete_job, closed.condition_result.reason) == (
        False,
        None,
        Reason.PENDING,
    )


def test_a_job_that_is_gone_does_not_come_back(wanted: ServerModel) -> None:
    opened = gate(wanted, NEW, recorded=("3.18.0", NEW))
    assert (opened.is_open, opened.job) == (True, None)


@pytest.mark.parametrize("is_left", [True, False])
def test_an_older_schema_that_was_put_back_is_migrated_again(wanted: ServerModel, *, is_left: bool) -> None:
    live_job = job(wanted, "Complete")
    children = [live_job, succeeded(live_job)] if is_left else []
    closed = gate(wanted, OLD, *children, recorded=("3.18.0", NEW))
    assert not closed.is_open
    assert (closed.obsolete_job == live_job) is is_left
    assert (closed.job is not None) is not is_left


def test_a_record_of_another_version_does_not_open(wanted: ServerModel) -> None:
    closed = gate(wanted, OLD, recorded=("3.16.1", OLD))
    assert not closed.is_open
    assert closed.job is not None


def test_a_new_version_with_the_same_schema_opens_after_its_job(wanted: ServerModel) -> None:
    live_job = job(wanted, "Complete")
    assert gate(wanted, OLD, live_job, succeeded(live_job, OLD), recorded=("3.16.1", OLD)).is_open


def test_a_server_goes_on_as_recorded_while_postgresql_cannot_be_asked(wanted: ServerModel) -> None:
    assert gate(wanted, None, recorded=("3.18.0", NEW), is_reachable=False).revision == NEW
    for recorded in (None, ("3.16.1", OLD)):
        closed = gate(wanted, None, recorded=recorded, is_reachable=False)
        assert (closed.is_open, closed.job, closed.condition_result.reason) == (False, None, Reason.PENDING)


def test_a_sleeping_server_needs_no_schema(wanted: ServerModel) -> None:
    opened = gate(replace(wanted, replicas=0), None)
    assert (opened.is_open, opened.job, opened.revision) == (True, None, None)


def test_a_job_that_should_look_otherwise_is_made_anew_unless_it_is_at_work(wanted: ServerModel) -> None:
    live_job = job(wanted, is_current=False)
    assert gate(wanted, None, live_job).obsolete_job == live_job
    running = migration_pod(live_job, {"running": {}}) | {"status": {"phase": "Running"}}
    assert gate(wanted, None, live_job, running).obsolete_job is None
    finished = job(wanted, "Complete", is_current=False)
    assert gate(wanted, NEW, finished, succeeded(finished)).is_open


def test_an_attempt_that_failed_says_so_while_the_job_tries_again(wanted: ServerModel) -> None:
    live_job = job(wanted)
    closed = gate(wanted, None, live_job, failed(live_job, "SchemaBehind"))
    assert (closed.condition_result.verdict, closed.condition_result.reason) == (
        Verdict.WORKING,
        Reason.SCHEMA_BEHIND,
    )
    assert "tries again" in closed.condition_result.message
    assert closed.obsolete_job is None
    closed = gate(wanted, None, live_job, failed(live_job, "MigrationFailed"))
    assert "tries again" not in closed.condition_result.message


@pytest.mark.parametrize("reason", ["StoreUnreachable", "Busy", "TlsFailed"])
def test_an_attempt_that_the_store_stopped_is_the_stores_matter(wanted: ServerModel, reason: str) -> None:
    live_job = job(wanted)
    closed = gate(wanted, None, live_job, failed(live_job, reason))
    assert closed.condition_result.reason is Reason.PENDING
    assert closed.result is not None
    assert closed.result.reason == reason


@pytest.mark.parametrize("reason", ["StoreUnreachable", "LoginRefused", "Busy", "DiskFull"])
def test_a_job_that_gave_up_for_a_passing_reason_is_made_anew_after_a_pause(
    wanted: ServerModel, reason: str
) -> None:
    live_job = job(wanted, "Failed")
    closed = gate(wanted, None, live_job, failed(live_job, reason), later=20.0)
    assert (closed.is_open, closed.obsolete_job) == (False, None)
    assert closed.requeue_after == SECONDS_UNTIL_ANOTHER_JOB - 20.0
    assert closed.result is not None
    assert "That is why. Job mlflow-migrate-3-18-0 is made anew 60 s after" in closed.result.message
    closed = gate(wanted, None, live_job, failed(live_job, reason), later=SECONDS_UNTIL_ANOTHER_JOB)
    assert (closed.obsolete_job, closed.requeue_after) == (live_job, None)


def test_a_login_that_somebody_elses_database_refuses_is_not_tried_again_soon() -> None:
    external = model({"backendStore": EXTERNAL_DATABASE})
    live_job = job(external, "Failed")
    pod = failed(live_job, "LoginRefused")
    closed = external_gate(external, live_job, pod, later=SECONDS_UNTIL_ANOTHER_JOB)
    assert closed.obsolete_job is None
    assert closed.requeue_after == SECONDS_UNTIL_ANOTHER_LOGIN - SECONDS_UNTIL_ANOTHER_JOB
    assert external_gate(external, live_job, pod, later=SECONDS_UNTIL_ANOTHER_LOGIN).obsolete_job == live_job
    unreachable = failed(live_job, "StoreUnreachable")
    assert (
        external_gate(external, live_job, unreachable, later=SECONDS_UNTIL_ANOTHER_JOB).obsolete_job
        == live_job
    )


def test_a_refused_login_is_tried_again_at_once_when_its_secret_changes() -> None:
    external = replace(model({"backendStore": EXTERNAL_DATABASE}), credentials_digest="wrong")
    live_job = job(external, "Failed")
    corrected = replace(external, credentials_digest="right")
    assert external_gate(external, live_job, failed(live_job, "LoginRefused")).obsolete_job is None
    assert external_gate(corrected, live_job, failed(live_job, "LoginRefused")).obsolete_job == live_job


def test_a_job_that_kubernetes_ended_for_good_is_not_made_anew_by_a_word_of_its_pod(
    wanted: ServerModel,
) -> None:
    live_job = job(wanted, "Failed")
    liar = failed(live_job, "Busy", EXIT_CODES["UnsupportedUri"])
    closed = gate(wanted, None, live_job, liar, later=SECONDS_UNTIL_ANOTHER_LOGIN)
    assert (closed.obsolete_job, closed.requeue_after) == (None, None)
    assert (closed.condition_result.verdict, closed.condition_result.reason) == (
        Verdict.BLOCKED,
        Reason.CRASH_LOOPING,
    )
    assert "delete Job mlflow-migrate-3-18-0" in closed.condition_result.message


@pytest.mark.parametrize("reason", ["MigrationFailed", "SchemaTooNew", "ImageVersionMismatch"])
def test_a_job_that_only_a_person_can_help_stays_and_says_why(wanted: ServerModel, reason: str) -> None:
    live_job = job(wanted, "Failed")
    closed = gate(wanted, OLD, live_job, failed(live_job, reason), recorded=("3.16.1", OLD))
    assert (closed.is_open, closed.job, closed.obsolete_job) == (False, None, None)
    assert (closed.condition_result.verdict, closed.condition_result.reason.value) == (
        Verdict.BLOCKED,
        reason,
    )
    for words in ("That is why.", "goes on running", "delete Job mlflow-migrate-3-18-0"):
        assert words in closed.condition_result.message


def test_a_job_that_failed_without_a_word_says_where_to_look(wanted: ServerModel) -> None:
    closed = gate(wanted, None, job(wanted, "Failed"))
    assert (closed.condition_result.verdict, closed.condition_result.reason) == (
        Verdict.BLOCKED,
        Reason.MIGRATION_FAILED,
    )
    assert "read the log of its pods" in closed.condition_result.message


def test_a_pod_that_no_node_takes_is_the_reason(wanted: ServerModel) -> None:
    live_job = job(wanted)
    pending = migration_pod(live_job, {"waiting": {}}) | {
        "status": {"phase": "Pending", "conditions": [UNSCHEDULABLE]}
    }
    closed = gate(wanted, None, live_job, pending)
    assert (closed.condition_result.verdict, closed.condition_result.reason) == (
        Verdict.FAILING,
        Reason.UNSCHEDULABLE,
    )


def test_jobs_and_pods_of_others_are_not_looked_at(wanted: ServerModel) -> None:
    foreign = job(wanted, "Complete")
    foreign["metadata"] = foreign["metadata"] | {"ownerReferences": []}
    assert live_migration([foreign], wanted) is None
    of_another_version = job(replace(wanted, version="3.16.1"), "Complete")
    assert live_migration([of_another_version], wanted) is None
    live_job = job(wanted, "Complete")
    other = job(wanted)
    other["metadata"] = other["metadata"] | {"uid": "another"}
    found = live_migration([live_job, succeeded(other)], wanted)
    assert found is not None
    assert found.result is None


def test_an_external_database_is_known_from_its_job_and_its_pods() -> None:
    wanted = model({"backendStore": EXTERNAL_DATABASE})
    live_job = job(wanted, "Complete")
    migration = live_migration([live_job, succeeded(live_job)], wanted)
    status = server(status={"version": "3.18.0", "schemaRevision": OLD}).status
    earlier = CheckResult(Reason.SCHEMA_MISSING, "", "", "2026-01-01T09:00:00Z")
    later = CheckResult(Reason.SCHEMA_BEHIND, "", "", "2026-01-01T11:00:00Z")

    assert external_database(wanted, status, migration, None).revision == NEW
    assert external_database(wanted, status, migration, earlier).revision == NEW
    assert external_database(wanted, status, migration, later).revision is None
    assert external_database(wanted, status, None, None).revision == OLD
    assert external_database(wanted, server().status, None, None).revision is None
