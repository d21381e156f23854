"""What is remembered of how much one server has, between two looks: the measurement that is under way."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from tracking_operator.api.tracking_server import UsageStatus


@dataclass
class UsageMemory:
    """The measurement of one server; what it finds is kept by the server's status."""

    known_since: datetime | None = None
    """When this process looked at the server for the first time."""
    under_way: "asyncio.Task[UsageStatus | None] | None" = None

    def meet(self, now: datetime) -> datetime:
        """When this process looked at the server for the first time: now, if it never has."""
        self.known_since = self.known_since or now
        return self.known_since

    def take(self) -> UsageStatus | None:
        """What a measurement that has ended has found, once; None: there is none, or it found nothing."""
        if self.under_way is None or not self.under_way.done():
            return None
        ended, self.under_way = self.under_way, None
        return ended.result()

    def evict(self) -> None:
        """End what is under way: the server is gone."""
        if self.under_way:
            self.under_way.cancel()
        self.under_way = None
