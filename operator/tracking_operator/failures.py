"""The three kinds of failure that every driver maps its own errors into.

A step of the control loop raises one of these and nothing else; the work queue decides from the
kind alone whether and when the server is looked at again.
"""

from typing import Final

from tracking_operator.api.conditions import Reason

CONFLICT_RETRY_SECONDS: Final = 1.0
"""When to go on after somebody else changed the same thing at the same moment."""


class Failure(Exception):
    """Something that keeps a tracking server from being as its owner wants it.

    ``reason`` is the machine-readable word of the condition; ``message`` is a sentence that says
    what happened, to which resource, and what to do. Neither ever holds a secret.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Invalid(Failure):
    """A person must change something; looking again before that is of no use."""


class Waiting(Failure):
    """Normal and temporary: look again when the world reports a change, or after ``retry_after`` seconds."""

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Unavailable(Failure):
    """Another system does not answer as it should: try again with a growing, jittered delay."""
