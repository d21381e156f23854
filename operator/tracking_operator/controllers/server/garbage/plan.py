"""When garbage is collected next, and what is told of the last time. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tracking_operator.api.maintenance import GarbageCollectionPlan, GarbageCollectionStatus
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.pods import Collected
from tracking_operator.schedule import jitter_of, schedule_of

LONGEST_JITTER: Final = timedelta(minutes=10)
LONGEST_MESSAGE: Final = 2048


@dataclass(frozen=True)
class Turn:
    """Whether the Job is to be made now, and if not, when."""

    is_due: bool
    seconds: float = 0.0
    is_dry_run: bool = False


def known_garbage(resource: TrackingServer) -> GarbageCollectionStatus:
    """What is known of the last time."""
    maintenance = resource.status.maintenance
    return (maintenance and maintenance.garbage_collection) or GarbageCollectionStatus()


def turn_of(
    plan: GarbageCollectionPlan, known: GarbageCollectionStatus, server_uid: str, now: datetime
) -> Turn:
    """When the next time is. The first one is at once, and removes nothing. Raises BadScheduleError."""
    is_dry_run = plan.dry_run or known.first_dry_run is None
    schedule = schedule_of(plan.schedule, plan.time_zone)
    if known.begun_at is None:
        return Turn(True, is_dry_run=is_dry_run)
    jitter = jitter_of(server_uid, LONGEST_JITTER)
    if schedule.due_slot(known.begun_at, now - jitter) is not None:
        return Turn(True, is_dry_run=is_dry_run)
    return Turn(
        False, (schedule.next_after(max(known.begun_at, now - jitter)) + jitter - now).total_seconds()
    )


def next_time(plan: GarbageCollectionPlan, server_uid: str, now: datetime) -> datetime:
    """When it is done next, as an Event says it. Raises BadScheduleError."""
    jitter = jitter_of(server_uid, LONGEST_JITTER)
    return schedule_of(plan.schedule, plan.time_zone).next_after(now - jitter) + jitter


def after_success(
    known: GarbageCollectionStatus, collected: Collected, message: str, now: datetime
) -> GarbageCollectionStatus:
    """What is told once a Job has ended well."""
    freed = 0 if collected.dry_run else collected.bytes
    return GarbageCollectionStatus(
        begun_at=known.begun_at,
        last_run=now.replace(microsecond=0),
        first_dry_run=known.first_dry_run or (now.replace(microsecond=0) if collected.dry_run else None),
        dry_run=collected.dry_run,
        deleted_runs=collected.removed,
        freed_bytes=collected.bytes,
        skipped_registered=collected.kept_count,
        registered=collected.kept,
        failed=collected.failed_count,
        failing=collected.failed,
        message=message[:LONGEST_MESSAGE],
        total_freed_bytes=(known.total_freed_bytes or 0) + freed,
    )


def after_failure(known: GarbageCollectionStatus, message: str, now: datetime) -> GarbageCollectionStatus:
    """What is told once a Job has given up: what was removed before stays told as a sum only."""
    return GarbageCollectionStatus(
        begun_at=known.begun_at,
        last_run=now.replace(microsecond=0),
        first_dry_run=known.first_dry_run,
        message=message[:LONGEST_MESSAGE],
        total_freed_bytes=known.total_freed_bytes,
    )


def made_at(job: LiveJob, now: datetime) -> datetime:
    """When a Job was made."""
    text = job.job["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(text).astimezone(UTC) if text else now.replace(microsecond=0)
