"""A store that is busy with others' requests changes no condition, unless it stays so."""

from datetime import UTC, datetime, timedelta

import pytest

from tracking_operator.api.conditions import Condition, ConditionType, Reason
from tracking_operator.controllers.conditions.busy import KEPT_FOR, BusyMemory, kept_while_busy
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    not_looked_at,
    problem,
)

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
BACKEND, SCHEMA = ConditionType.BACKEND_STORE_READY, ConditionType.SCHEMA_READY
BUSY = problem(BACKEND, Reason.BUSY, "PostgreSQL is still carrying out other requests.")
WAITS = not_looked_at(SCHEMA, "the backend store")


def condition(type_: ConditionType, status: str, reason: str, generation: int = 3) -> Condition:
    return Condition.model_validate(
        {
            "type": type_.value,
            "status": status,
            "reason": reason,
            "message": f"{reason} before.",
            "observedGeneration": generation,
            "lastTransitionTime": NOW,
        }
    )


@pytest.fixture
def memory() -> BusyMemory:
    return BusyMemory()


def test_a_server_that_was_well_says_so_while_it_waits_for_its_turn(memory: BusyMemory) -> None:
    before = [condition(BACKEND, "True", "AsExpected"), condition(SCHEMA, "True", "AsExpected")]
    kept = kept_while_busy([BUSY, WAITS], before, 3, memory, NOW)
    assert [(one.type, one.verdict, one.message) for one in kept] == [
        (BACKEND, Verdict.OK, "AsExpected before."),
        (SCHEMA, Verdict.OK, "AsExpected before."),
    ]


def test_a_server_that_failed_goes_on_saying_why(memory: BusyMemory) -> None:
    kept = kept_while_busy([BUSY], [condition(BACKEND, "False", "LoginRefused")], 3, memory, NOW)
    assert kept == [problem(BACKEND, Reason.LOGIN_REFUSED, "LoginRefused before.")]


def test_what_another_step_found_is_told_beside_it(memory: BusyMemory) -> None:
    refused = problem(ConditionType.WORKLOAD_READY, Reason.POD_REFUSED, "A quota.")
    before = [
        condition(BACKEND, "True", "AsExpected"),
        condition(ConditionType.WORKLOAD_READY, "True", "AsExpected"),
    ]
    assert refused in kept_while_busy([BUSY, refused], before, 3, memory, NOW)


@pytest.mark.parametrize(
    "before",
    [[], [condition(BACKEND, "True", "AsExpected", 2)], [condition(BACKEND, "True", "OfANewerRelease")]],
)
def test_a_server_of_which_nothing_was_found_says_busy(before: list[Condition], memory: BusyMemory) -> None:
    assert kept_while_busy([BUSY], before, 3, memory, NOW) == [BUSY]


def test_whoever_waits_long_is_told_why_until_the_store_has_answered(memory: BusyMemory) -> None:
    before = [condition(BACKEND, "True", "AsExpected")]
    at = [NOW, NOW + KEPT_FOR, NOW + KEPT_FOR + timedelta(seconds=1)]
    said = [kept_while_busy([BUSY], before, 3, memory, now)[0].reason for now in at]
    assert said == [Reason.AS_EXPECTED, Reason.AS_EXPECTED, Reason.BUSY]

    well = ConditionResult(BACKEND, Verdict.OK, Reason.AS_EXPECTED, "In use.")
    assert kept_while_busy([well], before, 3, memory, at[-1]) == [well]
    assert kept_while_busy([BUSY], before, 3, memory, at[-1])[0].reason is Reason.AS_EXPECTED
