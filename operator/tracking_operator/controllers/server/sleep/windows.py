"""The times of the week in which servers sleep: each begins and ends at slots of a schedule. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from tracking_operator.api.sleep import DAYS, SleepWindow
from tracking_operator.schedule import schedule_of

Windows = tuple[SleepWindow, ...]
"""``spec.sleep.schedule``."""

A_WEEK: Final = timedelta(days=7)
DAYS_AROUND: Final = timedelta(days=8)
"""A week, and a day for time zones: so far before and after a day its periods are looked for."""
ANY_WEEK: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""When it is looked whether a schedule leaves any time to be awake."""
MINUTES_OF_A_DAY: Final = 24 * 60
LONGEST_FOLD: Final = timedelta(hours=3)
"""Clocks are put back by less."""


@dataclass(frozen=True)
class Period:
    """A time without a gap in which a server sleeps, in UTC. Its end is outside."""

    begins: datetime
    ends: datetime


def period_at(windows: Windows, moment: datetime) -> Period | None:
    """The period that a moment is in, joined from all that overlap or follow each other; of more than a week, so much."""
    found = _around(windows, moment)
    return next((one for one in found if one.begins <= moment < one.ends), None)


def next_period(windows: Windows, moment: datetime) -> Period | None:
    """The first period that begins after a moment at which there is none; None without windows."""
    return next((one for one in _around(windows, moment) if one.begins > moment), None)


def never_wakes(windows: Windows) -> bool:
    """Whether the windows leave no time of the week. Raises BadScheduleError: nobody knows a time zone of them."""
    found = period_at(windows, ANY_WEEK)
    return found is not None and found.ends - ANY_WEEK >= A_WEEK


def _around(windows: Windows, moment: datetime) -> Sequence[Period]:
    return _periods(windows, moment.astimezone(UTC).date())


@lru_cache(maxsize=1024)
def _periods(windows: Windows, day: date) -> Sequence[Period]:
    """The periods of the days around one, joined. Whoever has the same schedule has the same ones, at each look of a day."""
    noon = datetime.combine(day, time(12), UTC)
    return tuple(_joined(period for one in windows for period in _periods_of(one, noon)))


def _periods_of(window: SleepWindow, noon: datetime) -> Iterator[Period]:
    """Those of one window, first to last. One of which clocks skip both ends is none."""
    falls_asleep = schedule_of(f"{_time(window.from_)} * * {_days(window.days)}", window.time_zone)
    wakes = schedule_of(f"{_time(window.to)} * * *", window.time_zone)
    begins = falls_asleep.last_until(noon - DAYS_AROUND)
    while begins < noon + DAYS_AROUND:
        ends = wakes.next_after(begins)
        if ends - begins <= _length(window) + LONGEST_FOLD:
            yield Period(begins, ends)
        begins = falls_asleep.next_after(begins)


def _joined(periods: Iterable[Period]) -> Iterator[Period]:
    current: Period | None = None
    for one in sorted(periods, key=lambda period: period.begins):
        if current is None or one.begins > current.ends:
            if current is not None:
                yield current
            current = one
        else:
            current = Period(current.begins, max(current.ends, one.ends))
    if current is not None:
        yield current


def _length(window: SleepWindow) -> timedelta:
    """How long a window lasts on a day without a change of clocks."""
    minutes = (_minutes(window.to) - _minutes(window.from_)) % MINUTES_OF_A_DAY
    return timedelta(minutes=minutes or MINUTES_OF_A_DAY)


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _time(text: str) -> str:
    """The first two fields of a cron line."""
    hour, minute = divmod(_minutes(text), 60)
    return f"{minute} {hour}"


def _days(days: Sequence[str]) -> str:
    """Its last field."""
    numbers = {number for text in days for number in _numbers(text)}
    return ",".join(str(number) for number in sorted(numbers)) or "*"


def _numbers(text: str) -> list[int]:
    """1 is Monday. A range may go beyond Sunday: Fri-Mon."""
    first, _, last = text.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [(begin + day) % len(DAYS) + 1 for day in range((end - begin) % len(DAYS) + 1)]
