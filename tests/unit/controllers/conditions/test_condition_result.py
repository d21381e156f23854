"""How condition results add up: Ready, Reconciling and Stalled."""

from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.conditions import PRESENT_WHILE_TRUE, ConditionType, Reason, WantedCondition
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    most_pressing,
    not_looked_at,
    result_from,
    summarise,
)
from tracking_operator.controllers.server.report import Report
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting

SINGLE_TYPES = [
    ConditionType.SPEC_VALID,
    ConditionType.BACKEND_STORE_READY,
    ConditionType.ARTIFACT_STORE_READY,
    ConditionType.SCHEMA_READY,
    ConditionType.WORKLOAD_READY,
    ConditionType.EXPOSED,
]

verdicts = st.sampled_from(list(Verdict))
reasons = st.sampled_from(list(Reason))
some_results = st.lists(
    st.builds(
        ConditionResult,
        st.sampled_from(SINGLE_TYPES),
        verdicts,
        reasons,
        st.sampled_from(["One.", "Another."]),
    ),
    unique_by=lambda condition_result: condition_result.type,
)


def by_type(condition_results: list[ConditionResult]) -> dict[ConditionType, WantedCondition]:
    return {condition.type: condition for condition in summarise(condition_results, "All is well.")}


class TestSummary:
    @given(some_results)
    def test_is_ready_exactly_when_everything_is_well(self, condition_results: list[ConditionResult]) -> None:
        ready = by_type(condition_results)[ConditionType.READY]
        assert ready.status is all(
            condition_result.verdict is Verdict.OK for condition_result in condition_results
        )

    @given(some_results)
    def test_of_a_server_that_answers_stays_ready_while_nothing_but_work_is_left(
        self, condition_results: list[ConditionResult]
    ) -> None:
        found = {one.type: one for one in summarise(condition_results, "It answers.", answers=True)}
        verdicts_found = {one.verdict for one in condition_results}
        ready, reconciling = found[ConditionType.READY], found.get(ConditionType.RECONCILING)
        assert ready.status is (verdicts_found <= {Verdict.OK, Verdict.WORKING})
        if ready.status:
            assert ready.message.startswith("It answers.")
            assert bool(reconciling and reconciling.status) is (Verdict.WORKING in verdicts_found)

    @given(some_results)
    def test_is_never_both_reconciling_and_stalled(self, condition_results: list[ConditionResult]) -> None:
        found = by_type(condition_results)
        progress = [found.get(type_) for type_ in (ConditionType.RECONCILING, ConditionType.STALLED)]
        assert sum(bool(condition and condition.status) for condition in progress) <= 1

    @given(some_results)
    def test_is_stalled_exactly_when_a_person_has_to_act(
        self, condition_results: list[ConditionResult]
    ) -> None:
        stalled = by_type(condition_results).get(ConditionType.STALLED)
        blocked = any(condition_result.verdict is Verdict.BLOCKED for condition_result in condition_results)
        assert bool(stalled and stalled.status) is blocked

    @given(some_results)
    def test_of_a_server_that_is_ready_has_neither(self, condition_results: list[ConditionResult]) -> None:
        found = by_type(condition_results)
        if found[ConditionType.READY].status:
            assert found.keys().isdisjoint({ConditionType.RECONCILING, ConditionType.STALLED})

    @given(some_results)
    def test_has_every_condition_once(self, condition_results: list[ConditionResult]) -> None:
        types = [condition.type for condition in summarise(condition_results, "")]
        assert len(set(types)) == len(types)
        assert {condition_result.type for condition_result in condition_results} <= set(types)

    @given(some_results)
    def test_quotes_one_of_the_results(self, condition_results: list[ConditionResult]) -> None:
        ready = by_type(condition_results)[ConditionType.READY]
        quotes = {
            (condition_result.reason, condition_result.message) for condition_result in condition_results
        }
        assert ready.status or (ready.reason, ready.message) in quotes

    @given(some_results)
    def test_says_a_sentence_in_the_condition_that_it_is_about_and_in_ready_alone(
        self, condition_results: list[ConditionResult]
    ) -> None:
        for type_, condition in by_type(condition_results).items():
            if type_ in PRESENT_WHILE_TRUE:
                assert condition.message not in {one.message for one in condition_results}
                decisive = most_pressing(condition_results)
                assert decisive
                assert decisive.type.value in condition.message

    def test_quotes_what_a_person_must_change_before_what_passes_by_itself(self) -> None:
        blocked = ConditionResult(ConditionType.EXPOSED, Verdict.BLOCKED, Reason.CONFLICT, "Taken.")
        failing = ConditionResult(ConditionType.SPEC_VALID, Verdict.FAILING, Reason.API_ERROR, "No answer.")
        assert most_pressing([failing, blocked]) == blocked

    def test_quotes_the_cause_before_what_waits_for_it(self) -> None:
        waits = not_looked_at(ConditionType.SCHEMA_READY, "a pod")
        rollout = ConditionResult(
            ConditionType.WORKLOAD_READY, Verdict.WORKING, Reason.ROLLOUT_IN_PROGRESS, "0 of 1."
        )
        assert most_pressing([waits, rollout]) == rollout

    def test_of_a_sleeping_server_says_that_it_sleeps(self) -> None:
        waits = not_looked_at(ConditionType.EXPOSED, "pods that serve")
        sleeps = ConditionResult(ConditionType.WORKLOAD_READY, Verdict.AT_REST, Reason.SUSPENDED, "Asleep.")
        found = by_type([waits, sleeps])
        assert found[ConditionType.READY].reason is Reason.SUSPENDED
        assert not found[ConditionType.RECONCILING].status
        assert not found[ConditionType.STALLED].status


