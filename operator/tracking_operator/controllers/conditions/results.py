"""What a step of the control loop found out, and how findings add up to conditions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tracking_operator.api.conditions import ConditionType, Reason, WantedCondition
from tracking_operator.failures import Failure, Invalid, Waiting


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


PASSES_BY_ITSELF = (Reason.NAMESPACE_TERMINATING, Reason.BUSY, Reason.PENDING)
"""Reasons to wait that nobody has to hear of."""


@dataclass(frozen=True)
class Finding:
    """How one condition stands."""

    type: ConditionType
    verdict: Verdict
    reason: Reason
    message: str

    @property
    def is_problem(self) -> bool:
        """Whether a person should hear of it."""
        return self.verdict in PROBLEMS

    def as_condition(self) -> WantedCondition:
        """The condition without its history."""
        return WantedCondition(self.type, self.verdict is Verdict.OK, self.reason, self.message)


def finding_from(failure: Failure, type_: ConditionType) -> Finding:
    """Turn what stopped a step into what its condition says."""
    if isinstance(failure, Invalid):
        verdict = Verdict.BLOCKED
    elif isinstance(failure, Waiting) and failure.reason in PASSES_BY_ITSELF:
        verdict = Verdict.WORKING
    else:
        verdict = Verdict.FAILING
    return Finding(type_, verdict, failure.reason, failure.message)


def not_looked_at(type_: ConditionType, waits_for: str) -> Finding:
    """The finding of a step that waits for another one."""
    return Finding(type_, Verdict.WORKING, Reason.PENDING, f"Waits for {waits_for}.")


def summarise(findings: Sequence[Finding], ready_message: str) -> list[WantedCondition]:
    """Add Ready, the summary, and kstatus's Reconciling and Stalled to the single conditions."""
    decisive = most_pressing(findings)
    if decisive is None:
        return [
            WantedCondition(ConditionType.READY, True, Reason.AS_EXPECTED, ready_message),
            *_conditions(findings),
        ]
    stalled = decisive.verdict is Verdict.BLOCKED
    reconciling = decisive.verdict in (Verdict.WORKING, Verdict.FAILING)
    reason, message = decisive.reason, decisive.message
    return [
        WantedCondition(ConditionType.READY, False, reason, message),
        *_conditions(findings),
        WantedCondition(ConditionType.RECONCILING, reconciling, reason, message),
        WantedCondition(ConditionType.STALLED, stalled, reason, message),
    ]


def most_pressing(findings: Iterable[Finding]) -> Finding | None:
    """The finding that the summary quotes: the first of the most severe kind; None when all is well.

    One that only waits for another says less than the other.
    """
    concerns = [finding for finding in findings if finding.verdict is not Verdict.OK]
    return min(
        concerns,
        key=lambda finding: (SEVERITY.index(finding.verdict), finding.reason is Reason.PENDING),
        default=None,
    )


def _conditions(findings: Sequence[Finding]) -> list[WantedCondition]:
    return [finding.as_condition() for finding in findings]
