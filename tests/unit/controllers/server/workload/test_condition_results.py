"""From live objects to conditions: what each situation is called."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.controllers.live import (
    INITIALIZING,
    PASSED,
    RUNNING,
    STARTING,
    TRIED_OUT,
    check_failed,
    claim,
    crashed,
    deployment,
    pod,
    said,
    terminated,
    waiting,
)
from tests.unit.examples import EXTERNAL_BUCKET, EXTERNAL_DATABASE, SHARED_VOLUME, Manifest, model
from tracking_operator.api.conditions import Condition, ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, summarise
from tracking_operator.controllers.server.exposure.answer import Exposed, exposed_result
from tracking_operator.controllers.server.workload.condition_results import (
    answers,
    condition_results_of,
    observe,
)
from tracking_operator.mlflow.client import Answer
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.resources.pod.start_time import LONGEST_SECONDS
from tracking_operator.resources.server_address import Address
from tracking_operator.resources.server_model import ServerModel

BACKEND = ConditionType.BACKEND_STORE_READY
ARTIFACTS = ConditionType.ARTIFACT_STORE_READY
SCHEMA = ConditionType.SCHEMA_READY
WORKLOAD = ConditionType.WORKLOAD_READY
EXPOSED = ConditionType.EXPOSED

EXTERNAL: Manifest = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
SHARED: Manifest = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}
VOLUMES = [claim("mlflow-backend-store"), claim("mlflow-artifact-store")]
SERVING = [deployment(), pod(check=PASSED, artifacts=TRIED_OUT, server=RUNNING)]

ANSWERED = Answer(200)

EARLIER = Condition(
    type="SchemaReady",
    status="True",
    last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
    reason="AsExpected",
    message="The backend store is at revision abc.",
)


def condition_results(
    children: list[Manifest],
    spec: Manifest | None = None,
    earlier: Condition | None = None,
    answer: Answer = ANSWERED,
    **changes: object,
) -> dict[ConditionType, ConditionResult]:
    server: ServerModel = replace(model(spec), **changes)  # type: ignore[arg-type]
    observed = replace(observe(children, server), exposed=Exposed(exposed_result(server, answer)))
    return {
        one.type: one
        for one in condition_results_of(server, observed, lambda type_: earlier if type_ is SCHEMA else None)
    }


def verdicts(found: dict[ConditionType, ConditionResult]) -> dict[ConditionType, tuple[Verdict, Reason]]:
    return {
        type_: (condition_result.verdict, condition_result.reason)
        for type_, condition_result in found.items()
    }


def test_a_server_that_serves_is_well_in_every_respect() -> None:
    assert verdicts(condition_results([*VOLUMES, *SERVING])) == {
        BACKEND: (Verdict.OK, Reason.AS_EXPECTED),
        ARTIFACTS: (Verdict.OK, Reason.AS_EXPECTED),
        SCHEMA: (Verdict.OK, Reason.AS_EXPECTED),
        WORKLOAD: (Verdict.OK, Reason.WORKLOAD_AVAILABLE),
        EXPOSED: (Verdict.OK, Reason.REACHABLE_IN_CLUSTER),
    }


def test_a_server_with_external_stores_that_serves_is_well_too() -> None:
    found = condition_results(SERVING, EXTERNAL)
    assert {condition_result.verdict for condition_result in found.values()} == {Verdict.OK}


class TestExternalArtifacts:
    @pytest.mark.parametrize(
        ("reason", "verdict"),
        [
            ("StoreUnreachable", Verdict.FAILING),
            ("AccessDenied", Verdict.FAILING),
            ("LoginRefused", Verdict.FAILING),
            ("BucketNotFound", Verdict.FAILING),
            ("IdentityPending", Verdict.WORKING),
            ("BucketElsewhere", Verdict.BLOCKED),
            ("UnsupportedUri", Verdict.BLOCKED),
        ],
    )
    def test_that_a_pod_could_not_use_are_reported_in_its_words(self, reason: str, verdict: Verdict) -> None:
        failed = {"state": terminated(EXIT_CODES[reason], "Error", said(reason, "This is why."))}
        failing = pod(check=PASSED, artifacts=failed, server=INITIALIZING)
        found = condition_results([deployment(available=0), failing], EXTERNAL)
        artifacts = found[ConditionType.ARTIFACT_STORE_READY]
        assert (artifacts.verdict, artifacts.reason.value) == (verdict, reason)
        assert artifacts.message == "This is why."
        assert found[WORKLOAD].reason is Reason.PENDING

    def test_that_work_with_a_reservation_say_so(self) -> None:
        passed = {"state": terminated(0, "Completed", said("AccessDenied", "Deleting was denied."))}
        found = condition_results(
            [deployment(), pod(check=PASSED, artifacts=passed, server=RUNNING)], EXTERNAL
        )
        artifacts = found[ConditionType.ARTIFACT_STORE_READY]
        assert (artifacts.verdict, artifacts.reason) == (Verdict.OK, Reason.ACCESS_DENIED)
        assert artifacts.message == "Artifacts are under s3://bucket/team-a. Deleting was denied."

    def test_that_nobody_has_tried_yet_are_waited_for(self) -> None:
        found = condition_results([deployment(available=0), pod()], EXTERNAL)
        assert found[ConditionType.ARTIFACT_STORE_READY].verdict is Verdict.WORKING


@pytest.mark.parametrize("spec", [None, EXTERNAL])
def test_a_server_of_which_nothing_exists_yet_is_on_its_way(spec: Manifest | None) -> None:
    found = condition_results([], spec)
    assert {condition_result.verdict for condition_result in found.values()} <= {Verdict.WORKING, Verdict.OK}
    assert found[WORKLOAD].verdict is Verdict.WORKING


class TestVolumes:
    def test_that_are_not_bound_yet_are_waited_for(self) -> None:
        found = condition_results([claim(phase="Pending"), deployment(available=0), pod()])
        assert found[BACKEND].reason is Reason.VOLUME_PENDING
        assert found[BACKEND].verdict is Verdict.WORKING
        assert found[BACKEND].message == "Volume claim mlflow-backend-store is not bound yet."

    def test_that_are_lost_need_a_person(self) -> None:
        found = condition_results([claim(phase="Lost"), *SERVING])
        assert verdicts(found)[BACKEND] == (Verdict.BLOCKED, Reason.VOLUME_LOST)

    def test_of_a_sleeping_server_are_bound_later(self) -> None:
        found = condition_results([claim(phase="Pending"), deployment(replicas=0)], replicas=0)
        assert "when the first pod needs it" in found[BACKEND].message


class TestCheck:
    @pytest.mark.parametrize(
        ("reason", "type_", "verdict"),
        [
            ("StoreUnreachable", BACKEND, Verdict.FAILING),
            ("LoginRefused", BACKEND, Verdict.FAILING),
            ("TlsFailed", BACKEND, Verdict.FAILING),
            ("Busy", BACKEND, Verdict.WORKING),
            ("UnsupportedUri", BACKEND, Verdict.BLOCKED),
            ("VolumeFull", BACKEND, Verdict.BLOCKED),
            ("SchemaMissing", SCHEMA, Verdict.WORKING),
            ("SchemaBehind", SCHEMA, Verdict.WORKING),
            ("SchemaTooNew", SCHEMA, Verdict.BLOCKED),
            ("ImageVersionMismatch", SCHEMA, Verdict.BLOCKED),
            ("MigrationFailed", SCHEMA, Verdict.BLOCKED),
        ],
    )
    def test_that_failed_ends_up_in_the_condition_it_is_about(
        self, reason: str, type_: ConditionType, verdict: Verdict
    ) -> None:
        failing = pod(
            check=check_failed(EXIT_CODES[reason], said(reason, "This is why.")), server=INITIALIZING
        )
        found = condition_results([*VOLUMES, deployment(available=0), failing], EXTERNAL)
        assert (found[type_].verdict, found[type_].reason, found[type_].message) == (
            verdict,
            reason,
            "This is why.",
        )
        others = [
            condition_result for condition_result in found.values() if condition_result.type is not type_
        ]
        assert not any(condition_result.is_problem for condition_result in others)

    def test_of_a_rolling_upgrade_is_the_one_of_the_new_version(self) -> None:
        old = pod(name="old", version="3.16.1", check=PASSED, server=RUNNING)
        new = pod(name="new", check=check_failed(23, said("SchemaBehind", "Upgrade it.")))
        found = condition_results([deployment(replicas=2, updated=1, available=1), old, new], EXTERNAL)
        assert found[SCHEMA].reason is Reason.SCHEMA_BEHIND


class TestSleep:
    def test_is_neither_a_problem_nor_work(self) -> None:
        found = condition_results([*VOLUMES, deployment(replicas=0)], earlier=EARLIER, replicas=0)
        assert verdicts(found)[WORKLOAD] == (Verdict.AT_REST, Reason.SUSPENDED)
        assert verdicts(found)[SCHEMA] == (Verdict.OK, Reason.AS_EXPECTED)
        assert not any(condition_result.is_problem for condition_result in found.values())
        assert next(iter(summarise(list(found.values()), ""))).reason is Reason.SUSPENDED

    def test_says_while_pods_are_still_stopping(self) -> None:
        found = condition_results([*VOLUMES, deployment(replicas=1), pod(deleted=True)], replicas=0)
        assert "1 pods are still stopping" in found[WORKLOAD].message

    def test_of_a_server_that_never_ran_leaves_the_schema_unknown(self) -> None:
        found = condition_results([deployment(replicas=0)], EXTERNAL, replicas=0)
        assert found[SCHEMA].verdict is Verdict.WORKING


def condition(type_: ConditionType, *, is_true: bool = True) -> Condition:
    return Condition(
        type=type_.value,
        status="True" if is_true else "False",
        last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
        reason="AsExpected",
        message="As before.",
    )


ROLLING = [deployment(replicas=2, updated=1, available=1), pod(check=PASSED, server=RUNNING)]
READY = condition(ConditionType.READY)
WAS_EXPOSED = condition(EXPOSED)


class TestAnswers:
    """What serves stays Ready; see also the tests of the summary."""

    def answers(
        self, exposed: Exposed | None, ready: Condition | None = READY, children: list[Manifest] = ROLLING
    ) -> bool:
        server = replace(model(EXTERNAL), replicas=2)
        return answers(server, replace(observe(children, server), exposed=exposed), WAS_EXPOSED, ready)

    def said(self, status: int | None) -> Exposed:
        return Exposed(exposed_result(model(EXTERNAL), Answer(status, "" if status == 200 else "why")))

    def test_a_server_whose_pods_are_replaced_while_it_answers(self) -> None:
        assert self.answers(self.said(200))
        assert self.answers(None)
        assert self.answers(self.said(200), ready=None)

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_one_that_was_ready_whose_new_pods_have_another_address_or_login(self, status: int) -> None:
        assert self.answers(self.said(status))
        assert not self.answers(self.said(status), ready=None)
        assert not self.answers(self.said(status), condition(ConditionType.READY, is_true=False))

    def test_not_one_that_answers_with_errors_or_not_at_all(self) -> None:
        assert not self.answers(self.said(500))
        assert not self.answers(self.said(None))

    def test_one_that_does_not_answer_for_a_moment(self) -> None:
        assert self.answers(replace(self.said(None), is_blip=True))

    def test_not_one_without_a_pod_that_serves(self) -> None:
        assert not self.answers(self.said(200), children=[deployment(replicas=2, available=0)])


class TestRollout:
    @pytest.mark.parametrize(
        "counts",
        [
            {"replicas": 3, "updated": 2, "available": 3},
            {"replicas": 4, "updated": 3, "available": 4},
            {"replicas": 3, "available": 2},
            {"replicas": 2},
            {"replicas": 3, "observedGeneration": 1},
        ],
    )
    def test_is_under_way_until_exactly_the_wanted_pods_serve(self, counts: dict[str, int]) -> None:
        found = condition_results([deployment(**counts)], EXTERNAL, replicas=3)
        assert verdicts(found)[WORKLOAD] == (Verdict.WORKING, Reason.ROLLOUT_IN_PROGRESS)

    def test_says_how_far_it_is(self) -> None:
        found = condition_results([deployment(replicas=3, available=2)], EXTERNAL, replicas=3)
        assert found[WORKLOAD].message == "2 of 3 pods serve MLflow 3.18.0 so far."

    def test_with_a_pod_that_serves_leaves_clients_connected(self) -> None:
        children = [deployment(replicas=3, available=2), pod(check=PASSED, server=RUNNING)]
        assert condition_results(children, EXTERNAL, replicas=3)[EXPOSED].verdict is Verdict.OK

    def test_may_leave_the_address_without_an_answer_for_a_while(self) -> None:
        children = [deployment(replicas=3, available=2), pod(check=PASSED, server=RUNNING)]
        found = condition_results(children, EXTERNAL, replicas=3, answer=Answer(404, "Not Found"))
        assert verdicts(found)[EXPOSED] == (Verdict.WORKING, Reason.PATH_NOT_FOUND)

    def test_to_another_path_is_under_way_until_the_old_pods_have_ended(self) -> None:
        moving = replace(model(EXTERNAL).access, next_address=Address(path="/elsewhere"))
        ending = pod(name="old", check=PASSED, server=RUNNING, deleted=True)
        children = [deployment(), pod(check=PASSED, server=RUNNING), ending]
        found = condition_results(children, EXTERNAL, answer=Answer(404, "Not Found"), access=moving)
        assert verdicts(found)[EXPOSED] == (Verdict.WORKING, Reason.PATH_NOT_FOUND)

    def test_to_another_host_is_under_way_until_the_new_one_is_in_use(self) -> None:
        moving = replace(model(EXTERNAL).access, next_address=Address(host="new.example.com"))
        ending = pod(name="old", check=PASSED, server=RUNNING, deleted=True)
        children = [deployment(), pod(check=PASSED, server=RUNNING), ending]
        found = condition_results(children, EXTERNAL, access=moving)
        assert verdicts(found)[WORKLOAD] == (Verdict.WORKING, Reason.ROLLOUT_IN_PROGRESS)
        assert verdicts(found)[EXPOSED][0] is Verdict.OK
        there = condition_results(children, EXTERNAL, access=replace(moving, next_address=None))
        assert verdicts(there)[WORKLOAD] == (Verdict.OK, Reason.WORKLOAD_AVAILABLE)

    def test_without_a_pod_that_serves_leaves_nobody_connected(self) -> None:
        found = condition_results([*VOLUMES, deployment(available=0), pod(check=PASSED, server=STARTING)])
        assert found[EXPOSED].verdict is Verdict.WORKING

    @pytest.mark.parametrize("exit_code", [137, 143])
    def test_that_is_ended_before_it_answers_names_a_small_cpu_limit(self, exit_code: int) -> None:
        small = {"resources": {"limits": {"cpu": "10m"}}}

        def crash(after_seconds: int) -> list[Manifest]:
            container = crashed(exit_code, "Error", after_seconds)
            return [*VOLUMES, deployment(available=0), pod(check=PASSED, server=container)]

        pods = crash(LONGEST_SECONDS)
        found = condition_results(pods, small)[WORKLOAD]
        assert (found.verdict, found.reason) == (Verdict.BLOCKED, Reason.CPU_LIMIT_TOO_LOW)
        assert "spec.resources.limits.cpu 10m" in found.message
        assert verdicts(condition_results(pods))[WORKLOAD] == (Verdict.BLOCKED, Reason.CRASH_LOOPING)
        for seconds in (20, 3 * LONGEST_SECONDS):
            assert condition_results(crash(seconds), small)[WORKLOAD].reason is Reason.CRASH_LOOPING

    def test_with_a_small_cpu_limit_says_how_long_it_may_take(self) -> None:
        found = condition_results(
            [*VOLUMES, deployment(available=0), pod(check=PASSED, server=STARTING)],
            {"resources": {"limits": {"cpu": "50m"}}},
        )
        assert found[WORKLOAD].reason is Reason.ROLLOUT_IN_PROGRESS
        assert found[WORKLOAD].message.endswith(
            "With spec.resources.limits.cpu 50m a start may take 15 minutes."
        )

    def test_that_hangs_at_an_image_may_go_on_by_itself(self) -> None:
        stuck = pod(check={"state": waiting("ImagePullBackOff", "Back-off pulling image")})
        found = condition_results([*VOLUMES, deployment(available=0), stuck])
        assert verdicts(found)[WORKLOAD] == (Verdict.FAILING, Reason.IMAGE_PULL_FAILED)

    def test_that_hangs_at_a_crash_needs_a_person(self) -> None:
        found = condition_results(
            [*VOLUMES, deployment(available=0), pod(check=PASSED, server=crashed(0, "Completed"))]
        )
        assert verdicts(found)[WORKLOAD] == (Verdict.BLOCKED, Reason.CRASH_LOOPING)

    @pytest.mark.parametrize(
        ("message", "reason", "remedy"),
        [
            (
                "exceeded quota: compute, requested: memory=640Mi, used: memory=2Gi",
                Reason.QUOTA_EXCEEDED,
                "spec.resources",
            ),
            (
                "failed quota: compute: must specify limits.ephemeral-storage",
                Reason.QUOTA_EXCEEDED,
                "spec.resources",
            ),
            (
                'violates PodSecurity "restricted:latest": seccompProfile',
                Reason.POD_REFUSED,
                "spec.podTemplate",
            ),
            ("no PriorityClass with name high was found", Reason.POD_REFUSED, "spec.podTemplate"),
        ],
    )
    def test_that_the_api_server_refuses_quotes_its_sentence(
        self, message: str, reason: Reason, remedy: str
    ) -> None:
        said = f'pods "mlflow-1" is forbidden: {message}'
        refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
        found = condition_results([*VOLUMES, deployment(replicas=0, available=0, conditions=[refused])])
        assert verdicts(found)[WORKLOAD] == (Verdict.FAILING, reason)
        assert message in found[WORKLOAD].message
        assert remedy in found[WORKLOAD].message
        assert "mlflow-1" not in found[WORKLOAD].message  # each attempt has a name of its own

    @pytest.mark.parametrize(
        ("replicas", "rollout", "helps"), [(2, "Surge", True), (1, "Surge", False), (2, "StopFirst", False)]
    )
    def test_that_has_no_room_for_one_more_pod_names_the_other_strategy(
        self, replicas: int, rollout: str, helps: bool
    ) -> None:
        words = 'pods "mlflow-1" is forbidden: exceeded quota: compute'
        refused = {"type": "ReplicaFailure", "status": "True", "message": words}
        spec = SHARED | {"replicas": 2, "podTemplate": {"rollout": {"strategy": rollout}}}
        live = deployment(replicas=replicas, updated=0, available=replicas, conditions=[refused])
        found = condition_results([*VOLUMES, live], spec)
        assert found[WORKLOAD].reason is Reason.QUOTA_EXCEEDED
        assert ("StopFirst" in found[WORKLOAD].message) is helps

    def test_is_not_refused_any_more_once_it_was_let_in(self) -> None:
        past = {"type": "ReplicaFailure", "status": "False", "message": "exceeded quota"}
        found = condition_results([*VOLUMES, deployment(available=0, conditions=[past])])
        assert found[WORKLOAD].reason is Reason.ROLLOUT_IN_PROGRESS


def test_a_claim_that_is_to_grow_says_so_before_it_is_bound() -> None:
    small = claim("mlflow-backend-store", "Pending") | {
        "spec": {"resources": {"requests": {"storage": "1Gi"}}}
    }
    spec: Manifest = {"backendStore": {"sqlite": {"size": "2Gi"}}}
    found = condition_results([small, claim("mlflow-artifact-store"), deployment(available=0)], spec)
    assert verdicts(found)[BACKEND] == (Verdict.WORKING, Reason.VOLUME_PENDING)
    assert "It keeps 1Gi until then, and grows to 2Gi after that." in found[BACKEND].message


def test_a_claim_that_nobody_provides_needs_a_person() -> None:
    server, pending = model({}), claim("mlflow-backend-store", "Pending")
    observed = replace(
        observe([pending], server), pending_volumes={"mlflow-backend-store": "Nobody provides it."}
    )
    found = {one.type: one for one in condition_results_of(server, observed, lambda _: None)}
    assert verdicts(found)[BACKEND] == (Verdict.BLOCKED, Reason.VOLUME_PENDING)
    assert found[BACKEND].message == "Nobody provides it."
