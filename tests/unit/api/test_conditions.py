"""Conditions keep their history as metav1.Condition asks."""

from datetime import UTC, datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.conditions import (
    PRESENT_WHILE_TRUE,
    Condition,
    ConditionType,
    Reason,
    WantedCondition,
    find_condition,
    merge_conditions,
)
from tracking_operator.foreign_text import LONGEST_CONDITION

EARLIER = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NOW = EARLIER + timedelta(hours=1)

READY = WantedCondition(ConditionType.READY, True, Reason.AS_EXPECTED, "All is well.")
NOT_READY = WantedCondition(ConditionType.READY, False, Reason.SUSPENDED, "Suspended.")


def merge(
    previous: tuple[Condition, ...], *wanted: WantedCondition, generation: int = 1, now: datetime = NOW
) -> tuple[Condition, ...]:
    return merge_conditions(previous, wanted, observed_generation=generation, now=now)


def test_a_new_condition_begins_now() -> None:
    (ready,) = merge((), READY, generation=7)
    assert ready == Condition(
        type="Ready",
        status="True",
        observed_generation=7,
        last_transition_time=NOW,
        reason="AsExpected",
        message="All is well.",
    )
    assert ready.is_true


def test_the_same_status_keeps_its_time_and_takes_the_new_words() -> None:
    previous = merge((), NOT_READY, now=EARLIER)
    other = WantedCondition(ConditionType.READY, False, Reason.CONFLICT, "Another Deployment has the name.")
    (ready,) = merge(previous, other, generation=2)
    assert (ready.last_transition_time, ready.reason, ready.observed_generation) == (EARLIER, "Conflict", 2)


def test_another_status_begins_now() -> None:
    (ready,) = merge(merge((), NOT_READY, now=EARLIER), READY)
    assert ready.last_transition_time == NOW


def test_not_known_is_a_status_of_its_own() -> None:
    (ready,) = merge(
        merge((), NOT_READY, now=EARLIER), WantedCondition(ConditionType.READY, None, Reason.PENDING)
    )
    assert (ready.status, ready.last_transition_time) == ("Unknown", NOW)


@pytest.mark.parametrize("type_", sorted(PRESENT_WHILE_TRUE))
@pytest.mark.parametrize("status", [False, None])
def test_kstatus_conditions_are_there_only_while_true(type_: ConditionType, status: bool | None) -> None:
    was_true = merge((), WantedCondition(type_, True, Reason.PROGRESSING))
    assert [condition.type for condition in was_true] == [type_]
    assert merge(was_true, WantedCondition(type_, status, Reason.PROGRESSING)) == ()


def test_a_condition_that_is_not_wanted_goes_and_foreign_ones_are_left_to_their_writers() -> None:
    foreign = Condition(
        type="example.com/Audited", status="True", last_transition_time=EARLIER, reason="Ok", message=""
    )
    previous = (foreign, *merge((), WantedCondition(ConditionType.EXPOSED, True, Reason.AS_EXPECTED)))
    assert [condition.type for condition in merge(previous, READY)] == ["Ready"]


def test_a_condition_wanted_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="may be wanted once"):
        merge((), READY, NOT_READY)


def test_time_is_stored_in_whole_seconds_of_utc() -> None:
    local = datetime(2026, 1, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    (ready,) = merge((), READY, now=local)
    assert ready.as_kubernetes()["lastTransitionTime"] == "2026-01-01T12:00:00Z"


def test_a_message_that_is_too_long_is_cut_to_what_kubernetes_takes() -> None:
    (ready,) = merge((), WantedCondition(ConditionType.READY, False, Reason.API_ERROR, "x" * 40_000))
    assert len(ready.message) == LONGEST_CONDITION


def test_a_condition_is_found_by_its_type() -> None:
    conditions = merge((), READY)
    assert find_condition(conditions, ConditionType.READY) == conditions[0]
    assert find_condition(conditions, ConditionType.STALLED) is None


wanted_conditions = st.lists(
    st.builds(
        WantedCondition,
        st.sampled_from(ConditionType),
        st.sampled_from([True, False, None]),
        st.sampled_from(Reason),
    ),
    unique_by=lambda wanted: wanted.type,
)


@given(wanted_conditions, wanted_conditions, st.randoms())
def test_merging_is_stable(
    first: list[WantedCondition], second: list[WantedCondition], random: Random
) -> None:
    """The order of what is wanted does not matter, and wanting the same again changes nothing."""
    previous = merge((), *first, now=EARLIER)
    merged = merge(previous, *second)
    shuffled = list(second)
    random.shuffle(shuffled)
    assert merge(previous, *shuffled) == merged
    assert merge(merged, *second, now=NOW + timedelta(days=1)) == merged


@given(wanted_conditions, wanted_conditions)
def test_time_moves_exactly_when_the_status_does(
    first: list[WantedCondition], second: list[WantedCondition]
) -> None:
    previous = {condition.type: condition for condition in merge((), *first, now=EARLIER)}
    for condition in merge(tuple(previous.values()), *second):
        was = previous.get(condition.type)
        kept = was is not None and was.status == condition.status
        assert condition.last_transition_time == (EARLIER if kept else NOW)


def test_every_reason_is_a_word_and_says_when() -> None:
    for reason in Reason:
        assert reason.isalnum(), "metav1.Condition wants one CamelCase word"
        assert reason[0].isupper()
        assert reason.when.endswith("."), reason
        assert reason.remedy == "" or reason.remedy.endswith("."), reason


def test_every_condition_says_what_true_means() -> None:
    for type_ in ConditionType:
        assert type_.meaning.endswith("."), type_
