"""Whether a server sleeps now by ``spec.sleep``, since when, and until when. Pure.

What was decided is in ``status.sleep``, and never in the specification: what keeps that as it is in Git has nothing to take back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from tracking_operator.api.sleep import Sleep, SleepCause, SleepStatus
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.server.sleep.windows import (
    Windows,
    next_period,
    period_at,
)


@dataclass(frozen=True)
class SleepDecision:
    """Whether a server sleeps, and when that changes by itself."""

    status: SleepStatus | None = None
    """What there is to tell; None: nothing."""
    changes_at: datetime | None = None

    @property
    def is_asleep(self) -> bool:
        """Whether no pods are to run."""
        return self.status is not None and self.status.cause is not None


AWAKE = SleepDecision()


@dataclass(frozen=True)
class _Sleeping:
    cause: SleepCause
    since: datetime
    until: datetime | None


def decide(resource: TrackingServer, now: datetime, *, is_idle: bool = False) -> SleepDecision:
    """Decide about a server that is not suspended; ``is_idle``: its pods were found without requests for as long as it says.

    A server that was made or woken within a time of the schedule is awake until that time ends.
    """
    wanted, before = resource.spec.sleep, resource.status.sleep or SleepStatus()
    if wanted == Sleep():
        return AWAKE
    now = now.replace(microsecond=0)
    windows = wanted.schedule
    woken = _woken(resource, before, now)
    sleeping = _by_schedule(windows, woken, before, now)
    if sleeping is None and wanted.after_idle is not None:
        sleeping = _by_idleness(windows, woken, before, now, is_idle=is_idle)
    return SleepDecision(_told(sleeping, woken), _change(windows, sleeping, now))


def while_suspended(resource: TrackingServer) -> SleepStatus | None:
    """What is still to be told of a server that its specification suspends: what it was woken for, which does not count again."""
    before = resource.status.sleep
    if before is None or before.woken is None or resource.spec.sleep == Sleep():
        return None
    return SleepStatus(woken=before.woken, woken_at=before.woken_at)


@dataclass(frozen=True)
class _Woken:
    """When the server was woken last, or made; and by which value of the annotation."""

    at: datetime
    value: str = ""
    value_at: datetime | None = None


def _woken(resource: TrackingServer, before: SleepStatus, now: datetime) -> _Woken:
    made_at = resource.metadata.creation_timestamp or now
    asked = resource.asked_waking
    if not asked:
        return _Woken(made_at)
    at = before.woken_at if asked == before.woken and before.woken_at else now
    return _Woken(max(made_at, at), asked, at)


def _by_schedule(windows: Windows, woken: _Woken, before: SleepStatus, now: datetime) -> _Sleeping | None:
    period = period_at(windows, now)
    if period is None or woken.at >= period.begins:
        return None
    since = before.since if before.cause is not None and before.since else now
    return _Sleeping(SleepCause.SCHEDULE, since, period.ends)


def _by_idleness(
    windows: Windows, woken: _Woken, before: SleepStatus, now: datetime, *, is_idle: bool
) -> _Sleeping | None:
    """Asleep since nobody asked anything; the end of a time of the schedule wakes such a server, too."""
    since = before.since if before.cause is SleepCause.IDLE else None
    if since is None:
        falls_asleep = is_idle and woken.at < now
        return _Sleeping(SleepCause.IDLE, now, _wakes_after(windows, now)) if falls_asleep else None
    until = _wakes_after(windows, since)
    if woken.at >= since or (until is not None and until <= now):
        return None
    return _Sleeping(SleepCause.IDLE, since, until)


def _wakes_after(windows: Windows, moment: datetime) -> datetime | None:
    """When the schedule wakes whoever sleeps at a moment."""
    period = period_at(windows, moment) or next_period(windows, moment)
    return period.ends if period else None


def _change(windows: Windows, sleeping: _Sleeping | None, now: datetime) -> datetime | None:
    if sleeping is not None:
        return sleeping.until
    current = period_at(windows, now)  # within which it was woken
    following = next_period(windows, current.ends if current else now)
    return following.begins if following else None


def _told(sleeping: _Sleeping | None, woken: _Woken) -> SleepStatus | None:
    known: dict[str, object] = {}
    if sleeping is not None:
        known = {"cause": sleeping.cause, "since": sleeping.since, "until": sleeping.until}
    if woken.value:
        known |= {"woken": woken.value, "woken_at": woken.value_at}
    told = {name: value for name, value in known.items() if value is not None}
    return SleepStatus.model_validate(told) if told else None


def sentence(resource: TrackingServer, status: SleepStatus) -> str:
    """Why no pods run, until when, and what ends it before."""
    cause = (
        "by spec.sleep.schedule"
        if status.cause is SleepCause.SCHEDULE
        else f"because nobody had asked it anything for {resource.spec.sleep.after_idle} (spec.sleep.afterIdle)"
    )
    since = f" since {_utc(status.since)}" if status.since else ""
    until = f"It wakes at {_utc(status.until)}." if status.until else "It sleeps until somebody wakes it."
    name, namespace = resource.metadata.name, resource.metadata.namespace
    return (
        f"No pods run{since}: the server sleeps {cause}; all data is kept. {until} To wake it now: "
        f"`kubectl tracking wake {name} -n {namespace}`, or set its annotation tracking-operator.dev/wake to any new value."
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
