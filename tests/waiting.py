"""Polling with a deadline: tests never sleep for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


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
    deadline = time.monotonic() + deadline_seconds
    while not (found := predicate()):
        if time.monotonic() > deadline:
            what = describe() if callable(describe) else describe
            raise AssertionError(f"not within {deadline_seconds:g} s: {what}")
        time.sleep(interval)
    return found
