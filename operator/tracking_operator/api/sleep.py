"""When a server sleeps by itself: what a team asks for, and what has become of it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from tracking_operator.api.base import ATOMIC, ApiModel, Duration, Rule, rules

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY: Final = f"({'|'.join(DAYS)})"

TimeOfDay = Annotated[
    str,
    Field(
        max_length=5,
        json_schema_extra=rules(
            Rule(
                "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",
                'must be a time of the day from "00:00" to "23:59", in quotes, such as "20:00"',
            )
        ),
    ),
]

DaysOfWeek = Annotated[
    str,
    Field(
        max_length=7,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^{_DAY}(-{_DAY})?$')",
                "must be a day or a range of days by the names Mon, Tue, Wed, Thu, Fri, Sat and Sun, such as Sat or Mon-Fri",
            )
        ),
    ),
]


class SleepWindow(ApiModel):
    """A time of the week in which a server sleeps."""

    from_: Annotated[TimeOfDay, Field(alias="from")]
    """When the server goes to sleep, in quotes: "20:00"."""
    to: TimeOfDay
    """When it wakes: the next time that clocks show this after from. The same as from: after a whole day."""
    days: Annotated[tuple[DaysOfWeek, ...], Field(max_length=7, json_schema_extra=ATOMIC)] = ()
    """The days on which it goes to sleep, each a day or a range, such as Mon-Fri. Default: every day."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """The time zone that both times are of, by its IANA name, such as Europe/Berlin. A time that clocks skip counts as when
    they have gone forward; one that comes twice when they go back counts the first time. Default: UTC."""


class Sleep(ApiModel):
    """When the server sleeps by itself: no pods run, everything else is kept. spec.suspend counts more."""

    schedule: Annotated[tuple[SleepWindow, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = ()
    """Times of the week in which the server sleeps. They may overlap. Default: none."""
    after_idle: Duration | None = None
    """After how long without a request, in hours or days, the server goes to sleep until somebody wakes it, or until a time of
    its schedule ends. Requests of the operator and of probes do not count, nor do those that are refused or find nothing (401,
    403, 404). Default: never."""


class SleepCause(StrEnum):
    """Why a server sleeps although its specification does not suspend it."""

    SCHEDULE = "Schedule"
    IDLE = "Idle"


_Time = Annotated[datetime, Field(json_schema_extra={"maxLength": 64})]


class SleepStatus(ApiModel):
    """What has become of spec.sleep."""

    cause: SleepCause | None = None
    """Why the server sleeps: Schedule or Idle. Absent: it is awake, or suspended by its specification."""
    since: _Time | None = None
    """Since when it sleeps."""
    until: _Time | None = None
    """When it wakes by itself. Absent: when somebody wakes it."""
    woken: Annotated[str, Field(max_length=64)] | None = None
    """The value of the annotation tracking-operator.dev/wake that it was woken for last. Of a value of more than 64 characters
    it is the SHA-256, in hexadecimal digits."""
    woken_at: _Time | None = None
    """When that was: until the time of the schedule ends that it fell into, it does not count for the server."""
