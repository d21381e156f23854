"""Servers and backups in every state that the operator can report, written by the code that reports in earnest."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Final

from dev.argocd.examples import ASLEEP, COPYING, NO_ANSWER, BackupLife, Life, ServerLife, with_result
from tracking_operator.api.conditions import Condition, ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServerStatus
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    not_looked_at,
    problem,
)
from tracking_operator.kube.objects import KubeObject
from tracking_operator.outcomes import OUTCOMES, Home

SINGLE: Final = [type_ for type_ in ConditionType if type_.value not in ("Ready", "Reconciling", "Stalled")]
LATER: Final = [type_ for type_ in SINGLE if type_ is not ConditionType.SPEC_VALID]


def conditions_of(reason: Reason) -> list[ConditionType]:
    """The conditions that can have a reason."""
    home = OUTCOMES[reason].home
    if home is Home.ANY:
        return SINGLE
    return [type_ for type_ in SINGLE if type_.value in home.value.split(" or ")]


def results() -> Iterator[ConditionResult]:
    """Each reason in each condition that can have it, as it keeps this condition from being true or is a remark about it."""
    for reason in Reason:
        for type_ in conditions_of(reason):
            message = f"{reason.when} {reason.remedy}"
            yield problem(type_, reason, message)
        yield ConditionResult(conditions_of(reason)[0], Verdict.OK, reason, "It is worth knowing.")
    yield ASLEEP
    yield CERTIFICATE_IN_THE_MAKING
    yield ConditionResult(
        ConditionType.BACKEND_STORE_READY, Verdict.BLOCKED, Reason.VOLUME_PENDING, "Nobody provides it."
    )


CERTIFICATE_IN_THE_MAKING = ConditionResult(
    ConditionType.EXPOSED, Verdict.WORKING, Reason.TLS_SECRET_NOT_FOUND, "cert-manager makes it."
)
"""The one reason that stands for both: a script sees the reason only."""
RESULTS = list(results())
ONE_OF_EACH = (
    (Verdict.OK, Reason.UPGRADE_AVAILABLE),
    (Verdict.AT_REST, Reason.SUSPENDED),
    (Verdict.WORKING, Reason.ROLLOUT_IN_PROGRESS),
    (Verdict.FAILING, Reason.API_ERROR),
    (Verdict.BLOCKED, Reason.CONFLICT),
)


class Observed(ServerLife):
    """A server of which only the conditions are written, by the code that writes them in earnest."""

    def creating(self) -> list[ConditionResult]:
        """What is found while there is nothing yet."""
        return [not_looked_at(one.type, "another") if one.type in LATER else one for one in self.well()]

    def _status(self, conditions: tuple[Condition, ...]) -> KubeObject:
        status = TrackingServerStatus(observed_generation=self.generation, conditions=conditions)
        return status.as_kubernetes()


def seen_before(make: Callable[[], Life], type_: ConditionType) -> Iterator[tuple[bool, Life]]:
    """Some that have never been Ready, one that is, and one that a condition keeps from it again; and whether it has been."""
    fall = problem(type_, Reason.API_ERROR, "The API server does not answer.")
    new, fresh, ready, lost = make(), make(), make(), make()
    yield False, new
    fresh.report(with_result(fresh.well(), NO_ANSWER))
    yield False, fresh
    for life in (ready, lost):
        life.report(with_result(life.well(), NO_ANSWER))
        life.report(life.well())
    lost.report(with_result(lost.well(), fall))
    yield True, ready
    yield True, lost


def reported_servers() -> Iterator[KubeObject]:
    """Each state in which a server can be found: by reason and condition, looked at for the first time and later, edited since."""
    for result in RESULTS:
        for _, life in seen_before(Observed, result.type):
            yield deepcopy(life.resource)
            for answers in (False, True):
                life.report(with_result(life.well(), result), answers=answers)
                yield deepcopy(life.resource)
            life.edit({"replicas": 2})
            yield deepcopy(life.resource)


def backup_results() -> Iterator[ConditionResult]:
    """Each reason that may keep a backup from being complete: all of them, as any step of it may fail."""
    for reason in Reason:
        yield problem(ConditionType.COMPLETE, reason, f"{reason.when} {reason.remedy}")


def reported_backups() -> Iterator[KubeObject]:
    """Each state in which a backup can be found: by reason, at the first look and after others, edited since, and complete at last."""
    for result in backup_results():
        for before in ([], [COPYING]):
            life = BackupLife()
            for found in (*before, result):
                life.report([found])
                yield deepcopy(life.resource)
            life.edit(life.resource["spec"] | {"deletionPolicy": "Retain"})
            yield deepcopy(life.resource)
            life.report(life.well())
            yield deepcopy(life.resource)
