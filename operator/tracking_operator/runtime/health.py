"""Is the operator alive and ready: ``GET /healthz`` and ``GET /readyz``.

The answers come from a thread of their own. A server inside the event loop could not tell that the loop
stands still: it would stand still with it.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from tracking_operator.runtime.bounded_server import Answer, BoundedServer

Check = Callable[[], str | None]
"""Returns a sentence about what is wrong, or None. Runs in another thread: it may only read."""

BEAT_SECONDS: Final = 1.0
LONGEST_STALL_SECONDS: Final = 15.0


class Heartbeat:
    """Notices when the event loop stands still."""

    def __init__(
        self,
        *,
        longest_stall: float = LONGEST_STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_stall = longest_stall
        self._clock = clock
        self._last = clock()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(min(BEAT_SECONDS, self._longest_stall / 4))

    def problem(self) -> str | None:
        """Say for how long the loop has stood still, if that is too long."""
        stalled = self._clock() - self._last
        if stalled <= self._longest_stall:
            return None
        return f"The event loop has stood still for {stalled:.0f} s."


class HealthServer(BoundedServer):
    """Answers 200 when no check has a problem, else 503 with the sentences."""

    def __init__(self, port: int, *, alive: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        checks = {"/healthz": dict(alive), "/readyz": dict(ready)}
        super().__init__(port, lambda path: _answer(checks, path), name="health")


def _answer(checks: Mapping[str, Mapping[str, Check]], path: str) -> Answer:
    if path not in checks:
        return _json(HTTPStatus.NOT_FOUND, {"paths": sorted(checks)})
    problems = {name: problem for name, check in checks[path].items() if (problem := check())}
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return _json(status, {"status": "problem" if problems else "ok", "problems": problems})


def _json(status: HTTPStatus, content: Mapping[str, object]) -> Answer:
    return Answer(status, "application/json", json.dumps(content).encode())
