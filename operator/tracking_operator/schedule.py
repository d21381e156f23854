"""When something is due that a cron line and a time zone plan: its slots. Pure: whoever asks passes the time in.

A line has the five fields of crontab(5): minute, hour, day of the month, month, day of the week, with lists, ranges, steps and English
names; or it is one of ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly``. Where both day of the month and day of the
week are limited, either will do, as in crontab(5).

Clocks that change: cronsim does as Debian's cron. What is planned for a time that is skipped is due when clocks have been put forward, and
what is planned for a time that comes twice is due the first time. Where the line names no hour or no minute (``*``, ``*/2``), each hour that
passes counts: twice when it comes twice, never when it is skipped (https://github.com/cuu508/cronsim).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

CRON_PATTERN: Final = (
    r"^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)"
    r"|[0-9*/,-]+ +[0-9*/,-]+ +[0-9*/,-]+ +[0-9A-Za-z*/,-]+ +[0-9A-Za-z*/,-]+)$"
)
"""What a line looks like: all that a schema can say about it."""
ZONE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
"""What the name of a time zone looks like, such as Europe/Berlin."""

_LOOKS_BACK: Final = (timedelta(minutes=10), *(timedelta(days=days) for days in (2, 35, 400, 366 * 9)))
"""How far back the last slot is looked for: from what most lines need to 29 February around a year such as 2100, which has none."""
_LONGEST_FOLD: Final = timedelta(hours=3)
"""Clocks are put back by less, at most by two hours (Antarctica/Troll). cronsim counts the time on the wall, which has then come before."""
_FIELDS: Final = 5
_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class BadScheduleError(ValueError):
    """A line that is none, one that never comes, or a zone that nobody knows; as a sentence that says what to change."""


@dataclass(frozen=True)
class Schedule:
    """A cron line in a time zone."""

    line: str
    """As people wrote it."""
    fields: str
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime:
        """The first slot after a moment, in UTC."""
        return next(self._slots_after(moment))

    def last_until(self, moment: datetime) -> datetime:
        """The last slot that is not after a moment, in UTC."""
        for back in _LOOKS_BACK:
            passed = list(takewhile(lambda slot: slot <= moment, self._slots_after(moment - back)))
            if passed:
                return passed[-1]
        raise self._never_comes()

    def due_slot(self, since: datetime, now: datetime) -> datetime | None:
        """The slot to be seen to now: the last one after ``since`` and until ``now``, however many were missed; else None."""
        last = self.last_until(now)
        return last if last > since else None

    def _slots_after(self, moment: datetime) -> Iterator[datetime]:
        """All slots after a moment. Raises BadScheduleError: there are none for years."""
        begin = (moment - _LONGEST_FOLD).astimezone(self.zone)
        slots = (slot.astimezone(UTC) for slot in CronSim(self.fields, begin))
        yield from (slot for slot in slots if slot > moment)
        raise self._never_comes()

    def _never_comes(self) -> BadScheduleError:
        return BadScheduleError(f"{self.line!r} never comes: there is no such day. Choose another one.")


def schedule_of(line: str, zone: str = "UTC") -> Schedule:
    """Read a cron line in a time zone of the IANA's, which may come at any time. Raises BadScheduleError."""
    fields = _ALIASES.get(line.strip().lower(), line)
    found = Schedule(line=line, fields=fields, zone=_zone(zone))
    try:
        if len(fields.split()) != _FIELDS:
            raise CronSimError("not five fields")
        found.next_after(datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise BadScheduleError(
            f"{line!r} is no cron line ({str(error).lower()}): write five fields, for minute, hour, day of the month, month and day of the "
            'week, such as "0 2 * * *" or "*/15 8-18 * * MON-FRI".'
        ) from error
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
