"""The times of the week in which servers sleep, also when clocks change."""

from datetime import UTC, datetime

import pytest

from tests.unit.examples import Manifest
from tracking_operator.api.sleep import SleepWindow
from tracking_operator.controllers.server.sleep.windows import (
    Windows,
    never_wakes,
    next_period,
    period_at,
)
from tracking_operator.schedule import BadScheduleError

BERLIN: Manifest = {"timeZone": "Europe/Berlin"}
NIGHTS: Manifest = {"from": "20:00", "to": "07:00"}
WEEKEND: Manifest = {"from": "00:00", "to": "00:00", "days": ["Sat-Sun"]}


def windows(*entries: Manifest) -> Windows:
    return tuple(SleepWindow.model_validate(one) for one in entries)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def asleep(moment: str, *entries: Manifest) -> tuple[str, str] | None:
    """The period that a moment is in, as the hours of its ends in UTC."""
    found = period_at(windows(*entries), utc(moment))
    return (f"{found.begins:%m-%d %H:%M}", f"{found.ends:%m-%d %H:%M}") if found else None


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-12-01T19:59", None),
        ("2026-12-01T20:00", ("12-01 20:00", "12-02 07:00")),
        ("2026-12-02T06:59", ("12-01 20:00", "12-02 07:00")),
        ("2026-12-02T07:00", None),
    ],
)
def test_a_night_begins_on_one_day_and_ends_on_the_next(
    moment: str, expected: tuple[str, str] | None
) -> None:
    assert asleep(moment, NIGHTS) == expected


def test_days_are_those_on_which_it_begins() -> None:
    weekdays = NIGHTS | {"days": ["Mon-Fri"]}
    assert asleep("2026-12-05T03:00", weekdays) == ("12-04 20:00", "12-05 07:00")  # Friday's night
    assert asleep("2026-12-06T03:00", weekdays) is None
    assert asleep("2026-12-07T03:00", weekdays) is None  # Sunday's
    assert asleep("2026-12-08T03:00", weekdays) == ("12-07 20:00", "12-08 07:00")


def test_a_range_of_days_may_go_beyond_sunday() -> None:
    long_weekend = {"from": "12:00", "to": "13:00", "days": ["Sat-Mon"]}
    found = [day for day in range(1, 8) if asleep(f"2026-12-0{day}T12:30", long_weekend)]
    assert found == [5, 6, 7]


def test_what_overlaps_or_follows_at_once_is_one_time() -> None:
    week = (NIGHTS | {"days": ["Mon-Fri"]}, WEEKEND, {"from": "00:00", "to": "07:00", "days": ["Mon"]})
    assert asleep("2026-12-05T12:00", *week) == ("12-04 20:00", "12-07 07:00")
    assert asleep("2026-12-04T21:00", *week) == ("12-04 20:00", "12-07 07:00")
    assert asleep("2026-12-07T06:59", *week) == ("12-04 20:00", "12-07 07:00")


def test_clocks_that_go_forward_make_a_night_an_hour_shorter() -> None:
    assert asleep("2026-03-28T22:00", NIGHTS | BERLIN) == ("03-28 19:00", "03-29 05:00")
    assert asleep("2026-03-29T22:00", NIGHTS | BERLIN) == ("03-29 18:00", "03-30 05:00")


def test_clocks_that_go_back_make_a_night_an_hour_longer() -> None:
    assert asleep("2026-10-24T22:00", NIGHTS | BERLIN) == ("10-24 18:00", "10-25 06:00")


def test_a_time_that_clocks_skip_counts_as_when_they_have_gone_forward() -> None:
    short = {"from": "02:30", "to": "04:00"} | BERLIN
    assert asleep("2026-03-29T01:45", short) == ("03-29 01:00", "03-29 02:00")


def test_clocks_that_skip_all_of_a_time_skip_the_sleep() -> None:
    skipped = {"from": "02:10", "to": "02:50"} | BERLIN
    assert asleep("2026-03-29T01:30", skipped) is None
    assert asleep("2026-03-30T00:30", skipped) == ("03-30 00:10", "03-30 00:50")


def test_a_time_that_comes_twice_counts_the_first_time() -> None:
    wakes_in_it = {"from": "01:00", "to": "02:30"} | BERLIN
    assert asleep("2026-10-25T00:15", wakes_in_it) == ("10-24 23:00", "10-25 00:30")
    assert asleep("2026-10-25T01:15", wakes_in_it) is None


def test_the_other_half_of_the_world_changes_its_clocks_the_other_way() -> None:
    sydney = NIGHTS | {"timeZone": "Australia/Sydney"}
    assert asleep("2026-10-03T12:00", sydney) == ("10-03 10:00", "10-03 20:00")


def test_the_next_time_is_the_nearest() -> None:
    found = next_period(windows(NIGHTS, WEEKEND), utc("2026-12-04T10:00"))
    assert found is not None
    assert (found.begins, found.ends) == (utc("2026-12-04T20:00"), utc("2026-12-07T07:00"))
    assert next_period((), utc("2026-12-04T10:00")) is None


def test_a_week_without_a_gap_is_found_out() -> None:
    assert never_wakes(windows({"from": "07:00", "to": "07:00"}))
    assert never_wakes(windows(NIGHTS, {"from": "07:00", "to": "20:00"}))
    assert not never_wakes(windows(NIGHTS, WEEKEND))
    assert not never_wakes(windows({"from": "07:00", "to": "06:59"}))
    assert not never_wakes(())


def test_a_zone_that_nobody_knows_is_no_schedule() -> None:
    with pytest.raises(BadScheduleError, match="Europe/Atlantis"):
        never_wakes(windows(NIGHTS | {"timeZone": "Europe/Atlantis"}))
