"""Cron lines in time zones: what comes next, what is due, and what is no line."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.schedule import BadScheduleError, jitter_of, schedule_of


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_ones(line: str, zone: str, moment: str, count: int) -> list[str]:
    schedule, at, found = schedule_of(line, zone), utc(moment), []
    for _ in range(count):
        at = schedule.next_after(at)
        found.append(f"{at:%Y-%m-%dT%H:%M}")
    return found


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("0 2 * * *", "2026-12-01T01:59:59", "2026-12-01T02:00"),
        ("0 2 * * *", "2026-12-01T02:00:00", "2026-12-02T02:00"),
        ("*/15 * * * *", "2026-12-01T10:15:00", "2026-12-01T10:30"),
        ("30 8-18/5 * * MON-FRI", "2026-12-05T00:00:00", "2026-12-07T08:30"),
        ("5/20 3 * * *", "2026-12-01T03:25:00", "2026-12-01T03:45"),
        ("0 0 1,15 * *", "2026-12-01T00:00:00", "2026-12-15T00:00"),
        ("0 0 29 2 *", "2026-12-01T00:00:00", "2028-02-29T00:00"),
        ("0 0 13 * FRI", "2026-12-01T00:00:00", "2026-12-04T00:00"),  # either will do
        ("0 0 */2 * SUN", "2026-12-01T00:00:00", "2026-12-13T00:00"),  # both
        ("0 0 * jan 7", "2026-12-01T00:00:00", "2027-01-03T00:00"),
        ("@weekly", "2026-12-01T00:00:00", "2026-12-06T00:00"),
        ("@monthly", "2026-12-01T00:00:00", "2027-01-01T00:00"),
    ],
)
def test_what_a_line_plans_comes_next(line: str, after: str, expected: str) -> None:
    assert next_ones(line, "UTC", after, 1) == [expected]


def test_a_time_that_a_clock_skips_is_due_when_it_has_skipped_it_and_only_on_that_day() -> None:
    assert next_ones("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", 3) == [
        "2026-03-28T01:30",
        "2026-03-29T01:00",  # 03:00, as there is no 02:30
        "2026-03-30T00:30",
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    assert next_ones("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "2026-10-25T00:30",
        "2026-10-26T01:30",
    ]


def test_every_hour_stays_every_hour_when_clocks_change() -> None:
    hourly = next_ones("0 * * * *", "Europe/Berlin", "2026-10-24T23:00", 4)
    assert hourly == ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00", "2026-10-25T03:00"]
    hourly = next_ones("0 * * * *", "Europe/Berlin", "2026-03-29T00:00", 3)
    assert hourly == ["2026-03-29T01:00", "2026-03-29T02:00", "2026-03-29T03:00"]


def test_however_many_were_missed_one_is_due() -> None:
    nightly = schedule_of("0 2 * * *", "Europe/Berlin")
    before, now = utc("2026-11-17T01:00"), utc("2026-12-01T13:00")
    assert nightly.due_slot(before, now) == utc("2026-12-01T01:00")
    assert nightly.due_slot(utc("2026-12-01T01:00"), now) is None


@pytest.mark.parametrize(
    ("line", "zone", "said"),
    [
        ("0 2 * *", "UTC", "five fields"),
        ("0 0 2 * * *", "UTC", "five fields"),
        ("61 2 * * *", "UTC", "bad minute"),
        ("0 2-1 * * *", "UTC", "bad hour"),
        ("0 2 * * */0", "UTC", "bad day-of-week"),
        ("0 2 * FOO *", "UTC", "bad month"),
        ("0 2,, * * *", "UTC", "bad hour"),
        ("0 ² * * *", "UTC", "bad hour"),
        ("0 2 31 2 *", "UTC", "bad day-of-month"),
        ("0 2 * * *", "Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("0 2 * * *", "Europe", "no time zone"),
        ("0 2 * * *", "../../etc/passwd", "no time zone"),
        ("0 2 * * *", "", "no time zone"),
    ],
)
def test_what_is_no_schedule_is_said_in_a_sentence(line: str, zone: str, said: str) -> None:
    with pytest.raises(BadScheduleError, match=said):
        schedule_of(line, zone)


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
LINES = st.sampled_from(
    ["0 2 * * *", "30 2 * * *", "0 * * * *", "*/7 1-3 * * *", "15 0 1 * MON", "0 0 29 2 *"]
)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]
)


@given(MOMENTS, LINES, ZONES)
def test_next_and_last_agree(moment: datetime, line: str, zone: str) -> None:
    schedule = schedule_of(line, zone)
    following = schedule.next_after(moment)
    assert following > moment
    assert schedule.last_until(following) == following
    assert schedule.last_until(following - timedelta(seconds=1)) <= moment
    assert schedule.next_after(schedule.last_until(moment)) == following


def test_jitter_is_a_servers_own_and_spreads_servers() -> None:
    found = [jitter_of(f"uid-{number}", timedelta(minutes=10)) for number in range(1000)]
    assert found == [jitter_of(f"uid-{number}", timedelta(minutes=10)) for number in range(1000)]
    quarter = timedelta(minutes=10) / 4
    assert all(timedelta() <= one < timedelta(minutes=10) for one in found)
    assert all(200 < sum(one // quarter == number for one in found) < 300 for number in range(4))
