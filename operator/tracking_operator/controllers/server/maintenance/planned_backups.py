"""The backups that a server's plan has made: when the next one is due, what one is, and how the server is backed up. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SCHEDULED_LABEL,
)
from tracking_operator.api.maintenance import BackupPlan, BackupsStatus
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.schedule import Schedule

TYPE: Final = ConditionType.BACKED_UP
NAMED_BY: Final = "%Y%m%d-%H%M"
"""How the moment that a backup was due is written in its name; a moment has one name, so that it has one backup."""
LABELLED_BY: Final = "%Y%m%dT%H%MZ"


@dataclass(frozen=True, slots=True)
class KnownBackup:
    """As much of a TrackingServerBackup as is asked for here."""

    name: str
    server: str
    due_at: datetime | None = None
    """When it was due that the plan made it; None: somebody else has made it."""
    is_complete: bool = False
    is_given_up: bool = False
    is_going: bool = False
    """Whether it is being deleted."""
    completed_at: datetime | None = None
    verified_at: datetime | None = None
    """When it was restored for a trial last."""
    message: str = ""
    """What its condition says."""

    @property
    def is_under_way(self) -> bool:
        """Whether it may still become complete."""
        return not (self.is_complete or self.is_given_up or self.is_going)


@dataclass(frozen=True)
class PlannedBackup:
    """One that the plan has made."""

    due_at: datetime
    backup: KnownBackup

    @property
    def name(self) -> str:
        """What the TrackingServerBackup is called."""
        return self.backup.name


@dataclass(frozen=True)
class Slots:
    """What is due now, if anything, and what is next."""

    due_at: datetime | None
    next_at: datetime


def slots_of(
    schedule: Schedule, name: str, known: BackupsStatus | None, jitter: timedelta, now: datetime
) -> Slots:
    """What is due of a schedule that is called ``name``; what was missed counts once.

    A plan that is new, or another one than before, begins now: it makes up for nothing.
    """
    if known is None or known.next_at is None or known.schedule != name:
        return Slots(None, schedule.next_after(now))
    if now < known.next_at + jitter:
        return Slots(None, known.next_at)
    due_at = schedule.last_until(now - jitter)
    return Slots(due_at, schedule.next_after(due_at))


def known_backup(live: KubeObject) -> KnownBackup | None:
    """Read a backup; None: this version of the operator cannot."""
    try:
        backup = TrackingServerBackup.model_validate(live)
    except ValidationError:
        return None
    type_ = ConditionType.RESTORABLE if backup.is_broken else ConditionType.COMPLETE
    found = backup.status.condition(type_)
    return KnownBackup(
        backup.metadata.name,
        backup.spec.server_ref.name,
        due_at=_due_at(backup.metadata.labels.get(SCHEDULED_LABEL, "")),
        # What a trial has shown to be broken is no backup any more: another one has to stay.
        is_complete=backup.is_complete and not backup.is_broken,
        is_given_up=backup.is_given_up or backup.is_broken,
        is_going=backup.metadata.is_being_deleted,
        completed_at=backup.status.completed_at,
        verified_at=backup.status.verified_at,
        message=found.message if found else "",
    )


def planned(backups: Iterable[KnownBackup]) -> list[PlannedBackup]:
    """Those that the plan has made and that stay, the newest first."""
    found = [PlannedBackup(one.due_at, one) for one in backups if one.due_at and not one.is_going]
    return sorted(found, key=lambda one: one.due_at, reverse=True)


def why_not(server: ServerModel) -> str | None:
    """Why the server cannot be backed up; None where nothing is known against it."""
    if server.backend_store.is_managed and server.artifact_store.is_managed:
        return None
    return (
        f"Server {server.name} has no database on its class's PostgreSQL, or no prefix in its class's bucket: other stores are not "
        "backed up yet."
    )


def backup_for(server: str, namespace: str, due_at: datetime) -> KubeObject:
    """Build the TrackingServerBackup of a moment. It belongs to nobody: it stays when its server goes."""
    moment = due_at.astimezone(UTC)
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerBackup",
        "metadata": {
            "name": f"{server}-{moment:{NAMED_BY}}",
            "namespace": namespace,
            "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, SCHEDULED_LABEL: f"{moment:{LABELLED_BY}}"},
        },
        "spec": {"serverRef": {"name": server}},
    }


def newest_complete(backups: Iterable[KnownBackup]) -> KnownBackup | None:
    """The newest backup that is complete, whoever has made it."""
    complete = [
        (one.completed_at, one.name, one)
        for one in backups
        if one.is_complete and one.completed_at and not one.is_going
    ]
    return max(complete, key=lambda one: one[:2])[2] if complete else None


def next_trial(backup: str, backups: Iterable[KnownBackup], seconds_between: float) -> datetime | None:
    """When a backup is to be restored for a trial; None: never. It is the newest planned one that is complete, whichever was tried last.

    A server none of whose backups was tried is due at once, which is said by the beginning of time.
    """
    known = list(backups)
    complete = [one for one in planned(known) if one.backup.is_complete]
    if not complete or complete[0].name != backup:
        return None
    tried = [one.verified_at for one in known if one.verified_at]
    return max(tried) + timedelta(seconds=seconds_between) if tried else datetime.min.replace(tzinfo=UTC)


def backed_up(
    backups: Sequence[PlannedBackup], plan: BackupPlan, late: timedelta, now: datetime
) -> ConditionResult | None:
    """What is said of how the server is backed up; None before the first backup is. ``backups`` begins with the newest."""
    if not backups:
        return None
    last, said = backups[0], backups[0].backup.message
    if last.backup.is_given_up:
        return problem(
            TYPE,
            Reason.BACKUP_FAILED,
            f"Backup {last.name} was given up, or cannot be restored. {said}".strip(),
        )
    if last.backup.is_under_way and now - last.due_at >= late:
        since = f"Backup {last.name} was due at {_told(last.due_at)} and is not complete."
        return problem(TYPE, Reason.BACKUP_LATE, f"{since} {said}".strip())
    complete = next((one for one in backups if one.backup.is_complete), None)
    if complete is None:
        message = f"Backup {last.name} is being taken."
        return ConditionResult(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)
    pause = " No other one is made: spec.maintenance.backup.suspend is true." if plan.suspend else ""
    message = f"Backup {complete.name} is complete, which was due at {_told(complete.due_at)}.{pause}"
    return ConditionResult(TYPE, Verdict.OK, Reason.AS_EXPECTED, message)


def _due_at(label: str) -> datetime | None:
    try:
        return datetime.strptime(label, LABELLED_BY).replace(tzinfo=UTC)
    except ValueError:
        return None


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
