"""The informers: kopf lists and watches, the cache remembers, the queue is told which keys to look at.

This is all that kopf does here. It decides nothing and writes nothing. Its index handlers would tell when all lists
are complete, but take time that grows with the square of the number of objects (70 s of CPU for 3,500), and never
learn of what is deleted while a watch is down; and it holds many objects in memory at once, as large as tenants make
them. So lists and events are taken from the traffic, on their way to kopf.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, cast

import kopf

from tracking_operator.controllers.kinds import (
    TRACKING_SERVER,
    TRACKING_SERVER_BACKUP,
    TRACKING_SERVER_CLASS,
    TRACKING_SERVER_CLIENT,
)
from tracking_operator.controllers.request import Request
from tracking_operator.kube.cache import ObjectCache, Place, place_of
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import CONNECT_TIMEOUT_SECONDS, REQUEST_TIMEOUT_SECONDS, open_session
from tracking_operator.kube.objects import KubeObject, kind_of
from tracking_operator.runtime.watch_traffic import (
    GRACE_SECONDS,
    OBJECTS_PER_PAGE,
    WATCH_SECONDS,
    ListPage,
    Response,
    WatchEvent,
    WatchTraffic,
)
from tracking_operator.runtime.watched_kinds import WATCHED, Watched
from tracking_operator.runtime.work_queue import Priority, WorkQueue

Route = Callable[[KubeObject, ObjectCache], Sequence[Request]]
"""Which resources an event about an object concerns."""

STOP_SECONDS: Final = 3.0
"""How long kopf may take to stop."""

LOGIN_PAUSE_SECONDS: Final = 2.0


def tell_nobody(obj: KubeObject) -> None:
    """Let an object pass."""


class InformersFailedError(Exception):
    """kopf has stopped although nobody asked it to; the cache is out of date from now on."""


class Informers:
    """Keeps the cache as the cluster is, and adds the concerned keys to the queue.

    No key is added before all kinds have been listed once: until then the cache would show children as
    missing that merely have not been read.
    """

    def __init__(
        self,
        client: KubeClient,
        cache: ObjectCache,
        queue: WorkQueue[Request],
        route: Route,
        *,
        namespaces: tuple[str, ...] = (),
        watched: Sequence[Watched] = WATCHED,
        may_vanish: bool = False,
        on_seen: Callable[[KubeObject], None] = tell_nobody,
        on_gone: Callable[[KubeObject], None] = tell_nobody,
        watch_seconds: int = WATCH_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """``on_seen`` is called with each object that is reported, ``on_gone`` with each that is not there any more."""
        self._configuration = client.configuration
        self._cache = cache
        self._queue = queue
        self._route = route
        self._namespaces = namespaces
        self._watched = watched
        self._on_seen, self._on_gone = on_seen, on_gone
        self._watch_seconds = watch_seconds
        self._collections = {
            each.kind.path(namespace): (each, namespace)
            for each in watched
            for namespace in each.namespaces(namespaces)
        }
        self._vanished = asyncio.Event()
        self.traffic = WatchTraffic(
            self._collections,
            on_page=self._take_in,
            on_event=self._hear,
            on_absent=self._vanished.set if may_vanish else None,
            watch_seconds=watch_seconds,
            grace_seconds=grace_seconds,
        )
        self._present: dict[str, set[Place]] = {}
        self._unlisted = set(self._collections)
        self._synced = asyncio.Event()
        self._next_login = 0.0
        self._tasks: Collection[asyncio.Task[None]] = ()

    @property
    def is_synced(self) -> bool:
        """Whether everything has been listed once."""
        return self._synced.is_set()

    async def wait_until_synced(self) -> None:
        """Wait until everything has been listed once."""
        await self._synced.wait()

    async def start(self) -> None:
        """Begin to list and watch. kopf takes over SIGTERM and SIGINT here: install your own handlers afterwards."""
        self._tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )

    async def run(self) -> None:
        """Go on until cancelled, or until the cluster does not know a kind any more that ``may_vanish``.

        Raises InformersFailedError when kopf stops by itself.
        """
        vanished = asyncio.create_task(self._vanished.wait(), name="kinds that vanish")
        try:
            ended, _ = await asyncio.wait([*self._tasks, vanished], return_when=asyncio.FIRST_COMPLETED)
        finally:
            vanished.cancel()
            await _stop(self._tasks)
        if vanished not in ended:
            raise InformersFailedError(_why(task for task in self._tasks if task in ended))

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for kind in (watched.kind for watched in self._watched):
            # kopf watches what has a handler; it is never called, because kopf is given no object.
            kopf.on.event(kind.group, kind.version, kind.plural, id=kind.plural, registry=registry)(_ignore)
        return registry

    def _hear(self, event: WatchEvent) -> None:
        """Take in what a watch reports."""
        watched, _ = self._collections[event.path]
        if event.type == "DELETED":
            self._cache.remove(event.object)
            self._on_gone(event.object)
            self._add_keys(event.object, Priority.CHANGE)
        else:
            self._remember(event.object, watched)

    def _take_in(self, page: ListPage) -> None:
        """Remember a part of a list; with the last one, find out what is gone."""
        watched, namespace = self._collections[page.path]
        kind = watched.kind
        types = {"apiVersion": kind.api_version, "kind": kind.kind}
        objects = [types | obj for obj in page.objects]
        present = set() if page.is_first else self._present.pop(page.path, set())
        present.update(place_of(obj) for obj in objects)
        for obj in objects:
            self._remember(obj, watched)
        if not page.is_last:
            self._present[page.path] = present
            return
        for gone in self._cache.evict_absent(kind, present, page.version, namespace=namespace):
            self._on_gone(gone)
            self._add_keys(gone, Priority.CHANGE)
        self._note_listed(page.path)

    def _note_listed(self, path: str) -> None:
        self._unlisted.discard(path)
        if self._unlisted or self._synced.is_set():
            return
        self._synced.set()
        for kind in (each.kind for each in self._watched if each.kind in _OWN):
            for obj in self._cache.list(kind):
                self._add_keys(obj, Priority.RESYNC)

    def _remember(self, obj: KubeObject, watched: Watched) -> None:
        """Put an object into the cache, and tell whom it concerns unless it is the echo of our own write.

        What it was before counts as well: a child whose label somebody changed is missed by its old owner.
        """
        self._on_seen(obj)
        before = self._cache.with_another_owner(obj)
        if not self._cache.upsert(obj) and watched.is_child:
            return
        self._add_keys(obj, priority_of(obj))
        if before is not None:
            self._add_keys(before, Priority.CHANGE)

    def _add_keys(self, obj: KubeObject, priority: Priority) -> None:
        if self._synced.is_set():
            for key in self._route(obj, self._cache):
                self._queue.add(key, priority)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.process.ultimate_exiting_timeout = None
        settings.networking.request_timeout = REQUEST_TIMEOUT_SECONDS
        settings.networking.connect_timeout = CONNECT_TIMEOUT_SECONDS
        settings.networking.error_backoffs = EndlessBackoffs()
        settings.watching.chunk_size = OBJECTS_PER_PAGE  # traffic.py asks for fewer where they are large
        settings.watching.server_timeout = self._watch_seconds
        settings.queueing.exit_timeout = 0.1
        settings.persistence.diffbase_storage = NoDiffs()
        for watched in self._watched:
            if watched.label_selector:
                kind = watched.kind
                selectors = settings.watching.label_selectors
                selectors[kind.group, kind.version, kind.plural] = watched.label_selector
        return settings

    async def _login(self, **_: object) -> kopf.AiohttpSession:
        """Give kopf a session. It comes back at once after each 401, and would do so as fast as it can."""
        await asyncio.sleep(max(0.0, self._next_login - time.monotonic()))
        self._next_login = time.monotonic() + LOGIN_PAUSE_SECONDS
        session = open_session(
            self._configuration, middlewares=[self.traffic.middleware], response_class=Response
        )
        return kopf.AiohttpSession(server=str(self._configuration.host), aiohttp_session=session)


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object to compare it with its last-handled self, which nobody asks for."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Find nothing to compare."""
        return cast(kopf.BodyEssence, {})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Find nothing stored."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Refuse: kopf never writes to an object."""
        raise AssertionError("kopf was about to write to an object")


class EndlessBackoffs(Iterable[float]):
    """Delays between the attempts of one request, in seconds, without an end.

    With kopf's finite list, an API server that is away for a minute ends the whole operator.
    """

    _RISING: Final = (0.1, 0.2, 0.5, 1.0, 2.0)

    def __iter__(self) -> Iterator[float]:
        yield from self._RISING
        while True:
            yield self._RISING[-1]


def priority_of(obj: KubeObject) -> Priority:
    """Say how urgent a change is: a specification that nobody has looked at yet is a user's fresh edit."""
    seen = (obj.get("status") or {}).get("observedGeneration")
    is_ours = kind_of(obj) in _OWN
    return Priority.USER if is_ours and seen != obj["metadata"].get("generation") else Priority.CHANGE


_OWN: Final = (TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS, TRACKING_SERVER_CLIENT)


async def _ignore(**_: object) -> None:
    """Do nothing."""


async def _stop(tasks: Collection["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=STOP_SECONDS)


def _why(ended: Iterable["asyncio.Task[None]"]) -> str:
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            return f"The informers stopped: {error!r}."
    return "The informers stopped for no known reason."
