"""What the operator does to a server by itself at planned times, and what became of that."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tracking_operator.api.base import ATOMIC, ApiModel, Duration, Rule, rules
from tracking_operator.schedule import CRON_PATTERN, ZONE_PATTERN

CronLine = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{CRON_PATTERN}')",
                'must be a cron line of five fields, such as "0 2 * * *": minute, hour, day of the month, month, day of the week; '
                "or one of @hourly, @daily, @weekly, @monthly and @yearly",
            )
        ),
    ),
]
"""When something is due, as crontab(5) has it."""

ZoneName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{ZONE_PATTERN}')",
                "must be the name of a time zone of the IANA's, such as Europe/Berlin or UTC",
            )
        ),
    ),
]
"""The name of a time zone."""


class GarbageCollectionPlan(ApiModel):
    """When what the team has deleted in MLflow is removed for good: runs and logged models, with their artifacts."""

    schedule: CronLine
    """When it is done, as a cron line of five fields, such as "0 3 * * 0". It begins up to ten minutes later, each server at another
    moment. However many times were missed, one is made up for."""
    time_zone: ZoneName = "UTC"
    """The time zone of schedule, such as Europe/Berlin. Default: UTC."""
    older_than: Duration = "30d"
    """How long ago something has to have been deleted, in hours or days. Default: 30d."""
    keep_registered: bool = True
    """Whether what a version of a registered model needs is kept, although its run is deleted. Default: true."""
    dry_run: bool = False
    """Whether it is only found what would be removed. The first time that is so in any case. Default: false."""


class KeptBackups(ApiModel):
    """Which of the planned backups that are complete are kept; the others are deleted, with what they have stored."""

    last: Annotated[int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})] = 7
    """How many of the newest are kept. Default: 7."""
    daily: Annotated[int, Field(ge=0, le=400, json_schema_extra={"format": "int32"})] = 0
    """For how many days that have a backup the newest of each is kept, too, the newest days first. Default: 0."""


class BackupPlan(ApiModel):
    """When the server is backed up, and what is kept."""

    schedule: CronLine
    """When a backup is due, as a cron line of five fields, such as "0 2 * * *". It begins up to ten minutes later, each server at
    another moment. However many were missed, one is made up for."""
    time_zone: ZoneName = "UTC"
    """The time zone of schedule and of the days of keep, such as Europe/Berlin. Default: UTC."""
    keep: KeptBackups = KeptBackups()
    """Which of the planned backups are kept. Those that somebody else has made are left alone, and so is the newest that is complete."""
    verify_every: Duration | None = None
    """How often the newest planned backup is restored for a trial, such as 7d: into a database beside the server's, which is dropped
    afterwards. What it shows is in the backup's condition Restorable. Default: never."""
    suspend: bool = False
    """Whether no backups are made for now. Those that there are stay. What is missed meanwhile is not made up for. Default: false."""


class Maintenance(ApiModel):
    """What the operator does to the server by itself at planned times."""

    backup: BackupPlan | None = None
    """When the server is backed up. Default: never."""
    garbage_collection: GarbageCollectionPlan | None = None
    """When what the team has deleted is removed for good. Default: never."""


_Amount = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
_Ids = Annotated[
    tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=20, json_schema_extra=ATOMIC)
]


class GarbageCollectionStatus(ApiModel):
    """What became of the last time that what the team has deleted was removed. Times are those of the operator."""

    begun_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When the Job of the last time was made."""
    last_run: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When it had ended."""
    first_dry_run: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When it was found for the first time what would be removed. Until then nothing is."""
    dry_run: bool | None = None
    """Whether the last time has only found what would be removed."""
    deleted_runs: _Amount | None = None
    """How many runs and logged models were removed, or would have been. Absent: it failed."""
    freed_bytes: _Amount | None = None
    """How many bytes their artifacts had. Older versions of objects, which a bucket may keep, do not count."""
    skipped_registered: _Amount | None = None
    """How many were kept because versions of registered models need them."""
    registered: _Ids = ()
    """The ids of some of these."""
    failed: _Amount | None = None
    """How many could not be removed."""
    failing: _Ids = ()
    """The ids of some of these."""
    message: Annotated[str, Field(max_length=2048)] | None = None
    """What the Job's pod has said."""
    total_freed_bytes: _Amount | None = None
    """How many bytes were freed since the plan is there."""


class MaintenanceStatus(ApiModel):
    """What was done to the server at planned times."""

    garbage_collection: GarbageCollectionStatus | None = None
    """What became of the last time that what the team has deleted was removed."""


class BackupsStatus(ApiModel):
    """How the server is backed up."""

    schedule: Annotated[str, Field(max_length=200)] | None = None
    """The plan that nextAt was found from: the cron line and the time zone. Absent: none, or one that is suspended or cannot be read."""
    next_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When the next backup is due."""
    last_planned_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When the last one was due that was begun."""
    last_complete: Annotated[str, Field(max_length=253)] | None = None
    """The newest TrackingServerBackup of the server that is complete, whoever has made it."""
    last_completed_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When all of that was stored."""
