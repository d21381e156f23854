"""What one step of a reconcile answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tracking_operator.api.conditions import ConditionType
from tracking_operator.controllers.conditions.condition_result import ConditionResult, result_from
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Invalid, Waiting

Found_co = TypeVar("Found_co", covariant=True)


@dataclass(frozen=True)
class StepResult(Generic[Found_co]):
    """What a step found, what that says about conditions, and when to look again."""

    found: Found_co
    condition_results: tuple[ConditionResult, ...] = ()
    requeue_after: float | None = None
    """In seconds; None: when something changes."""
    failed: bool = False
    """Whether to try again with the growing delay of the work queue."""
    remarks: Mapping[ConditionType, ConditionResult] = field(default_factory=dict)
    """What is worth knowing about a condition that holds nevertheless."""
    hints: Mapping[ConditionType, str] = field(default_factory=dict)
    """What is worth knowing about a condition that later steps may find not to hold."""


def stopped(failure: Failure, type_: ConditionType) -> StepResult[None]:
    """What stopped a step: a person has to act, or it is tried again when the failure says, else with a growing delay."""
    requeue_after = failure.retry_after if isinstance(failure, Waiting) else None
    return StepResult(
        None,
        (result_from(failure, type_),),
        requeue_after=requeue_after,
        failed=requeue_after is None and not isinstance(failure, Invalid),
    )


def stopped_unwatched(failure: Failure, type_: ConditionType) -> StepResult[None]:
    """What stopped a step, and what somebody may put right without our being told."""
    result = stopped(failure, type_)
    requeue_after = min(UNWATCHED_RETRY_SECONDS, result.requeue_after or UNWATCHED_RETRY_SECONDS)
    return StepResult(None, result.condition_results, requeue_after, result.failed)
