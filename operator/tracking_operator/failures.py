"""The three kinds of failure that every driver maps its own errors into.

A step of the control loop raises one of these and nothing else; the work queue decides from the
kind alone whether and when the server is looked at again. Which kind a reason calls for, ``outcomes.py`` says.
"""

from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.outcomes import OUTCOMES, Blamed

CONFLICT_RETRY_SECONDS: Final = 1.0
"""When to go on after somebody else changed the same thing at the same moment."""
SECRET_RETRY_SECONDS: Final = 4.0
"""When to look again at a Secret without the label for it, while a server waits for it or for a correction of it."""
UNWATCHED_RETRY_SECONDS: Final = 15.0
"""When to look again at what no watch tells of: an object that is not ours, what is in a store, a password in MLflow."""


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


def failure_for(reason: Reason, message: str, *, retry_after: float | None = None) -> Failure:
    """The failure of the kind that the reason calls for; ``retry_after`` is for what is known to pass in so many seconds.

    A store that fails is asked with a growing delay. What a person mends outside is looked at in steady steps, so that
    they see soon that they have.
    """
    outcome = OUTCOMES[reason]
    if not outcome.passes:
        return Invalid(reason, message)
    if retry_after is None and outcome.blames in (Blamed.TEAM, Blamed.PLATFORM):
        retry_after = UNWATCHED_RETRY_SECONDS
    return (
        Unavailable(reason, message)
        if retry_after is None
        else Waiting(reason, message, retry_after=retry_after)
    )
