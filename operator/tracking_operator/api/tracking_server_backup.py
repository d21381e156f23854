"""The TrackingServerBackup: a copy of one server's database and artifacts, taken once."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tracking_operator.api.base import ApiModel, Rule, with_rules
from tracking_operator.api.conditions import Condition, Conditions, ConditionType, Reason, find_condition
from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.api.labels_and_annotations import API_VERSION, FORCE_ORPHAN_ANNOTATION
from tracking_operator.api.placement import MAX_PREFIX_LENGTH, MAX_URL_LENGTH
from tracking_operator.api.tracking_server import MAX_NAME_LENGTH, DeletionPolicy, StatusText


class BackedUpArtifacts(StrEnum):
    """What is stored of the artifacts."""

    COPY = "Copy"
    NONE = "None"


class ServerReference(ApiModel):
    """A TrackingServer in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    """The name of the TrackingServer."""


class TrackingServerBackupSpec(ApiModel):
    """What is backed up. Nothing but deletionPolicy can be changed."""

    model_config = with_rules(
        Rule(
            "self.serverRef.name == oldSelf.serverRef.name "
            "&& (self.?artifacts.orValue('') == 'None') == (oldSelf.?artifacts.orValue('') == 'None')",
            "serverRef and artifacts cannot be changed, because a backup is taken once; make another TrackingServerBackup",
        )
    )

    server_ref: ServerReference
    """The server, in the same namespace. It has a database on its class's PostgreSQL and a prefix in its class's bucket."""
    artifacts: BackedUpArtifacts = BackedUpArtifacts.COPY
    """What is stored of the artifacts: Copy stores all of them, None only the database. Default: Copy."""
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """What happens to what is stored when this resource is deleted: Delete removes it, Retain keeps it in the bucket.
    Default: Delete."""


Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class TrackingServerBackupStatus(ApiModel):
    """What became of it. Written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """The metadata.generation that this status was found for."""
    conditions: Conditions = ()
    """How the backup is, by type. Complete says that all of it is stored; Ready is the same as a summary."""
    started_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When it was begun."""
    completed_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When all of it was stored. Absent: not yet, or never."""
    attempt: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})] | None = None
    """Which attempt it is, or was."""
    class_name: StatusText | None = None
    """The TrackingServerClass in whose bucket it is stored."""
    bucket: Annotated[str, Field(max_length=255)] | None = None
    """The bucket."""
    endpoint: Annotated[str, Field(max_length=MAX_URL_LENGTH)] | None = None
    """The URL of the S3 server. Absent: AWS."""
    folder: Annotated[str, Field(max_length=MAX_PREFIX_LENGTH)] | None = None
    """What the keys of its objects begin with; no server's identity reaches them."""
    size: Count | None = None
    """How many bytes are stored."""
    sha256: Annotated[str, Field(max_length=64)] | None = None
    """The SHA-256 of the manifest, which has that of each part: by it a changed byte is found."""
    mlflow_version: StatusText | None = None
    """The MLflow release of the server."""
    schema_revision: StatusText | None = None
    """The Alembic revision of the database."""
    tables: Count | None = None
    """How many tables were copied."""
    runs: Count | None = None
    """How many runs the database had."""
    objects: Count | None = None
    """How many artifacts were copied."""
    bytes: Count | None = None
    """How many bytes the artifacts have."""

    verified_at: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})] | None = None
    """When it was restored for a trial last; Restorable says what that showed."""
    scratch_database: StatusText | None = None
    """The database that it is being restored into for a trial; absent when there is none."""

    def condition(self, type_: ConditionType) -> Condition | None:
        """Return the condition of this type, or None."""
        return find_condition(self.conditions, type_)


class TrackingServerBackup(ApiModel):
    """A copy of one server's database and artifacts, taken once, where the server itself cannot reach it.

    Another server starts from it with spec.bootstrap.fromBackup.
    """

    api_version: str = API_VERSION
    kind: Literal["TrackingServerBackup"] = "TrackingServerBackup"
    metadata: ObjectMeta = ObjectMeta()
    spec: TrackingServerBackupSpec
    """What is backed up."""
    status: TrackingServerBackupStatus = TrackingServerBackupStatus()
    """What became of it. Written by the operator only."""

    @property
    def is_complete(self) -> bool:
        """Whether all of it is stored, so that it can be restored."""
        found = self.status.condition(ConditionType.COMPLETE)
        return found is not None and found.is_true

    @property
    def is_broken(self) -> bool:
        """Whether a trial has shown that what is stored is not what was stored."""
        found = self.status.condition(ConditionType.RESTORABLE)
        return found is not None and not found.is_true and found.reason == Reason.BACKUP_BROKEN

    @property
    def is_given_up(self) -> bool:
        """Whether no other attempt is made."""
        found = self.status.condition(ConditionType.COMPLETE)
        return found is not None and not found.is_true and found.reason == Reason.BACKUP_FAILED

    @property
    def may_be_orphaned(self) -> bool:
        """Whether the owner accepts that what cannot be removed stays behind."""
        return self.metadata.annotations.get(FORCE_ORPHAN_ANNOTATION) == "true"
