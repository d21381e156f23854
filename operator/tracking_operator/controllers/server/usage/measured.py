"""What one measurement of a server's stores has found."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

from tracking_operator.api.tracking_server import UsageStatus


@dataclass(frozen=True)
class Measured:
    """How much a server has; None: another store has it, or it could not be told."""

    database_bytes: int | None = None
    runs: int | None = None
    models: int | None = None
    last_activity: datetime | None = None
    artifact_bytes: int | None = None
    artifact_objects: int | None = None
    artifacts_incomplete: bool | None = None

    def and_also(self, other: Self) -> Self:
        """This, and what was found in another store."""
        return replace(self, **_told(other))

    def as_of(self, now: datetime) -> UsageStatus:
        """The same as the status tells it; times are in whole seconds."""
        return UsageStatus(**_told(self), measured_at=now.replace(microsecond=0))


def _told(measured: Measured) -> dict[str, Any]:
    return {name: value for name, value in asdict(measured).items() if value is not None}
