"""What the work queue hands to the control loop, and what the control loop answers."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, order=True)
class Request:
    """One resource that wants to be looked at.

    ``namespace`` is empty for a TrackingServerClass, ``name`` where a namespace without servers has something left.
    """

    kind: Literal["TrackingServer", "TrackingServerBackup", "TrackingServerClass", "TrackingServerClient"]
    namespace: str
    name: str


@dataclass(frozen=True)
class Outcome:
    """When to look at a resource again.

    ``requeue_after`` is in seconds; None means only on a change or at the next resync. ``failed`` asks for the growing,
    jittered delay of the work queue, too: the earlier of both counts. ``reason`` is that of the condition which keeps the
    resource from being as wanted (empty: none does); it is counted in the metrics.
    """

    requeue_after: float | None = None
    failed: bool = False
    reason: str = ""
