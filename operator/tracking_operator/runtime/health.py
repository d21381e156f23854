"""Is the operator alive and ready: ``GET /healthz`` and ``GET /readyz``.

The answers come from a thread of their own. A server inside the event loop could not tell that the loop
stands still: it would stand still with it.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

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


class HealthServer:
    """Answers 200 when no check has a problem, else 503 with the sentences."""

    def __init__(self, port: int, *, alive: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        checks = {"/healthz": dict(alive), "/readyz": dict(ready)}
        self._server = ThreadingHTTPServer(("", port), _handler_for(checks))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_for(checks: Mapping[str, Mapping[str, Check]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path not in checks:
                self._answer(HTTPStatus.NOT_FOUND, {"paths": sorted(checks)})
                return
            problems = {name: problem for name, check in checks[path].items() if (problem := check())}
            status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
            self._answer(status, {"status": "problem" if problems else "ok", "problems": problems})

        def _answer(self, status: HTTPStatus, content: Mapping[str, object]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — inherited name
            """Say nothing: a probe every few seconds is no news."""

    return Handler
