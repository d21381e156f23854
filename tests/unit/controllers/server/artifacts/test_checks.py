"""When the Job that tries a prefix out is made, made again, and believed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.controllers.live import live, owned_by, said, terminated
from tests.unit.examples import Manifest, model, s3_class, s3_store, server
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.server.artifacts.checks import (
    SECONDS_UNTIL_A_PERSON_HAS_ACTED,
    SECONDS_UNTIL_ANOTHER_TRY,
    ArtifactCheck,
    artifact_check,
    digest_of_check,
    is_in_use,
    live_check,
)
from tracking_operator.controllers.server.artifacts.prefixes import PrefixState
from tracking_operator.kube.apply import digest
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.pod.artifact_jobs import build_artifact_check_job
from tracking_operator.resources.server_model import ServerModel

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILED_AT = "2026-01-01T12:00:00Z"


@pytest.fixture
def wanted() -> ServerModel:
    return model({}, s3_class())


def job(server: ServerModel, condition: str | None = None) -> Manifest:
    """The live Job, as it was made for this server."""
    annotations = {APPLIED_ANNOTATION: digest(build_artifact_check_job(server))}
    metadata = {"annotations": annotations} | owned_by(server.uid)
    conditions = [{"type": condition, "status": "True", "lastTransitionTime": FAILED_AT}] if condition else []
    return live(
        "batch/v1", "Job", "mlflow-check-artifacts", metadata=metadata, status={"conditions": conditions}
    )


def pod_of(job: Manifest, state: Manifest, phase: str = "Failed") -> Manifest:
    metadata = owned_by(job["metadata"]["uid"], kind="Job") | {"creationTimestamp": FAILED_AT}
    statuses = [{"name": "check-artifact-store", "state": state}]
    return live(
        "v1", "Pod", "check-1", metadata=metadata, status={"phase": phase, "containerStatuses": statuses}
    )


def check(
    wanted: ServerModel, *children: Manifest, status: Manifest | None = None, now: datetime = NOW
) -> ArtifactCheck:
    return artifact_check(
        wanted,
        s3_store(wanted),
        status=server(status=status).status,
        state=PrefixState(None),
        live=live_check(children, wanted),
        now=now,
    )


def checked(digest: str, **condition: str) -> Manifest:
    """A status that records a successful check."""
    known = {"type": "ArtifactStoreReady", "status": "True", "reason": "AsExpected", "message": "Fine."}
    condition = known | condition | {"lastTransitionTime": FAILED_AT}
    return {"artifactStore": {"kind": "s3", "checked": digest}, "conditions": [condition]}


def test_a_new_prefix_is_tried_out(wanted: ServerModel) -> None:
    found = check(wanted)
    assert (found.condition_result.verdict, found.checked) == (Verdict.WORKING, None)
    assert found.job == build_artifact_check_job(wanted)


def test_what_was_tried_out_before_is_not_tried_again(wanted: ServerModel) -> None:
    digest = digest_of_check(wanted, s3_store(wanted))
    found = check(wanted, status=checked(digest))
    assert (found.condition_result.verdict, found.checked, found.job) == (Verdict.OK, digest, None)


def test_another_identity_or_place_is_tried_out_anew(wanted: ServerModel) -> None:
    status = checked(digest_of_check(wanted, s3_store(wanted)))
    others = (
        replace(wanted, credentials_digest="another"),
        replace(wanted, service_account_annotations={"eks.amazonaws.com/role-arn": "another"}),
        replace(wanted, artifact_store=replace(s3_store(wanted), prefix="another")),
    )
    assert all(check(other, status=status).job for other in others)


def test_success_is_recorded(wanted: ServerModel) -> None:
    done = job(wanted, "Complete")
    found = check(wanted, done)
    assert (found.condition_result.verdict, found.checked) == (
        Verdict.OK,
        digest_of_check(wanted, s3_store(wanted)),
    )


def test_keys_that_reach_further_are_a_remark_that_stays(wanted: ServerModel) -> None:
    done = job(wanted, "Complete")
    pod = pod_of(done, terminated(0, "Completed", said("ReachesBeyondPrefix", "It lists all.")), "Succeeded")
    found = check(wanted, done, pod)
    assert (found.condition_result.verdict, found.condition_result.reason) == (
        Verdict.OK,
        Reason.REACHES_BEYOND_PREFIX,
    )
    assert found.checked
    status = checked(
        found.checked, reason=found.condition_result.reason.value, message=found.condition_result.message
    )
    assert check(wanted, status=status).condition_result == found.condition_result


@pytest.mark.parametrize(
    ("reason", "pause"),
    [
        ("AccessDenied", SECONDS_UNTIL_A_PERSON_HAS_ACTED),
        ("IsolationNotProved", SECONDS_UNTIL_A_PERSON_HAS_ACTED),
        ("BucketNotFound", SECONDS_UNTIL_A_PERSON_HAS_ACTED),
        ("LoginRefused", SECONDS_UNTIL_A_PERSON_HAS_ACTED),
        ("StoreUnreachable", SECONDS_UNTIL_ANOTHER_TRY),
        ("DiskFull", SECONDS_UNTIL_ANOTHER_TRY),
    ],
)
def test_what_can_be_put_right_outside_is_tried_again_after_a_pause(
    wanted: ServerModel, reason: str, pause: float
) -> None:
    failed = job(wanted, "Failed")
    pod = pod_of(failed, terminated(EXIT_CODES[reason], "Error", said(reason, "Put was denied.")))
    found = check(wanted, failed, pod)
    assert (found.condition_result.verdict, found.condition_result.reason.value) == (Verdict.FAILING, reason)
    assert found.condition_result.message == "Put was denied."
    assert (found.obsolete_job, found.requeue_after) == (None, pause)
    assert check(wanted, failed, pod, now=NOW + timedelta(seconds=pause)).obsolete_job == failed


def test_a_word_that_does_not_go_with_how_the_pod_ended_does_not_make_the_job_anew(
    wanted: ServerModel,
) -> None:
    failed = job(wanted, "Failed")
    liar = pod_of(failed, terminated(EXIT_CODES["UnsupportedUri"], "Error", said("Busy", "Believe me.")))
    found = check(wanted, failed, liar, now=NOW + timedelta(hours=1))
    assert (found.obsolete_job, found.condition_result.reason) == (None, Reason.CHECK_FAILED)


def test_a_fresh_identity_is_waited_for(wanted: ServerModel) -> None:
    running = job(wanted)
    pod = pod_of(running, terminated(43, "Error", said("IdentityPending", "Not known yet.")))
    found = check(wanted, running, pod)
    assert (found.condition_result.verdict, found.condition_result.reason) == (
        Verdict.WORKING,
        Reason.IDENTITY_PENDING,
    )


def test_a_pod_that_says_nothing_is_tried_again(wanted: ServerModel) -> None:
    running = job(wanted)
    found = check(wanted, running, pod_of(running, terminated(1, "Error", "Traceback")))
    assert (found.condition_result.verdict, found.condition_result.reason) == (
        Verdict.FAILING,
        Reason.CRASH_LOOPING,
    )
    assert "Job mlflow-check-artifacts tries again." in found.condition_result.message


def test_a_job_that_says_nothing_is_left_for_people(wanted: ServerModel) -> None:
    found = check(wanted, job(wanted, "Failed"))
    assert (found.condition_result.verdict, found.condition_result.reason) == (
        Verdict.BLOCKED,
        Reason.CHECK_FAILED,
    )
    assert "mlflow-check-artifacts" in found.condition_result.message


def test_a_job_of_an_earlier_specification_makes_room(wanted: ServerModel) -> None:
    old = job(wanted)
    other = replace(wanted, image="another")
    assert check(other, old).obsolete_job == old
    assert check(other, old, pod_of(old, {"running": {}}, "Running")).obsolete_job is None


def test_a_deployment_tells_under_which_prefix_its_pods_write(wanted: ServerModel) -> None:
    store, deployment = s3_store(wanted), build_deployment(wanted)
    assert is_in_use(store, deployment)
    assert not is_in_use(replace(store, prefix="team-a/ml"), deployment)
    assert not is_in_use(replace(store, prefix=f"{store.prefix}-secret"), deployment)
    assert not is_in_use(store, None)
