"""What passes between kopf and the API server, read along: which lists arrive, and is every watch alive?

kopf tells neither. Its requests go through a session of ours, and both can be read from them: a list says
what exists (and so what has been deleted while a watch was down, which kopf never reports); and kopf asks for
a new watch whenever one ends, which the API server does after a time that we choose.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp

from tracking_operator.kube.objects import KubeObjects

WATCH_SECONDS: Final = 240
"""After this the API server ends a watch, and kopf asks for the next one."""

GRACE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class ListPage:
    """A part of a list: its objects, without ``apiVersion`` and ``kind``, as of a resource version."""

    path: str
    objects: KubeObjects
    version: int
    is_first: bool
    is_last: bool


class WatchTraffic:
    """Reads along for some collections, given by their URL paths. ``on_page`` is called with each part of a list.

    ``on_absent`` is called when the API server does not know a collection (any more). kopf does not hear of that: it
    would end with a traceback, instead of being stopped.
    """

    def __init__(
        self,
        paths: Iterable[str],
        *,
        on_page: Callable[[ListPage], None],
        on_absent: Callable[[], None] | None = None,
        watch_seconds: float = WATCH_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_page = on_page
        self._on_absent = on_absent
        self._clock = clock
        self._longest_silence = watch_seconds + grace_seconds
        self._answered = dict.fromkeys(paths, clock())

    async def middleware(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass a request on; it belongs into the session that kopf uses."""
        response = await handler(request)
        path, query = request.url.path, request.url.query
        if path in self._answered and response.status == HTTPStatus.OK:
            if query.get("watch") == "true":
                self._answered[path] = self._clock()
            else:
                self._on_page(_page(path, await response.read(), is_first="continue" not in query))
        if path in self._answered and response.status == HTTPStatus.NOT_FOUND and self._on_absent:
            response.release()
            self._on_absent()
            await asyncio.Event().wait()
        return response

    def problem(self) -> str | None:
        """Say which watch has not been answered for too long; may be called from another thread."""
        now = self._clock()
        for path, answered in list(self._answered.items()):
            if now - answered > self._longest_silence:
                return f"The watch on {path} has not been answered for {now - answered:.0f} s."
        return None


def _page(path: str, content: bytes, *, is_first: bool) -> ListPage:
    answer = json.loads(content)
    metadata = answer["metadata"]
    return ListPage(
        path, answer["items"], int(metadata["resourceVersion"]), is_first, not metadata.get("continue")
    )
