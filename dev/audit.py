"""Reading the API server's audit log: who called what, for tests and measurements that count API calls."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.local_cluster.waiting import wait_until

BEGUN = "RequestReceived"
FINISHED = "ResponseComplete"
"""The stages of a call: logged before it can have an effect, and when it is over. Panics and watches have more."""

LONG_RUNNING = {"attach", "exec", "log", "portforward", "proxy"}
"""Subresources whose calls last as long as their user likes; so do watches."""

SECONDS_FOR_CALLS_TO_END = 10.0

AuditEvent = Mapping[str, Any]

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
    is_dry_run: bool = False

    @property
    def is_write(self) -> bool:
        """Whether the call could change something."""
        return not self.is_dry_run and self.verb in {
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
        }


class AuditLog:
    """The calls since a mark: `log.mark()`, do something, `log.calls()`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0

    def mark(self) -> None:
        """Forget every call that has begun so far."""
        with self._file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = log.seek(max(0, size - LONGEST_LINE))
            tail = log.read(size - start)
        # The last line may be half written.
        self._position = start + tail.rfind(b"\n") + 1

    def calls(self) -> list[ApiCall]:
        """The calls that have begun since the mark and are over; a watch appears when it ends.

        A write is visible to others before it is logged as over, so calls that are under way are waited for.
        """
        under_way = {
            str(event["auditID"])
            for event in self._events()
            if event["stage"] == BEGUN and not _is_long_running(event)
        }
        wait_until(
            lambda: under_way <= self._finished().keys(),
            seconds=SECONDS_FOR_CALLS_TO_END,
            otherwise=lambda: f"{self._file} does not say that calls have ended which began before.",
        )
        return [_call(event) for event in self._finished().values()]

    def _finished(self) -> dict[str, AuditEvent]:
        """The events that end a call which has begun since the mark, by the call's number."""
        begun: set[str] = set()
        finished = {}
        for event in self._events():
            if event["stage"] == BEGUN:
                begun.add(event["auditID"])
            elif event["stage"] == FINISHED and event["auditID"] in begun:
                finished[str(event["auditID"])] = event
        return finished

    def _events(self) -> list[AuditEvent]:
        with self._file.open("rb") as log:
            log.seek(self._position)
            complete_lines = log.read().rpartition(b"\n")[0].splitlines()
        return [json.loads(line) for line in complete_lines]


def _is_long_running(event: AuditEvent) -> bool:
    return event["verb"] == "watch" or event.get("objectRef", {}).get("subresource") in LONG_RUNNING


def _call(event: AuditEvent) -> ApiCall:
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
        is_dry_run="dryRun=All" in str(event.get("requestURI", "")),
    )
