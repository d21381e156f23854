"""Seeing changes in the cluster the moment they arrive, by this process's own clock."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import open_session
from tracking_operator.kube.objects import Kind, KubeObject, kind_of, name_of, namespace_of

Place = tuple[Kind, str | None, str]
"""Kind, namespace and name of an object."""

PATIENCE_SECONDS: Final = 60.0
LARGEST_LINE: Final = 4 * 1024 * 1024
"""In bytes: an object is at most 1.5 MiB in etcd, and longer in JSON with its managed fields."""
LARGE_LINE: Final = 100_000
"""The data of an object that takes more than this is not kept."""


@dataclass(frozen=True)
class Sighting:
    """One change, and when it was seen, in seconds of the monotonic clock."""

    moment: float
    change: str
    """ADDED, MODIFIED or DELETED."""
    obj: KubeObject

    @property
    def place(self) -> Place:
        """Which object it is about."""
        return place_of(self.obj)


def place_of(obj: KubeObject) -> Place:
    """Return what tells the object from all others."""
    return kind_of(obj), namespace_of(obj), name_of(obj)


class NotSeenError(Exception):
    """What was waited for did not happen in time; the text says what it was."""


@dataclass
class Watcher:
    """Remembers every change of the watched kinds, in the order of arrival."""

    seen: list[Sighting] = field(default_factory=list)
    overlooked: tuple[bytes, ...] = ()
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def overlook(self, namespaces: Iterable[str]) -> None:
        """Read nothing more about objects in these namespaces: reading a flood takes time that somebody measures."""
        self.overlooked = tuple(f'"namespace":"{name}"'.encode() for name in namespaces)

    def mark(self) -> int:
        """Return the present, to look at what comes after it."""
        return len(self.seen)

    async def first(
        self,
        matches: Callable[[Sighting], bool],
        what: str,
        *,
        since: int,
        patience: float = PATIENCE_SECONDS,
    ) -> Sighting:
        """Wait for the first matching change after a mark. Raises NotSeenError after ``patience`` seconds."""
        position = since
        try:
            async with asyncio.timeout(patience):
                while True:
                    while position < len(self.seen):
                        if matches(self.seen[position]):
                            return self.seen[position]
                        position += 1
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise NotSeenError(f"Not within {patience:g} s: {what}.") from error

    async def all_added(self, places: Iterable[Place], *, since: int) -> list[Sighting]:
        """Wait until each of the objects has been added; return the changes by which they were."""
        return [
            await self.first(
                lambda sighting, place=place: sighting.change == "ADDED" and sighting.place == place,  # type: ignore[misc]
                f"{place[0]} {place[1]}/{place[2]} exists",
                since=since,
            )
            for place in places
        ]

    def remember(self, sighting: Sighting) -> None:
        """Take note of a change."""
        self.seen.append(sighting)
        self._news.set()


@contextlib.asynccontextmanager
async def watching(
    kube: KubeClient, kinds: Sequence[Kind], namespace: str | None = None, *, watcher: Watcher | None = None
) -> AsyncIterator[Watcher]:
    """Watch some kinds in one namespace, or in all, while the block runs; ``watcher`` remembers what is seen."""
    watcher = watcher or Watcher()
    connected = [asyncio.Event() for _ in kinds]
    async with open_session(kube.configuration) as session:
        streams = [
            asyncio.create_task(_stream(kube, session, kind, namespace, watcher=watcher, connected=event))
            for kind, event in zip(kinds, connected, strict=True)
        ]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(event.wait() for event in connected))
            yield watcher
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)


async def _stream(
    kube: KubeClient,
    session: aiohttp.ClientSession,
    kind: Kind,
    namespace: str | None,
    *,
    watcher: Watcher,
    connected: asyncio.Event,
) -> None:
    _, version = await kube.list_with_version(kind, namespace)
    # The API server ends every watch after a while, and at once that of a client which is slow to read.
    while True:
        async with session.get(
            f"{kube.configuration.host}{kind.path(namespace)}",
            params={"watch": "true", "resourceVersion": str(version)},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=LARGEST_LINE,
        ) as response:
            response.raise_for_status()
            connected.set()
            while line := await response.content.readline():
                moment = time.monotonic()
                if any(sign in line for sign in watcher.overlooked):
                    continue
                event = json.loads(line)
                if event["type"] == "ERROR":
                    # Too old. Whoever waits for what came in between will say so.
                    _, version = await kube.list_with_version(kind, namespace)
                    break
                version = event["object"]["metadata"]["resourceVersion"]
                if len(line) > LARGE_LINE:
                    event["object"].pop("data", None)
                watcher.remember(Sighting(moment, event["type"], event["object"]))
