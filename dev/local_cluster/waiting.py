"""Polling with a deadline."""

import time
from collections.abc import Callable

from dev.local_cluster.failures import ClusterError


def wait_until(
    holds: Callable[[], bool], *, seconds: float, otherwise: Callable[[], str], interval: float = 0.05
) -> None:
    """Return as soon as `holds()` is true; raise ClusterError with `otherwise()` when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise ClusterError(otherwise())
        time.sleep(interval)
