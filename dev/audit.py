"""Reading the API server's audit log: who called what, for tests and measurements that count API calls."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

FINISHED = "ResponseComplete"
"""The stage of a call that is over; a watch has an event of another stage when it starts."""

LONGEST_LINE = 64 * 1024
"""No event is longer than this many bytes: only metadata is logged."""


@dataclass(frozen=True)
class ApiCall:
    """One finished call of the Kubernetes API."""

    user: str
    user_agent: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @property
    def is_write(self) -> bool:
        """Whether the call could change something."""
        return self.verb in {"create", "update", "patch", "delete", "deletecollection"}


class AuditLog:
    """The calls since a mark: `log.mark()`, do something, `log.calls()`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0

    def mark(self) -> None:
        """Forget every call that the API server has logged so far."""
        with self._file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = log.seek(max(0, size - LONGEST_LINE))
            tail = log.read(size - start)
        # The last line may be half written.
        self._position = start + tail.rfind(b"\n") + 1

    def calls(self) -> list[ApiCall]:
        """The calls that have finished since the mark; long-running watches appear when they end."""
        with self._file.open("rb") as log:
            log.seek(self._position)
            complete_lines = log.read().rpartition(b"\n")[0].splitlines()
        events = (json.loads(line) for line in complete_lines)
        return [_call(event) for event in events if event.get("stage") == FINISHED]


def _call(event: dict[str, dict[str, str]]) -> ApiCall:
    target = event.get("objectRef", {})
    return ApiCall(
        user=event["user"].get("username", ""),
        user_agent=str(event.get("userAgent", "")),
        verb=str(event["verb"]),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=int(event.get("responseStatus", {}).get("code", 0)),
    )
