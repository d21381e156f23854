"""Which planned backups are deleted. Pure."""

from collections.abc import Sequence
from datetime import date, tzinfo

from tracking_operator.api.maintenance import KeptBackups
from tracking_operator.controllers.server.maintenance.planned_backups import PlannedBackup


def expired(backups: Sequence[PlannedBackup], keep: KeptBackups, zone: tzinfo) -> list[PlannedBackup]:
    """The planned backups that are not kept: what is complete and one too many, and what was given up before one that is complete.

    ``backups`` begins with the newest. Days are those of the zone, by when a backup was due. The newest that is complete always
    stays.
    """
    complete = [one for one in backups if one.backup.is_complete]
    if not complete:
        return []
    kept = {one.name for one in [*complete[: keep.last], *_newest_of_days(complete, keep.daily, zone)]}
    outlived = [one for one in backups if one.backup.is_given_up and one.due_at < complete[0].due_at]
    return [one for one in [*complete, *outlived] if one.name not in kept]


def _newest_of_days(complete: Sequence[PlannedBackup], days: int, zone: tzinfo) -> Sequence[PlannedBackup]:
    """The newest of each day, for so many days that have one."""
    found: dict[date, PlannedBackup] = {}
    for one in complete:
        found.setdefault(one.due_at.astimezone(zone).date(), one)
    return list(found.values())[:days]
