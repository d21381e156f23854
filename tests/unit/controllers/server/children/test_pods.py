"""What is read from the status of pods, as kubelets really write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.live import (
    INITIALIZING,
    PASSED,
    RUNNING,
    STARTING,
    check_failed,
    crashed,
    pod,
    said,
    terminated,
    waiting,
)
from tests.unit.examples import Manifest
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL
from tracking_operator.controllers.server.children.pods import (
    CheckResult,
    check_result,
    has_pods_on_their_way_out,
    newest_first,
    pod_problem,
)
from tracking_operator.outcomes import EXIT_CODES

UNSCHEDULABLE = "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available."
CHECK_REASONS = [
    "StoreUnreachable",
    "LoginRefused",
    "SchemaMissing",
    "SchemaBehind",
    "SchemaTooNew",
    "ImageVersionMismatch",
    "ImageIncomplete",
    "VolumeFull",
    "UnsupportedUri",
    "MigrationFailed",
]

NO_PYTHON = [
    # containerd with runc, and with crun; CRI-O
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
    'container process: error during container init: exec: "python3": executable file not found in $PATH: unknown',
    "failed to create containerd task: OCI runtime create failed: executable file `python3` not found in $PATH: No such file or directory",
    "container create failed: executable file `python3` not found in $PATH: No such file or directory",
    'exec: "python3": stat /usr/bin/python3: no such file or directory',
]
"""What the runtime says of an image that has no python3."""


def unscheduled(message: str) -> Manifest:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


def result(*pods: Manifest) -> CheckResult:
    found = check_result(pods, "3.18.0")
    assert found is not None
    return found


class TestCheckResult:
    @pytest.mark.parametrize("words", NO_PYTHON)
    @pytest.mark.parametrize(("ended", "exit_code"), [("StartError", 128), ("ContainerCannotRun", 127)])
    def test_of_an_image_without_python_names_what_is_missing(
        self, ended: str, exit_code: int, words: str
    ) -> None:
        found = result(pod(check={"state": terminated(exit_code, ended, words), "ready": False}))
        assert found.reason is Reason.IMAGE_INCOMPLETE
        assert "no python3" in found.message
        assert "psycopg2" in found.message

    def test_of_a_container_that_the_runtime_does_not_start_has_its_words(self) -> None:
        for words in (
            "OCI runtime create failed: seccomp is not supported",
            'error mounting "/var/lib/kubelet/pods/1/volumes/x" to rootfs: no such file or directory',
        ):
            found = result(pod(check={"state": terminated(128, "StartError", words), "ready": False}))
            assert found.reason is Reason.POD_REFUSED
        assert words in found.message

    def test_of_a_check_that_passed_has_the_revision(self) -> None:
        assert result(pod(check=PASSED)) == CheckResult(None, "The backend store is at revision abc.", "abc")

    @pytest.mark.parametrize("reason", CHECK_REASONS)
    def test_of_a_check_that_failed_has_its_reason_and_sentence(self, reason: str) -> None:
        failed = result(pod(check=check_failed(EXIT_CODES[reason], said(reason, "This is why."))))
        assert (failed.reason, failed.message) == (reason, "This is why.")

    @pytest.mark.parametrize(("reason", "exit_code"), [("Busy", 27), ("UnsupportedUri", 29), ("Busy", 1)])
    def test_that_ended_otherwise_than_its_reason_asks_for_is_that_of_a_crash(
        self, reason: str, exit_code: int
    ) -> None:
        failed = result(pod(check=check_failed(exit_code, said(reason, "Believe me."))))
        assert failed.reason is Reason.CRASH_LOOPING
        assert f"exit code {exit_code}" in failed.message
        assert "Believe me." not in failed.message

    def test_of_what_a_signal_ended_has_its_reason(self) -> None:
        killed = result(pod(check=check_failed(137, said("MigrationFailed", "Killed by signal 9."))))
        assert (killed.reason, killed.message) == (Reason.MIGRATION_FAILED, "Killed by signal 9.")

    def test_is_read_at_once_and_not_only_in_the_back_off(self) -> None:
        state = {"state": terminated(23, "Error", said("SchemaBehind", "Old."))}
        assert result(pod(check=state)).reason is Reason.SCHEMA_BEHIND

    def test_of_a_repeated_check_stands_while_the_next_attempt_runs(self) -> None:
        again = {"state": {"running": {}}, "lastState": terminated(23, "Error", said("SchemaBehind", "Old."))}
        assert result(pod(check=again)).reason is Reason.SCHEMA_BEHIND

    @pytest.mark.parametrize(
        "message",
        [
            None,
            "",
            "Traceback (most recent call last)",
            "null",
            "[]",
            "5",
            '"text"',
            '{"reason": ',
            '{"reason": 7}',
        ],
    )
    def test_of_a_check_that_died_without_a_word_points_to_its_log(self, message: str | None) -> None:
        failed = result(pod(check=check_failed(137, message)))
        assert failed.reason is Reason.CRASH_LOOPING
        assert "exit code 137" in failed.message
        assert "check-backend-store" in failed.message

    @pytest.mark.parametrize("word", ["AsExpected", "Suspended", "nonsense", "Conflict"])
    def test_takes_only_reasons_that_the_check_can_have(self, word: str) -> None:
        assert result(pod(check=check_failed(1, said(word, "Hello.")))).reason is Reason.CRASH_LOOPING

    @given(st.text(), st.integers(0, 255))
    def test_can_be_read_from_any_message(self, message: str, exit_code: int) -> None:
        found = result(pod(check=check_failed(exit_code, message)))
        assert (found.reason is None) == (exit_code == 0)

    @pytest.mark.parametrize(
        "check", [None, {"state": {"running": {}}}, {"state": waiting("PodInitializing")}, {}]
    )
    def test_is_not_there_before_the_check_has_ended(self, check: Manifest | None) -> None:
        assert check_result([pod(check=check)], "3.17.2") is None

    def test_of_pods_of_another_version_says_nothing_about_this_one(self) -> None:
        assert check_result([pod(check=PASSED, version="3.16.1")], "3.17.2") is None

    def test_comes_from_the_newest_pod_that_has_one(self) -> None:
        old = pod(
            name="old", check=check_failed(26, said("VolumeFull", "Full.")), created="2026-01-01T09:00:00Z"
        )
        new = pod(name="new", check=PASSED)
        assert result(old, new).reason is None
        starting = pod(name="newest", check={}, created="2026-01-01T11:00:00Z")
        assert result(old, new, starting).reason is None

    def test_does_not_come_from_a_pod_that_is_on_its_way_out(self) -> None:
        assert check_result([pod(check=PASSED, deleted=True)], "3.17.2") is None


class TestPodProblem:
    @pytest.mark.parametrize(
        ("reason", "message"),
        [
            ("ErrImagePull", 'failed to pull image "x:1": not found'),
            ("ImagePullBackOff", 'Back-off pulling image "x:1"'),
            ("InvalidImageName", "couldn't parse image name"),
            ("ErrImageNeverPull", "image is not present with pull policy of Never"),
        ],
    )
    def test_an_image_that_cannot_be_pulled(self, reason: str, message: str) -> None:
        # The init container has the same image, so it is the first to fail.
        problem = pod_problem([pod(check={"state": waiting(reason, message)}, server=INITIALIZING)])
        assert problem
        assert problem.reason is Reason.IMAGE_PULL_FAILED
        assert message in problem.message
        assert "imagePullSecrets" in problem.message

    def test_a_container_that_needs_a_secret_which_is_not_there(self) -> None:
        state = {"state": waiting("CreateContainerConfigError", 'secret "token" not found')}
        problem = pod_problem([pod(check=state)])
        assert problem
        assert problem.reason is Reason.POD_REFUSED
        assert 'secret "token" not found' in problem.message

    @pytest.mark.parametrize("words", NO_PYTHON)
    @pytest.mark.parametrize("reason", ["RunContainerError", "CreateContainerError"])
    def test_an_image_without_python(self, reason: str, words: str) -> None:
        problem = pod_problem([pod(check={"state": waiting(reason, words)}, server=INITIALIZING)])
        assert problem
        assert problem.reason is Reason.IMAGE_INCOMPLETE
        assert "no python3" in problem.message

    def test_no_node_with_room(self) -> None:
        problem = pod_problem([pod(conditions=[unscheduled(UNSCHEDULABLE)])])
        assert problem
        assert problem.reason is Reason.UNSCHEDULABLE
        assert "3 Insufficient memory" in problem.message

    @pytest.mark.parametrize(
        "message",
        [
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            '0/1 nodes are available: persistentvolumeclaim "mlflow-backend-store" not found.',
        ],
    )
    def test_a_volume_that_is_being_provisioned_is_no_problem_of_the_nodes(self, message: str) -> None:
        assert pod_problem([pod(conditions=[unscheduled(message)])]) is None

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    def test_a_pod_that_has_ended_waits_for_no_node(self, phase: str) -> None:
        ended = pod(conditions=[unscheduled(UNSCHEDULABLE)])
        ended["status"]["phase"] = phase
        assert pod_problem([ended]) is None

    def test_too_little_memory(self) -> None:
        problem = pod_problem([pod(check=PASSED, server=crashed(137, "OOMKilled"))])
        assert problem
        assert problem.reason is Reason.OUT_OF_MEMORY
        assert "spec.resources.limits.memory" in problem.message

    @pytest.mark.parametrize(("exit_code", "reason"), [(1, "Error"), (0, "Completed"), (137, "Error")])
    def test_a_server_that_ends_has_crashed_whatever_its_exit_code(self, exit_code: int, reason: str) -> None:
        # `mlflow server` ends with 0 when its uvicorn crashed.
        problem = pod_problem([pod(check=PASSED, server=crashed(exit_code, reason))])
        assert problem
        assert problem.reason is Reason.CRASH_LOOPING
        assert f"exit code {exit_code}" in problem.message
        assert "kubectl logs --previous mlflow-1" in problem.message

    def test_a_crash_before_the_back_off_is_seen_as_well(self) -> None:
        problem = pod_problem([pod(check=PASSED, server={"state": terminated(1, "Error"), "ready": False})])
        assert problem
        assert problem.reason is Reason.CRASH_LOOPING

    def test_a_crash_that_is_over_is_no_problem(self) -> None:
        recovered = RUNNING | {"lastState": terminated(137, "OOMKilled")}
        assert pod_problem([pod(check=PASSED, server=recovered)]) is None

    @pytest.mark.parametrize("server", [None, INITIALIZING, STARTING, RUNNING])
    def test_an_ordinary_start_has_none(self, server: Manifest | None) -> None:
        assert pod_problem([pod(check=PASSED, server=server)]) is None

    def test_only_the_newest_pod_is_looked_at(self) -> None:
        broken = pod(name="old", server=crashed(1, "Error"), created="2026-01-01T09:00:00Z")
        assert pod_problem([broken, pod(name="new", server=STARTING)]) is None

    def test_a_long_message_is_cut(self) -> None:
        problem = pod_problem([pod(conditions=[unscheduled("x" * 5000)])])
        assert problem
        assert len(problem.message) < 700

    def test_logs_of_the_container_are_never_quoted(self) -> None:
        # With terminationMessagePolicy FallbackToLogsOnError they would be in the message.
        state = crashed(1, "Error")
        state["lastState"]["terminated"]["message"] = "password=hunter2"
        problem = pod_problem([pod(check=PASSED, server=state)])
        assert problem
        assert "hunter2" not in problem.message

    def test_without_pods_there_is_none(self) -> None:
        assert pod_problem([]) is None

    def test_a_pod_without_status_has_none(self) -> None:
        bare = pod()
        del bare["status"]
        assert pod_problem([bare]) is None
        assert check_result([bare], "3.17.2") is None


def test_pods_of_the_same_second_have_an_order() -> None:
    pods = [pod(name=name) for name in ("b", "a", "c")]
    assert newest_first(pods) == newest_first(list(reversed(pods)))


class TestOnTheirWayOut:
    def test_is_who_still_finishes_requests(self) -> None:
        assert has_pods_on_their_way_out([pod(), leaving("Running")])

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Pending"])
    def test_is_nobody_whose_containers_do_not_run(self, phase: str) -> None:
        assert not has_pods_on_their_way_out([pod(), leaving(phase)])

    def test_are_no_pods_of_jobs(self) -> None:
        of_a_job = leaving("Running")
        of_a_job["metadata"]["labels"] = of_a_job["metadata"]["labels"] | {COMPONENT_LABEL: "migration"}
        assert not has_pods_on_their_way_out([of_a_job])


def leaving(phase: str) -> Manifest:
    gone = pod(name="old")
    metadata = gone["metadata"] | {"deletionTimestamp": "2026-01-01T10:01:00Z"}
    return gone | {"metadata": metadata, "status": gone["status"] | {"phase": phase}}
