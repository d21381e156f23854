"""Events: what ``kubectl describe`` shows at the bottom.

Recording never waits and never raises: an Event is a courtesy, and must not hold up a reconcile.
"""

import asyncio
import logging
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import uuid4

from tracking_operator.api.labels_and_annotations import FIELD_MANAGER
from tracking_operator.foreign_text import LONGEST_EVENT, quotable
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import KubeObject, describe, name_of, namespace_of, uid_of
from tracking_operator.shares import Bucket, Pace

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

REPEAT_AFTER: Final = timedelta(minutes=10)
"""The same event about the same object is posted at most once in this time; repetitions are counted."""

QUEUE_SIZE: Final = 200
REMEMBERED_EVENTS: Final = 10_000
MOST_WAITING: Final = 50
"""How many events about one namespace wait at most."""
PACE: Final = Pace(100.0, 0.5)
"""How many events there are about one namespace: in the beginning, and per second for good."""
REMEMBERED_NAMESPACES: Final = 5_000


@dataclass
class _Seen:
    """One event about one object: when it last was posted, first happened since, and how often."""

    posted: datetime
    first: datetime
    unposted: int = 0


_Identity = tuple[str | None, str, int]


def ignore_drops() -> None:
    """Count nothing."""


class EventRecorder:
    """Posts core/v1 Events in the background, without repeating itself.

    Each namespace has a share: what happens in one of them keeps no event of another from being posted.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        instance: str | None = None,
        version: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_dropped: Callable[[], None] = ignore_drops,
    ) -> None:
        """``instance`` and ``version`` say which operator an event is of: its pod, and its own version.

        ``on_dropped`` is called for each event that is left out because its namespace has too many.
        """
        self._client = client
        self._instance = "/".join(filter(None, (instance or socket.gethostname(), version)))
        self._now = now
        self._on_dropped = on_dropped
        self._waiting: Counter[str] = Counter()
        self._paces: OrderedDict[str, Bucket] = OrderedDict()
        self._over: set[str] = set()
        self._queue: asyncio.Queue[KubeObject] = asyncio.Queue(QUEUE_SIZE)
        self._seen: OrderedDict[_Identity, _Seen] = OrderedDict()

    def record(self, regarding: KubeObject, type_: EventType, reason: str, message: str) -> None:
        """Tell about an object. The same reason and message are posted again after ten minutes at the earliest."""
        message = quotable(message, LONGEST_EVENT)
        namespace = namespace_of(regarding) or ""
        if self._is_repetition(regarding, reason, message):
            return
        if not self._has_room_for(namespace):
            self._drop(namespace, reason, regarding)
            return
        count, first = self._count(regarding, reason, message)
        happened = {
            "type": type_,
            "reason": reason,
            "message": message,
            "count": count,
            "firstTimestamp": _timestamp(first),
            "lastTimestamp": _timestamp(self._now()),
        }
        self._over.discard(namespace)
        self._waiting[namespace] += 1
        self._queue.put_nowait(self._about(regarding) | happened)

    async def run(self) -> None:
        """Post what is recorded until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._post(event)
            finally:
                self._finish(event["involvedObject"].get("namespace") or "")

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

    def _finish(self, namespace: str) -> None:
        self._queue.task_done()
        self._waiting[namespace] -= 1
        if not self._waiting[namespace]:
            del self._waiting[namespace]

    def _has_room_for(self, namespace: str) -> bool:
        """Whether an event about a namespace can be posted; if so, it counts."""
        if self._queue.full() or self._waiting[namespace] >= MOST_WAITING:
            return False
        now = self._now().timestamp()
        pace = self._paces.get(namespace)
        if pace is None:
            pace = self._paces[namespace] = Bucket(PACE, now)
            if len(self._paces) > REMEMBERED_NAMESPACES:
                self._paces.popitem(last=False)
        self._paces.move_to_end(namespace)
        if pace.pause(now):
            return False
        pace.add(now)
        return True

    def _drop(self, namespace: str, reason: str, regarding: KubeObject) -> None:
        """Leave an event out. The first of a flood is told in the log; all are counted."""
        self._on_dropped()
        if namespace not in self._over:
            if len(self._over) >= REMEMBERED_NAMESPACES:
                self._over.clear()
            self._over.add(namespace)
            logger.warning("Dropped the event %s about %s: there are too many.", reason, describe(regarding))

    def _is_repetition(self, regarding: KubeObject, reason: str, message: str) -> bool:
        """Count an event that was posted a short while ago, and need not be again."""
        now = self._now()
        seen = self._seen.get(_identity(regarding, reason, message))
        if seen is None or now - seen.posted >= REPEAT_AFTER:
            return False
        if not seen.unposted:
            seen.first = now
        seen.unposted += 1
        return True

    def _count(self, regarding: KubeObject, reason: str, message: str) -> tuple[int, datetime]:
        """Return how often it happened since it was last posted, and since when."""
        now = self._now()
        identity = _identity(regarding, reason, message)
        seen = self._seen.get(identity)
        count = 1 + (seen.unposted if seen else 0)
        first = seen.first if seen and seen.unposted else now
        self._remember(identity, _Seen(posted=now, first=now))
        return count, first

    def _remember(self, identity: _Identity, seen: _Seen) -> None:
        self._seen[identity] = seen
        self._seen.move_to_end(identity)
        if len(self._seen) > REMEMBERED_EVENTS:
            self._seen.popitem(last=False)

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
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
        }


def _identity(regarding: KubeObject, reason: str, message: str) -> _Identity:
    """What tells events apart; of the message a number is enough, and takes little memory."""
    return (uid_of(regarding) or describe(regarding), reason, hash(message))


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
