"""When something is due that a cron line and a time zone plan: its slots. Pure: whoever asks passes the time in.

A line has the five fields of crontab(5): minute, hour, day of the month, month, day of the week, with lists, ranges, steps and English
names; or it is one of ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly``. Where both day of the month and day of the
week are limited, either will do, as in crontab(5).

Clocks that change: what is planned for a time that is skipped is due as much later as clocks are put forward, and what is planned for
a time that comes twice is due the first time. Where the line names no hour (``*``, ``*/2``), each hour that passes counts: twice when
it comes twice, never when it is skipped.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

CRON_PATTERN: Final = (
    r"^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)"
    r"|[0-9*/,-]+ +[0-9*/,-]+ +[0-9*/,-]+ +[0-9A-Za-z*/,-]+ +[0-9A-Za-z*/,-]+)$"
)
"""What a line looks like: all that a schema can say about it."""
ZONE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
"""What the name of a time zone looks like, such as Europe/Berlin."""

LONGEST_SEARCH: Final = timedelta(days=366 * 9)
"""29 February comes at least once in so many days, also around a year such as 2100, which is no leap year."""

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_TERM: Final = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]{1,4}))?")


class BadScheduleError(ValueError):
    """A line that is none, one that never comes, or a zone that nobody knows; as a sentence that says what to change."""


@dataclass(frozen=True)
class _Field:
    """One field of a line: what it is called, its least and its greatest number, and the names that numbers have."""

    name: str
    least: int
    greatest: int
    names: tuple[str, ...] = ()

    def numbers(self, text: str) -> frozenset[int]:
        """The numbers that a field's text stands for. Raises BadScheduleError."""
        return frozenset(number for term in text.split(",") for number in self._of_term(term))

    def _of_term(self, term: str) -> range:
        found = _TERM.fullmatch(term)
        if found is None:
            raise self._bad(term)
        first, last, step = found["first"], found["last"], found["step"]
        begin = self.least if first is None else self._number(first)
        end = self.greatest if first is None or (last is None and step) else self._number(last or first)
        if begin > end or (step is not None and int(step) == 0):
            raise self._bad(term)
        return range(begin, end + 1, int(step or 1))

    def _number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.least
        if not (text.isascii() and text.isdigit()) or not self.least <= int(text) <= self.greatest:
            raise self._bad(text)
        return int(text)

    def _bad(self, text: str) -> BadScheduleError:
        return BadScheduleError(
            f"{text!r} is no {self.name} of a cron line: write numbers from {self.least} to {self.greatest}, lists, ranges or "
            "steps, such as 2, 1-5 or */15."
        )


_MINUTE: Final = _Field("minute", 0, 59)
_HOUR: Final = _Field("hour", 0, 23)
_DAY: Final = _Field("day of the month", 1, 31)
_MONTH: Final = _Field("month", 1, 12, _MONTHS)
_WEEKDAY: Final = _Field("day of the week", 0, 7, _DAYS)


@dataclass(frozen=True)
class Schedule:
    """A cron line in a time zone."""

    line: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    names_hours: bool
    """Whether it is about times of the day, not about each hour that passes."""
    either_day: bool
    """Whether a day of the month and a day of the week will do each, and not only both."""
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime:
        """The first slot after a moment, in UTC."""
        day = moment.astimezone(self.zone).date() - timedelta(days=1)
        return next(slot for slot in self._slots(day, timedelta(days=1)) if slot > moment)

    def last_until(self, moment: datetime) -> datetime:
        """The last slot that is not after a moment, in UTC."""
        day = moment.astimezone(self.zone).date() + timedelta(days=1)
        return next(slot for slot in self._slots(day, timedelta(days=-1)) if slot <= moment)

    def due_slot(self, since: datetime, now: datetime) -> datetime | None:
        """The slot to be seen to now: the last one after ``since`` and until ``now``, however many were missed; else None."""
        last = self.last_until(now)
        return last if last > since else None

    @cached_property
    def _times(self) -> tuple[time, ...]:
        return tuple(time(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes))

    def _slots(self, day: date, step: timedelta) -> Iterator[datetime]:
        """The slots from a day on, or backwards from it. Raises BadScheduleError: there are none for years."""
        for _ in range(LONGEST_SEARCH.days):
            if self._is_on(day):
                yield from sorted(set(self._slots_of(day)), reverse=step < timedelta())
            day += step
        raise BadScheduleError(
            f"{self.line!r} never comes: there is no such day of the month. Choose another one."
        )

    def _is_on(self, day: date) -> bool:
        is_day, is_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = is_day or is_weekday if self.either_day else is_day and is_weekday
        return fits and day.month in self.months

    def _slots_of(self, day: date) -> Iterator[datetime]:
        for at in self._times:
            first = datetime.combine(day, at, self.zone)
            if self.names_hours:
                yield first.astimezone(UTC)
                continue
            yield from (
                one.astimezone(UTC)
                for one in (first, first.replace(fold=1))
                if one.astimezone(UTC).astimezone(self.zone).time() == at
            )


def schedule_of(line: str, zone: str = "UTC") -> Schedule:
    """Read a cron line in a time zone of the IANA's, which may come at any time. Raises BadScheduleError."""
    fields = _ALIASES.get(line.strip().lower(), line).split()
    if len(fields) != len(("minute", "hour", "day", "month", "weekday")):
        raise BadScheduleError(
            f"{line!r} is no cron line: write five fields, for minute, hour, day of the month, month and day of the week, such "
            'as "0 2 * * *".'
        )
    minute, hour, day, month, weekday = fields
    found = Schedule(
        line=line,
        minutes=_MINUTE.numbers(minute),
        hours=_HOUR.numbers(hour),
        days=_DAY.numbers(day),
        months=_MONTH.numbers(month),
        weekdays=frozenset(number % 7 for number in _WEEKDAY.numbers(weekday)),
        names_hours=not hour.startswith("*"),
        either_day=not day.startswith("*") and not weekday.startswith("*"),
        zone=_zone(zone),
    )
    found.next_after(datetime(2000, 1, 1, tzinfo=UTC))
    return found


def jitter_of(key: str, longest: timedelta) -> timedelta:
    """How much later than its slot something is done: always the same for a key, and spread evenly over many keys; whole seconds."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    return timedelta(seconds=number % max(int(longest.total_seconds()), 1))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadScheduleError(
            f"There is no time zone {name!r}: write a name of the IANA's, such as Europe/Berlin or UTC."
        ) from error
