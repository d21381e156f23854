"""How long nobody has asked a server anything: each of its pods tells it, when it may have become long enough.

A pod that does not tell, as one that is just starting or was started by an earlier operator, keeps its server awake.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tracking_operator.controllers.server.children.pods import newest_first, server_pods
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import KubeObject
from tracking_operator.mlflow.client import MlflowApi, Target
from tracking_operator.naming import CONTAINER_PORT
from tracking_operator.resources.server_model import ServerModel

PATIENCE_SECONDS: Final = 0.5
"""How long one look waits for an answer; a later one takes it up."""
SECONDS_UNTIL_AN_ANSWER: Final = 2.0
SECONDS_UNTIL_PODS_TELL: Final = 300.0
"""When to ask again where a pod does not tell."""


@dataclass
class IdleMemory:
    """What is remembered of one server: the question that is under way, and when the next one is worth while."""

    asked: "asyncio.Task[list[int | None]] | None" = None
    next_at: datetime | None = None
    after_seconds: float = 0.0
    """For how long an idle server was to be idle when that was decided."""

    def invalidate(self) -> None:
        """Ask again at the next look."""
        self.next_at = None

    def evict(self) -> None:
        """End what is under way: the server is gone, or has no pods to ask."""
        if self.asked:
            self.asked.cancel()
        self.asked, self.next_at = None, None


@dataclass(frozen=True)
class Idleness:
    """Whether a server has been idle for long enough, and when to look again."""

    is_long_enough: bool
    look_again: float


class IdleLook:
    """Asks the pods of servers."""

    def __init__(self, cache: ObjectCache, api: MlflowApi) -> None:
        self._cache = cache
        self._api = api

    async def look(
        self, server: ServerModel, memory: IdleMemory, after_seconds: float, now: datetime
    ) -> Idleness:
        """Whether nobody has asked anything for so many seconds."""
        if memory.after_seconds != after_seconds:
            memory.invalidate()
            memory.after_seconds = after_seconds
        pods = newest_first(server_pods(telling_children(server, self._cache)))
        if memory.asked is None and memory.next_at is not None and now < memory.next_at:
            return Idleness(False, (memory.next_at - now).total_seconds())
        if memory.asked is None:
            memory.asked = asyncio.create_task(self._ask(server, pods))
        await asyncio.wait({memory.asked}, timeout=PATIENCE_SECONDS)
        if not memory.asked.done():
            return Idleness(False, SECONDS_UNTIL_AN_ANSWER)
        found, memory.asked = memory.asked.result(), None
        told = [seconds for seconds in found if seconds is not None]
        if not told or len(told) < max(len(found), len(pods)):
            memory.next_at = now + timedelta(seconds=SECONDS_UNTIL_PODS_TELL)
            return Idleness(False, SECONDS_UNTIL_PODS_TELL)
        remaining = after_seconds - min(told)
        memory.next_at = now + timedelta(seconds=max(remaining, 1.0))
        return Idleness(remaining <= 0, max(remaining, 1.0))

    async def _ask(self, server: ServerModel, pods: Sequence[KubeObject]) -> list[int | None]:
        return list(await asyncio.gather(*(self._seconds(server, pod) for pod in pods)))

    async def _seconds(self, server: ServerModel, pod: KubeObject) -> int | None:
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            return None
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{CONTAINER_PORT}{server.access.wanted.prefix}"
        return await self._api.idle_seconds(Target(url, namespace=server.namespace))
