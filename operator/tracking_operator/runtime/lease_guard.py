"""Ends the process when its Lease has run out and the event loop, which should notice that, stands still.

Threads go on writing to stores while the loop stands still, and another operator may be at work by then.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

SECONDS_BETWEEN_LOOKS: Final = 0.5


class LeaseGuard:
    """Looks at the clock from a thread of its own."""

    def __init__(
        self,
        runs_out_at: Callable[[], float | None],
        on_lost: Callable[[], None],
        *,
        pause: float = SECONDS_BETWEEN_LOOKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``runs_out_at`` tells when others may take the Lease, by ``clock``; None while it is not ours."""
        self._runs_out_at = runs_out_at
        self._on_lost = on_lost
        self._pause = pause
        self._clock = clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease guard", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            at = self._runs_out_at()
            if at is not None and self._clock() >= at:
                self._on_lost()
                return
