"""Events: what ``kubectl describe`` shows at the bottom.

Recording never waits and never raises: an Event is a courtesy, and must not hold up a reconcile.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import uuid4

from tracking_operator.api.marks import FIELD_MANAGER
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import KubeObject, describe, name_of, namespace_of, uid_of

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

REPEAT_AFTER: Final = timedelta(minutes=10)
"""The same event about the same object is posted at most once in this time; repetitions are counted."""

QUEUE_SIZE: Final = 200
REMEMBERED_EVENTS: Final = 10_000
LONGEST_MESSAGE: Final = 1024
"""The API server refuses longer ones (k8s.io/kubernetes/pkg/apis/core/validation, NoteLengthLimit)."""


@dataclass
class _Seen:
    """One event about one object: when it last was posted, first happened since, and how often."""

    posted: datetime
    first: datetime
    unposted: int = 0


_Identity = tuple[str | None, str, str]


class EventRecorder:
    """Posts core/v1 Events in the background, without repeating itself."""

    def __init__(
        self,
        client: KubeClient,
        *,
        component: str = FIELD_MANAGER,
        instance: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._component = component
        self._instance = instance or os.environ.get("HOSTNAME") or component
        self._now = now
        self._queue: asyncio.Queue[KubeObject] = asyncio.Queue(QUEUE_SIZE)
        self._seen: dict[_Identity, _Seen] = {}

    def record(self, regarding: KubeObject, type_: EventType, reason: str, message: str) -> None:
        """Tell about an object. The same reason and message are posted again after ten minutes at the earliest."""
        count, first = self._count(regarding, reason, message)
        if count == 0:
            return
        happened = {
            "type": type_,
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "count": count,
            "firstTimestamp": _timestamp(first),
            "lastTimestamp": _timestamp(self._now()),
        }
        try:
            self._queue.put_nowait(self._about(regarding) | happened)
        except asyncio.QueueFull:
            logger.warning("Dropped the event %s about %s: too many wait.", reason, describe(regarding))

    async def run(self) -> None:
        """Post what is recorded until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._post(event)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until everything recorded so far has been posted or given up; ``run`` has to be running."""
        await self._queue.join()

    async def _post(self, event: KubeObject) -> None:
        try:
            await self._client.create(event)
        except ApiError as error:
            logger.warning(
                "Could not post the event %s about %s %s: %s",
                event["reason"],
                event["involvedObject"]["kind"],
                event["involvedObject"]["name"],
                error.message,
            )

    def _count(self, regarding: KubeObject, reason: str, message: str) -> tuple[int, datetime]:
        """Return how often it happened since it was last posted, or 0 when it is too early to post it again."""
        now = self._now()
        identity = (uid_of(regarding) or describe(regarding), reason, message)
        seen = self._seen.get(identity)
        if seen is not None and now - seen.posted < REPEAT_AFTER:
            if not seen.unposted:
                seen.first = now
            seen.unposted += 1
            return 0, now
        count = 1 + (seen.unposted if seen else 0)
        first = seen.first if seen and seen.unposted else now
        self._remember(identity, _Seen(posted=now, first=now))
        return count, first

    def _remember(self, identity: _Identity, seen: _Seen) -> None:
        self._seen[identity] = seen
        if len(self._seen) > REMEMBERED_EVENTS:
            oldest = self._now() - REPEAT_AFTER
            self._seen = {key: value for key, value in self._seen.items() if value.posted > oldest}

    def _about(self, regarding: KubeObject) -> KubeObject:
        about = {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": namespace_of(regarding),
            "name": name_of(regarding),
            "uid": uid_of(regarding),
            "resourceVersion": regarding["metadata"].get("resourceVersion"),
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": namespace_of(regarding) or "default",
                "name": f"{name_of(regarding)[:200]}.{uuid4().hex[:16]}",
            },
            "involvedObject": {key: value for key, value in about.items() if value},
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
