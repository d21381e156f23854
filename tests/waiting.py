"""Polling with a deadline: tests never sleep for a fixed time."""

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

Result = TypeVar("Result")

PATIENCE: Final = float(os.environ.get("TRACKING_OPERATOR_TEST_PATIENCE", "1"))
"""By how much deadlines are longer: for a machine that builds Kubernetes at the same time. How fast things are is measured by `make bench`."""


OF_THE_WAIT: Final = 0.05
"""What has been waited for long is asked for less often: asking takes time of the machine from what is waited for."""
LONGEST_INTERVAL_SECONDS: Final = 0.5


def patient(seconds: float) -> float:
    """A deadline of the tests, for whatever waits by itself: a process, a request, a program's output."""
    return seconds * PATIENCE


def wait_until(
    predicate: Callable[[], Result | None],
    deadline_seconds: float,
    describe: str | Callable[[], str],
    *,
    interval: float = 0.05,
) -> Result:
    """Return what `predicate()` gives as soon as that is true; fail with `describe` after `deadline_seconds`.

    `describe` says what was expected; as a function it may say what was found instead.
    """
    deadline_seconds = patient(deadline_seconds)
    begun = time.monotonic()
    while not (found := predicate()):
        waited = time.monotonic() - begun
        if waited > deadline_seconds:
            what = describe() if callable(describe) else describe
            raise AssertionError(f"not within {deadline_seconds:g} s: {what}")
        time.sleep(max(interval, min(waited * OF_THE_WAIT, LONGEST_INTERVAL_SECONDS)))
    return found
