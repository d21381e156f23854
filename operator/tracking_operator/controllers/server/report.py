"""What one reconcile found out, step by step, and when to look again."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.results import Finding, Verdict, finding_from, most_pressing
from tracking_operator.controllers.request import UNWATCHED_RETRY_SECONDS, Outcome
from tracking_operator.controllers.server.children.ownership import (
    condition_of,
    conflict_finding,
    leaving_finding,
)
from tracking_operator.controllers.server.children.volumes import is_refused_growth
from tracking_operator.failures import Failure, Invalid, Waiting
from tracking_operator.kube.apply import AppliedSet
from tracking_operator.kube.errors import failure_from
from tracking_operator.kube.objects import KubeObject, describe, name_of
from tracking_operator.resources.server import ServerModel

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """What the steps of one reconcile found out, and when to look again."""

    findings: list[Finding] = field(default_factory=list)
    retry_after: list[float] = field(default_factory=list)
    failed: bool = False
    remarks: dict[ConditionType, Finding] = field(default_factory=dict)
    """What is worth knowing about a condition that holds nevertheless."""

    def add(self, finding: Finding) -> None:
        """Take in a finding; of two about the same condition the more pressing one speaks first."""
        for index, known in enumerate(self.findings):
            if known.type == finding.type:
                first = most_pressing((known, finding)) or known
                second = finding if first is known else known
                self.findings[index] = replace(first, message=f"{first.message} {second.message}")
                return
        self.findings.append(finding)

    def add_all(self, findings: Iterable[Finding]) -> None:
        """Take in findings, one after the other."""
        for finding in findings:
            self.add(finding)

    def add_failure(self, failure: Failure, type_: ConditionType) -> None:
        """Take in what stopped a step."""
        self.add(finding_from(failure, type_))
        if isinstance(failure, Waiting) and failure.retry_after is not None:
            self.retry_after.append(failure.retry_after)
        elif not isinstance(failure, Invalid):
            self.failed = True

    def add_unwatched(self, failure: Failure, type_: ConditionType) -> None:
        """Take in what stopped a step, and what somebody may put right without our being told."""
        self.add_failure(failure, type_)
        self.retry_after.append(UNWATCHED_RETRY_SECONDS)

    def add_missing(self, findings: Iterable[Finding]) -> None:
        """Take in findings about conditions that no earlier step has spoken of."""
        spoken_of = {finding.type for finding in self.findings}
        self.findings += [self._remarked(finding) for finding in findings if finding.type not in spoken_of]

    def _remarked(self, finding: Finding) -> Finding:
        remark = self.remarks.get(finding.type)
        return remark if remark and finding.verdict is Verdict.OK else finding

    def add_applied(self, applied: AppliedSet, server: ServerModel) -> None:
        """Take in what could not be applied."""
        for live in applied.conflicts:
            self.add(conflict_finding(live, server))
            self.retry_after.append(UNWATCHED_RETRY_SECONDS)
        for live in applied.leaving:
            self.add(leaving_finding(live))
        for obj, error in applied.failures:
            if is_refused_growth(obj, error):
                type_ = condition_of(obj, server)
                self.remarks[type_] = _stays_as_it_is(obj, type_)
                continue
            self.add_failure(failure_from(error, f"write {describe(obj)}"), condition_of(obj, server))
        for unsettled in applied.unsettled:
            logger.warning(
                "%s is changed back right after every write (%s).",
                describe(unsettled.obj),
                unsettled.difference,
            )
            self.failed = True

    def outcome(self) -> Outcome:
        """When the work queue should hand the server out again."""
        pressing = most_pressing(self.findings)
        return Outcome(
            retry_after=min(self.retry_after, default=None),
            failed=self.failed,
            reason=pressing.reason.value if pressing and pressing.is_problem else "",
        )


def _stays_as_it_is(claim: KubeObject, type_: ConditionType) -> Finding:
    name, wanted = name_of(claim), claim["spec"]["resources"]["requests"]["storage"]
    return Finding(
        type_,
        Verdict.OK,
        Reason.VOLUME_CANNOT_GROW,
        f"Volume claim {name} keeps its size instead of growing to {wanted}, because its StorageClass cannot expand "
        "volumes: ask the platform team to allow that, or have the data moved to a larger volume.",
    )
