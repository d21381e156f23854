"""Counting the operator's API calls in the API server's audit log."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dev.audit import ApiCall, AuditLog

QUESTIONS: Final = frozenset({"selfsubjectaccessreviews"})
"""Created in order to be answered; nothing is stored."""

QUIET_SECONDS: Final = 0.5
SETTLING_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class CallCount:
    """The calls of one user, without watches; Lease renewals and Events are counted apart."""

    calls: Mapping[tuple[str, str], int]
    """By verb and resource; a subresource is written ``trackingservers/status``, what is no resource ``discovery``."""
    events: int
    lease_calls: int

    @property
    def total(self) -> int:
        """Every counted call."""
        return sum(self.calls.values())

    @property
    def writes(self) -> int:
        """The calls that could change something."""
        return sum(count for (verb, resource), count in self.calls.items() if is_write(verb, resource))

    @property
    def status_writes(self) -> int:
        """The writes of a status."""
        return sum(count for (verb, resource), count in self.calls.items() if is_status_write(verb, resource))

    @property
    def reads(self) -> int:
        """The calls that changed nothing."""
        return self.total - self.writes


def is_write(verb: str, resource: str) -> bool:
    """Whether a call could change something that is stored."""
    return verb in {"create", "update", "patch", "delete", "deletecollection"} and resource not in QUESTIONS


def is_status_write(verb: str, resource: str) -> bool:
    """Whether a call writes a status."""
    return is_write(verb, resource) and resource.endswith("/status")


def count_calls(calls: Iterable[ApiCall], user: str) -> CallCount:
    """Count what one user called. A watch is left out: it is one call that lasts for minutes."""
    made = [call for call in calls if call.user == user and call.verb != "watch"]
    counted = Counter(
        (call.verb, _resource(call)) for call in made if call.resource not in {"events", "leases"}
    )
    return CallCount(
        calls=dict(counted),
        events=sum(call.resource == "events" for call in made),
        lease_calls=sum(call.resource == "leases" for call in made),
    )


def sum_of(counts: Iterable[CallCount]) -> CallCount:
    """Add up several counts."""
    each = list(counts)
    added: Counter[tuple[str, str]] = Counter()
    for count in each:
        added.update(count.calls)
    return CallCount(
        dict(added), sum(count.events for count in each), sum(count.lease_calls for count in each)
    )


def _resource(call: ApiCall) -> str:
    name = call.resource or "discovery"
    return f"{name}/{call.subresource}" if call.subresource else name


class OperatorCalls:
    """What the operator has called since a mark."""

    def __init__(self, log: AuditLog, user: str) -> None:
        self._log = log
        self._user = user

    def mark(self) -> None:
        """Begin to count."""
        self._log.mark()

    def count(self) -> CallCount:
        """The calls that have ended since the mark."""
        return count_calls(self._log.calls(), self._user)

    async def settled(self, quiet_seconds: float = QUIET_SECONDS) -> CallCount:
        """Wait until the operator has called nothing for a while; return what it called since the mark.

        Raises TimeoutError: it goes on and on.
        """
        count, since = self.count(), time.monotonic()
        async with asyncio.timeout(SETTLING_SECONDS):
            while time.monotonic() - since < quiet_seconds:
                await asyncio.sleep(POLL_SECONDS)
                latest = self.count()
                if (latest.calls, latest.events) != (count.calls, count.events):
                    count, since = latest, time.monotonic()
        return count
