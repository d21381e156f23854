"""How a program tells what it found, and how long it waits for what may be over soon."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

from tracking_operator.outcomes import EXIT_CODES, OUTCOMES

Found = TypeVar("Found")
TERMINATION_LOG = Path(os.environ.get("TRACKING_OPERATOR_TERMINATION_LOG", "/dev/termination-log"))
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 1.0
ATTEMPT_SECONDS = 20.0
"""For one attempt as a whole: a database server that is frozen accepts connections and questions, and says nothing."""
LONGEST_MESSAGE = 600
"""In characters. Kubelet keeps 4096 bytes of a termination log, and half a JSON object cannot be read."""


class CheckFailed(Exception):
    """The server must not start on this store; ``reason`` is one of those with an exit code in ``outcomes.py``."""

    def __init__(self, reason: str, message: str, *, is_awaited: bool | None = None) -> None:
        """``is_awaited`` is for what passes otherwise than the table says: whether it may be over within our patience."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.is_awaited = OUTCOMES[reason].pods_wait if is_awaited is None else is_awaited


def report(
    reason: str,
    message: str,
    revision: str = "",
    *,
    login_revision: str = "",
    is_remark: bool = False,
    collected: Mapping[str, object] | None = None,
) -> int:
    """Tell the log and the operator what was found; return the exit code that says the same.

    A remark has a reason although all is well: the exit code is 0. ``collected`` is what became of garbage.
    """
    print(message, file=sys.stderr if reason else sys.stdout, flush=True)
    # Outside a pod there may be no termination log; what was found is already printed.
    with contextlib.suppress(OSError):
        said: dict[str, object] = {
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "revision": revision,
        }
        said |= {"loginRevision": login_revision} if login_revision else {}
        said |= {"collected": dict(collected)} if collected else {}
        TERMINATION_LOG.write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
    return EXIT_CODES[reason] if reason and not is_remark else 0


def with_retries(
    check: Callable[[], Found],
    *,
    what: str = "The database",
    seconds: float | None = None,
    attempt_seconds: float | None = None,
) -> Found:
    """Repeat a check while its failure may pass by itself: for so many seconds, or a minute; each attempt is bounded, too."""
    deadline = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
    said = ""
    while True:
        try:
            return bounded(check, what, attempt_seconds)
        except CheckFailed as failure:
            if not failure.is_awaited or time.monotonic() >= deadline:
                raise
            if failure.message != said:
                said = failure.message
                print(f"{said} Trying again.", file=sys.stderr, flush=True)
        time.sleep(RETRY_SECONDS)


def bounded(check: Callable[[], Found], what: str = "The database", seconds: float | None = None) -> Found:
    """Run a check in a thread that can be left behind: what hangs in a C library cannot be interrupted."""
    outcome: Future[Found] = Future()

    def run() -> None:
        try:
            outcome.set_result(check())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    limit = ATTEMPT_SECONDS if seconds is None else seconds
    wait([outcome], limit)
    if not outcome.done():
        raise CheckFailed(
            "StoreUnreachable",
            f"{what} does not answer: it said nothing for {limit:.0f} s.",
        )
    return outcome.result()
