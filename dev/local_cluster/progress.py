"""One line per step on stderr, with how long the step took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce `what` when its block has finished, with the seconds that it took."""
    started = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"{what}: failed after {time.monotonic() - started:.1f} s")
        raise
    say(f"{what}: {time.monotonic() - started:.1f} s")


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"  {line}", file=sys.stderr, flush=True)
