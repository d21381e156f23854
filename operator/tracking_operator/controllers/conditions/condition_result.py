"""What a step of the control loop found out, and how condition results add up to conditions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tracking_operator.api.conditions import ConditionType, Reason, WantedCondition
from tracking_operator.failures import Failure
from tracking_operator.outcomes import OUTCOMES, Blamed


class Verdict(Enum):
    """How things stand in one respect."""

    OK = auto()
    AT_REST = auto()
    """Not serving, because its owner wants it so."""
    WORKING = auto()
    """On the way; nobody needs to do anything."""
    FAILING = auto()
    """Something is wrong that may pass by itself; the operator goes on trying."""
    BLOCKED = auto()
    """Something is wrong that a person must change."""


PROBLEMS = (Verdict.FAILING, Verdict.BLOCKED)
SEVERITY = (Verdict.BLOCKED, Verdict.FAILING, Verdict.AT_REST, Verdict.WORKING)
"""From what needs a person most to what needs one least."""


def verdict_on(reason: Reason) -> Verdict:
    """How things stand while a reason keeps a condition from being true."""
    outcome = OUTCOMES[reason]
    if not outcome.passes:
        return Verdict.BLOCKED
    return Verdict.WORKING if outcome.blames is Blamed.NOBODY else Verdict.FAILING


@dataclass(frozen=True)
class ConditionResult:
    """How one condition stands."""

    type: ConditionType
    verdict: Verdict
    reason: Reason
    message: str
    look_again_after: float | None = None
    """In how many seconds the work goes on that it tells of, if that is known better than by whoever waits for it."""

    @property
    def is_problem(self) -> bool:
        """Whether a person should hear of it."""
        return self.verdict in PROBLEMS

    def as_condition(self) -> WantedCondition:
        """The condition without its history."""
        return WantedCondition(self.type, self.verdict is Verdict.OK, self.reason, self.message)


def result_from(failure: Failure, type_: ConditionType) -> ConditionResult:
    """Turn what stopped a step into what its condition says."""
    return problem(type_, failure.reason, failure.message)


def problem(type_: ConditionType, reason: Reason, message: str) -> ConditionResult:
    """The condition result of what keeps a condition from being true."""
    return ConditionResult(type_, verdict_on(reason), reason, message)


def not_looked_at(type_: ConditionType, waits_for: str) -> ConditionResult:
    """The condition result of a step that waits for another one."""
    return ConditionResult(type_, Verdict.WORKING, Reason.PENDING, f"Waits for {waits_for}.")


def summarise(
    condition_results: Sequence[ConditionResult], ready_message: str, *, answers: bool = False
) -> list[WantedCondition]:
    """Add Ready, the summary, and kstatus's Reconciling and Stalled to the single conditions.

    ``answers`` tells whether requests are answered: then Ready stays true while the operator works, and Reconciling alone says
    at what.
    """
    decisive = most_pressing(condition_results)
    if decisive is None:
        return [
            WantedCondition(ConditionType.READY, True, Reason.AS_EXPECTED, ready_message),
            *_conditions(condition_results),
        ]
    is_working = decisive.verdict is Verdict.WORKING
    return [
        _summary_of(decisive, ready_message) if is_working and answers else _not_ready(decisive),
        *_conditions(condition_results),
        WantedCondition(
            ConditionType.RECONCILING,
            is_working or decisive.verdict is Verdict.FAILING,
            decisive.reason,
            f"{decisive.type} is not true yet, and says why. The operator goes on by itself.",
        ),
        WantedCondition(
            ConditionType.STALLED,
            decisive.verdict is Verdict.BLOCKED,
            decisive.reason,
            f"{decisive.type} is not true, and says what somebody has to change.",
        ),
    ]


def _summary_of(work: ConditionResult, ready_message: str) -> WantedCondition:
    """Ready of what serves while something is under way."""
    return WantedCondition(ConditionType.READY, True, work.reason, f"{ready_message} {work.message}")


def _not_ready(decisive: ConditionResult) -> WantedCondition:
    return WantedCondition(ConditionType.READY, False, decisive.reason, decisive.message)


def most_pressing(condition_results: Iterable[ConditionResult]) -> ConditionResult | None:
    """The condition result that the summary quotes: the first of the most severe kind; None when all is well.

    One that only waits for another says less than the other.
    """
    concerns = [
        condition_result
        for condition_result in condition_results
        if condition_result.verdict is not Verdict.OK
    ]
    return min(
        concerns,
        key=lambda condition_result: (
            SEVERITY.index(condition_result.verdict),
            condition_result.reason is Reason.PENDING,
        ),
        default=None,
    )


def _conditions(condition_results: Sequence[ConditionResult]) -> list[WantedCondition]:
    return [condition_result.as_condition() for condition_result in condition_results]
