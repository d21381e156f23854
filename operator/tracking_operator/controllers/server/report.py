"""What one reconcile, or one of its steps, found out, and when to look again."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    most_pressing,
)
from tracking_operator.controllers.conditions.step_result import StepResult, stopped, stopped_unwatched
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.children.ownership import (
    condition_of,
    conflict_result,
    leaving_result,
)
from tracking_operator.controllers.server.children.volumes import is_refused_growth
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure
from tracking_operator.kube.apply import AppliedSet, Unsettled
from tracking_operator.kube.errors import failure_from
from tracking_operator.kube.objects import KubeObject, describe, name_of
from tracking_operator.resources.server_model import ServerModel

Found = TypeVar("Found")

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """What was found out so far, and when to look again."""

    condition_results: list[ConditionResult] = field(default_factory=list)
    requeue_after: float | None = None
    failed: bool = False
    remarks: dict[ConditionType, ConditionResult] = field(default_factory=dict)
    """What is worth knowing about a condition that holds nevertheless."""
    hints: dict[ConditionType, str] = field(default_factory=dict)
    """What is worth knowing about one that does not."""

    def take(self, result: StepResult[Found]) -> Found:
        """Take in what a step answers; return what it found."""
        self.add_all(result.condition_results)
        self.look_again(result.requeue_after)
        self.failed = self.failed or result.failed
        self.remarks.update(result.remarks)
        self.hints.update(result.hints)
        return result.found

    def as_result(self, found: Found) -> StepResult[Found]:
        """What a step answers that has several things to say."""
        return StepResult(
            found,
            tuple(self.condition_results),
            self.requeue_after,
            self.failed,
            dict(self.remarks),
            dict(self.hints),
        )

    def _hinted(self, result: ConditionResult) -> ConditionResult:
        hint = self.hints.get(result.type)
        return replace(result, message=f"{result.message} {hint}") if hint and result.is_problem else result

    def look_again(self, seconds: float | None) -> None:
        """Look again after so many seconds, if nobody wants that earlier; None: when something changes."""
        wishes = [one for one in (seconds, self.requeue_after) if one is not None]
        self.requeue_after = min(wishes, default=None)

    def add(self, condition_result: ConditionResult) -> None:
        """Take in a condition result; of two about the same condition the more pressing one speaks first."""
        for index, known in enumerate(self.condition_results):
            if known.type == condition_result.type:
                first = most_pressing((known, condition_result)) or known
                second = condition_result if first is known else known
                self.condition_results[index] = replace(first, message=f"{first.message} {second.message}")
                return
        self.condition_results.append(condition_result)

    def add_all(self, condition_results: Iterable[ConditionResult]) -> None:
        """Take in condition results, one after the other."""
        for condition_result in condition_results:
            self.add(condition_result)

    def add_failure(self, failure: Failure, type_: ConditionType) -> None:
        """Take in what stopped a step."""
        self.take(stopped(failure, type_))

    def add_missing(self, condition_results: Iterable[ConditionResult]) -> None:
        """Take in condition results about conditions that no earlier step has spoken of."""
        spoken_of = {condition_result.type for condition_result in self.condition_results}
        self.condition_results += [
            self._remarked(condition_result)
            for condition_result in condition_results
            if condition_result.type not in spoken_of
        ]

    def _remarked(self, condition_result: ConditionResult) -> ConditionResult:
        remark = self.remarks.get(condition_result.type)
        is_well = condition_result.verdict is Verdict.OK
        if condition_result.reason is Reason.ROTATING_CREDENTIALS:
            return condition_result  # it passes, and others wait for its end
        return remark if remark and is_well else self._hinted(condition_result)

    def add_applied(self, applied: AppliedSet, server: ServerModel) -> None:
        """Take in what could not be applied."""
        for live in applied.conflicts:
            self.add(conflict_result(live, server))
            self.look_again(UNWATCHED_RETRY_SECONDS)
        for live in applied.leaving:
            self.add(leaving_result(live))
        for obj, error in applied.failures:
            if is_refused_growth(obj, error):
                type_ = condition_of(obj, server)
                self.remarks[type_] = _stays_as_it_is(obj, type_)
                continue
            self.add_failure(failure_from(error, f"write {describe(obj)}"), condition_of(obj, server))
        for contested in applied.contested:
            type_ = condition_of(contested.obj, server)
            self.remarks[type_] = _is_left_to_others(contested, type_)
            self.hints[type_] = self.remarks[type_].message  # what they changed may be why it does not work
        for unsettled in applied.unsettled:
            logger.warning(
                "%s is changed back right after every write (%s).",
                describe(unsettled.obj),
                unsettled.difference,
            )
            self.failed = True

    def add_failures_of_tools(self, failures: Iterable[Failure]) -> None:
        """Take in why pods would not get their programs; no watch tells of what somebody else has put in their place."""
        for failure in failures:
            self.take(stopped_unwatched(failure, ConditionType.WORKLOAD_READY))

    def outcome(self) -> Outcome:
        """When the work queue should hand the server out again."""
        pressing = most_pressing(self.condition_results)
        return Outcome(
            requeue_after=self.requeue_after,
            failed=self.failed,
            reason=pressing.reason.value if pressing and pressing.is_problem else "",
        )


def _is_left_to_others(contested: Unsettled, type_: ConditionType) -> ConditionResult:
    return ConditionResult(
        type_,
        Verdict.OK,
        Reason.CHANGED_BY_OTHERS,
        f"{describe(contested.obj)} is changed right after every write, as by an admission policy of the cluster "
        f"({contested.difference}). It is left like that until something changes: ask for what that policy makes, for example "
        "in spec.resources or spec.podTemplate, or have the policy leave this object out.",
    )


def _stays_as_it_is(claim: KubeObject, type_: ConditionType) -> ConditionResult:
    name, wanted = name_of(claim), claim["spec"]["resources"]["requests"]["storage"]
    return ConditionResult(
        type_,
        Verdict.OK,
        Reason.VOLUME_CANNOT_GROW,
        f"Volume claim {name} keeps its size instead of growing to {wanted}, because its StorageClass cannot expand "
        "volumes: ask the platform team to allow that, or have the data moved to a larger volume.",
    )