class TestFailures:
    def verdict(self, failure: Failure) -> Verdict:
        return result_from(failure, ConditionType.SPEC_VALID).verdict

    def test_each_kind_has_its_verdict(self) -> None:
        assert self.verdict(Invalid(Reason.NOT_PERMITTED, "No.")) is Verdict.BLOCKED
        assert self.verdict(Unavailable(Reason.API_ERROR, "Later.")) is Verdict.FAILING
        assert self.verdict(Waiting(Reason.SECRET_NOT_FOUND, "Create it.")) is Verdict.FAILING
        assert self.verdict(Waiting(Reason.NAMESPACE_TERMINATING, "Goes.")) is Verdict.WORKING

    def test_an_invalid_specification_is_not_tried_again(self) -> None:
        report = Report()
        report.add_failure(Invalid(Reason.NOT_PERMITTED, "No."), ConditionType.SPEC_VALID)
        assert report.outcome().requeue_after is None
        assert not report.outcome().failed

    def test_the_earliest_of_several_waits_counts(self) -> None:
        report = Report()
        for seconds in (30.0, 15.0):
            failure = Waiting(Reason.SECRET_NOT_FOUND, "Create it.", retry_after=seconds)
            report.add_failure(failure, ConditionType.BACKEND_STORE_READY)
        assert report.outcome().requeue_after == 15.0

    def test_a_system_that_does_not_answer_is_asked_with_growing_delay(self) -> None:
        report = Report()
        report.add_failure(Unavailable(Reason.API_ERROR, "No answer."), ConditionType.WORKLOAD_READY)
        assert report.outcome().failed


class TestReport:
    def test_two_findings_about_one_condition_become_one_with_both_sentences(self) -> None:
        report = Report()
        for name in ("Service", "Deployment"):
            report.add(
                ConditionResult(
                    ConditionType.WORKLOAD_READY, Verdict.BLOCKED, Reason.CONFLICT, f"{name} is taken."
                )
            )
        (condition_result,) = report.condition_results
        assert condition_result.message == "Service is taken. Deployment is taken."

    def test_the_more_pressing_of_two_findings_gives_verdict_and_reason(self) -> None:
        leaving = ConditionResult(ConditionType.WORKLOAD_READY, Verdict.WORKING, Reason.PENDING, "Goes.")
        refused = ConditionResult(
            ConditionType.WORKLOAD_READY, Verdict.BLOCKED, Reason.INVALID_SPEC, "Refused."
        )
        for order in ([leaving, refused], [refused, leaving]):
            report = Report()
            for condition_result in order:
                report.add(condition_result)
            (sum_,) = report.condition_results
            assert (sum_.verdict, sum_.reason) == (Verdict.BLOCKED, Reason.INVALID_SPEC)
            assert sum_.message.startswith("Refused.")

    def test_what_was_said_by_an_earlier_step_stands(self) -> None:
        report = Report()
        report.add(ConditionResult(ConditionType.WORKLOAD_READY, Verdict.BLOCKED, Reason.CONFLICT, "Taken."))
        report.add_missing(
            [
                not_looked_at(ConditionType.WORKLOAD_READY, "pods"),
                not_looked_at(ConditionType.EXPOSED, "pods"),
            ]
        )
        assert [condition_result.reason for condition_result in report.condition_results] == [
            Reason.CONFLICT,
            Reason.PENDING,
        ]
