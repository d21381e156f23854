"""What passes between kopf and the API server: read on its way, in parts that fit into memory.

kopf asks for a list, then for a watch, and for the next one whenever one ends. It tells neither what has been deleted
while a watch was down, nor whether every watch is alive, and it holds whole answers in memory, several of them at
a time. So its requests go through a session of ours, and what objects there are is read from them here. kopf itself is
given an empty list, and the resource versions in the place of events: enough to know where to go on.

Objects may be as large as etcd takes them, and JSON escapes make them up to six times that.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, cast

import aiohttp

from tracking_operator.kube.objects import KubeObject, KubeObjects

WATCH_SECONDS: Final = 240
"""After this the API server ends a watch, and kopf asks for the next one."""

GRACE_SECONDS: Final = 60.0

OBJECTS_PER_PAGE: Final = 100
"""A list is read in parts of so many objects, or fewer where they are large."""

MOST_BYTES_OF_A_PAGE: Final = 1024 * 1024
"""A part of a list that is larger is given up, and asked for in smaller parts. Only one at a time is read.

Parsed it is ten times as large for a moment, among what stays: memory that is given back in patches.
"""

MOST_BYTES_OF_AN_OBJECT: Final = 16 * 1024 * 1024
"""No object is larger: etcd takes 1.5 MiB (``--max-request-bytes``), and ``\\u003c`` is the longest of a byte."""

SHRINKING: Final = 5
READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class ListPage:
    """A part of a list: its objects, without ``apiVersion`` and ``kind``, as of a resource version."""

    path: str
    objects: KubeObjects
    version: int
    is_first: bool
    is_last: bool


@dataclass(frozen=True)
class WatchEvent:
    """What a watch reports: ``type`` is ADDED, MODIFIED or DELETED."""

    path: str
    type: str
    object: KubeObject


class Response(aiohttp.ClientResponse):
    """An answer of the API server in whose place kopf may be given another one."""

    def replace_body(self, body: bytes) -> None:
        """Have this read instead of what has come."""
        self._body = body

    def replace_content(self, content: "EventLines") -> None:
        """Have these lines read instead of what comes."""
        self.content = cast(aiohttp.StreamReader, content)


class WatchTraffic:
    """Reads what passes for some collections, given by their URL paths; their session has to make ``Response``s.

    ``on_page`` is called with each part of a list, ``on_event`` with what a watch reports.
    ``on_absent`` is called when the API server does not know a collection (any more). kopf does not hear of that: it
    would end with a traceback, instead of being stopped.
    """

    def __init__(
        self,
        paths: Iterable[str],
        *,
        on_page: Callable[[ListPage], None],
        on_event: Callable[[WatchEvent], None],
        on_absent: Callable[[], None] | None = None,
        watch_seconds: float = WATCH_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_page = on_page
        self._on_event = on_event
        self._on_absent = on_absent
        self._clock = clock
        self._longest_silence = watch_seconds + grace_seconds
        self._answered = dict.fromkeys(paths, clock())
        self._limits: dict[str, int] = {}
        self._reading = asyncio.Lock()

    async def middleware(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass a request on; it belongs into the session that kopf uses."""
        path = request.url.path
        if path not in self._answered:
            return await handler(request)
        # Nothing that grows when it is unpacked: a few bytes could become any number of them.
        request.headers[aiohttp.hdrs.ACCEPT_ENCODING] = "identity"
        is_watch = request.url.query.get("watch") == "true"
        response = await (self._watch(request, handler) if is_watch else self._list(request, handler))
        if response.status == HTTPStatus.NOT_FOUND and self._on_absent:
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

    async def _watch(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.status == HTTPStatus.OK:
            path = request.url.path
            self._answered[path] = self._clock()
            events = EventLines(response.content, lambda type_, obj: self._tell(path, type_, obj))
            cast(Response, response).replace_content(events)
        return response

    def _tell(self, path: str, type_: str, obj: KubeObject) -> None:
        self._on_event(WatchEvent(path, type_, obj))

    async def _list(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass a part of a list on, as large as fits; once one was too large, all that follow are as small."""
        path = request.url.path
        is_first = "continue" not in request.url.query
        if is_first:
            self._limits.pop(path, None)
        while True:
            limit = self._limits.get(path, OBJECTS_PER_PAGE)
            request.url = request.url.update_query(limit=str(limit))
            response = await handler(request)
            if response.status != HTTPStatus.OK:
                return response
            async with self._reading:
                most = MOST_BYTES_OF_A_PAGE if limit > 1 else MOST_BYTES_OF_AN_OBJECT
                content = await read_at_most(response.content, most)
                if content is not None:
                    rest = self._take_in(path, content, is_first=is_first)
                    cast(Response, response).replace_body(rest)
                    return response
            response.close()
            if limit == 1:
                raise aiohttp.ClientPayloadError(f"an object of {path} has more than {most} bytes")
            self._limits[path] = max(1, limit // SHRINKING)

    def _take_in(self, path: str, content: bytes, *, is_first: bool) -> bytes:
        """Report a part of a list, and return what kopf has to know of it."""
        answer = json.loads(content)
        metadata = answer["metadata"]
        version, is_last = int(metadata["resourceVersion"]), not metadata.get("continue")
        self._on_page(ListPage(path, answer["items"], version, is_first, is_last))
        return json.dumps({"metadata": metadata, "items": []}).encode()


async def read_at_most(content: aiohttp.StreamReader, most: int) -> bytes | None:
    """Return all that comes, or None as soon as it is more than ``most`` bytes."""
    read = bytearray()
    async for chunk in content.iter_chunked(READ_BYTES):
        read += chunk
        if len(read) > most:
            return None
    return bytes(read)


class _Chunks(Protocol):
    """As much of a stream as kopf uses."""

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]: ...


class EventLines:
    """The lines of a watch as kopf gets them: short ones. What is in an event is told to somebody else."""

    def __init__(self, content: aiohttp.StreamReader, tell: Callable[[str, KubeObject], None]) -> None:
        self._content = content
        self._tell = tell

    def exception(self) -> BaseException | None:
        """Return why there is nothing more to be read."""
        return self._content.exception()

    def set_exception(self, *args: BaseException) -> None:
        """Have whoever reads on hear this."""
        self._content.set_exception(*args)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Yield one line for each that has come. One that is longer than any object can be is left out."""
        line = bytearray()
        async for data in cast(_Chunks, self._content).iter_chunked(min(n, READ_BYTES)):
            *ends, rest = data.split(b"\n")
            for end in ends:
                line += end
                if 0 < len(line) <= MOST_BYTES_OF_AN_OBJECT:
                    yield self._for_kopf(bytes(line))
                line.clear()
            if len(line) <= MOST_BYTES_OF_AN_OBJECT:
                line += rest

    def _for_kopf(self, line: bytes) -> bytes:
        event = json.loads(line)
        type_, obj = event["type"], event["object"]
        if type_ not in ("ADDED", "MODIFIED", "DELETED"):
            return line + b"\n"
        self._tell(type_, obj)
        version = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]}}
        return json.dumps({"type": "BOOKMARK", "object": version}).encode() + b"\n"
