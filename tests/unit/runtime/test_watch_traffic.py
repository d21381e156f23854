"""Which watches are alive, and which kinds were listed anew, read from requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import cast

import aiohttp
import pytest
from yarl import URL

from tests.unit.runtime.clock import Clock
from tracking_operator.kube.objects import KubeObject
from tracking_operator.runtime.watch_traffic import (
    MOST_BYTES_OF_A_PAGE,
    MOST_BYTES_OF_AN_OBJECT,
    EventLines,
    ListPage,
    WatchEvent,
    WatchTraffic,
)

GONE = b'{"type": "ERROR", "object": {"code": 410}}'
EMPTY: KubeObject = {"metadata": {"resourceVersion": "9"}, "items": []}
PODS = "/api/v1/pods"
SERVICES = "/api/v1/services"


class Stream:
    """What comes from the API server, in pieces."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), n):
            yield self._content[start : start + n]


class Answer:
    """What the API server answers, and what kopf gets of it."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self.content: Stream | EventLines = Stream(content)
        self.body: KubeObject | None = None
        self.is_closed = False

    def replace_body(self, body: bytes) -> None:
        self.body = json.loads(body)

    def replace_content(self, content: EventLines) -> None:
        self.content = content

    def close(self) -> None:
        self.is_closed = True

    def release(self) -> None:
        """Give the connection back."""


class Request:
    """What kopf asks."""

    def __init__(self, path: str) -> None:
        self.url = URL(f"https://api{path}")
        self.headers: dict[str, str] = {}


class Line:
    """Passes requests through the traffic under test, and answers them."""

    def __init__(self, clock: Clock, *, may_vanish: bool = False) -> None:
        self.pages: list[ListPage] = []
        self.events: list[WatchEvent] = []
        self.asked: list[Request] = []
        self.limits: list[int] = []
        self.absences = 0
        self.traffic = WatchTraffic(
            [PODS, SERVICES],
            on_page=self.pages.append,
            on_event=self.events.append,
            on_absent=self.note_absence if may_vanish else None,
            watch_seconds=240.0,
            grace_seconds=60.0,
            clock=clock,
        )

    def note_absence(self) -> None:
        """Hear that a collection is gone."""
        self.absences += 1

    async def request(
        self, path: str, status: int = HTTPStatus.OK, content: KubeObject | None = None
    ) -> Answer:
        return await self.request_of(path, lambda _: content or EMPTY, status)

    async def request_of(
        self, path: str, content: Callable[[int], KubeObject | bytes], status: int = HTTPStatus.OK
    ) -> Answer:
        """Ask for what depends on how many objects at most are asked for."""

        async def handler(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
            answer = content(int(request.url.query.get("limit", 0)))
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.limits.append(int(request.url.query.get("limit", 0)))
            return cast(aiohttp.ClientResponse, Answer(status, raw))

        request = Request(path)
        self.asked.append(request)
        return cast(Answer, await self.traffic.middleware(cast(aiohttp.ClientRequest, request), handler))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(clock: Clock) -> Line:
    return Line(clock)


async def test_watch_that_is_asked_for_again_and_again_is_alive(line: Line, clock: Clock) -> None:
    for _ in range(5):
        clock.now += 240.0
        await line.request(f"{PODS}?watch=true&resourceVersion=1")
        await line.request(f"{SERVICES}?watch=true")
        assert line.traffic.problem() is None


async def test_watch_that_is_not_answered_any_more_is_a_problem(line: Line, clock: Clock) -> None:
    for _ in range(2):
        clock.now += 240.0
        await line.request(f"{PODS}?watch=true", HTTPStatus.SERVICE_UNAVAILABLE)
        await line.request(f"{SERVICES}?watch=true")
    problem = line.traffic.problem()
    assert problem is not None
    assert PODS in problem


async def test_list_is_read_and_kopf_gets_an_empty_one(line: Line) -> None:
    pod = {"metadata": {"name": "p", "resourceVersion": "7"}}
    answer = await line.request(PODS, content={"metadata": {"resourceVersion": "42"}, "items": [pod]})
    assert line.pages == [ListPage(PODS, [pod], 42, is_first=True, is_last=True)]
    assert answer.body == {"metadata": {"resourceVersion": "42"}, "items": []}


async def test_nothing_comes_packed(line: Line) -> None:
    await line.request(PODS)
    await line.request(f"{PODS}?watch=true")
    assert [request.headers["Accept-Encoding"] for request in line.asked] == ["identity", "identity"]


async def test_list_of_large_objects_comes_in_small_parts(line: Line) -> None:
    """Five of them are more than a part may have, so that no more than one is asked for."""
    large = {"metadata": {"name": "p", "resourceVersion": "7"}, "data": "x" * (MOST_BYTES_OF_A_PAGE // 4)}

    def part(limit: int) -> KubeObject:
        metadata = {"resourceVersion": "42", "continue": "more"}
        return {"metadata": metadata, "items": [large] * limit}

    await line.request_of(PODS, part)
    assert [len(page.objects) for page in line.pages] == [1]
    await line.request_of(f"{PODS}?continue=more", part)
    assert line.limits == [100, 20, 4, 1, 1]
    await line.request(PODS)
    assert line.limits[-1] == 100  # the next list may have shrunk


async def test_events_are_told_and_kopf_gets_where_to_go_on(line: Line) -> None:
    pods = [
        {"metadata": {"name": f"p-{one}", "resourceVersion": f"{one}"}, "text": "ä" * 300_000}
        for one in (7, 8)
    ]
    lines = [json.dumps({"type": "ADDED", "object": pod}).encode() for pod in pods]
    answer = await line.request_of(f"{PODS}?watch=true", lambda _: b"\n".join([*lines, GONE, b""]))
    content = b"".join([chunk async for chunk in answer.content.iter_chunked(1024 * 1024)])
    assert line.events == [WatchEvent(PODS, "ADDED", pod) for pod in pods]
    assert [json.loads(one) for one in content.splitlines()] == [
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}},
        json.loads(GONE),
    ]


async def test_line_without_an_end_is_not_kept(line: Line) -> None:
    endless = b"x" * (2 * MOST_BYTES_OF_AN_OBJECT) + b"\n" + GONE + b"\n"
    answer = await line.request_of(f"{PODS}?watch=true", lambda _: endless)
    assert [chunk async for chunk in answer.content.iter_chunked(1024 * 1024)] == [GONE + b"\n"]
    assert line.events == []


async def test_list_in_parts_has_a_beginning_and_an_end(line: Line) -> None:
    def part(token: str) -> KubeObject:
        return {"metadata": {"resourceVersion": "42", "continue": token}, "items": []}

    await line.request(f"{PODS}?limit=500", content=part("a"))
    await line.request(f"{PODS}?limit=500&continue=a", content=part("b"))
    await line.request(f"{PODS}?limit=500&continue=b", content=part(""))
    assert [(page.is_first, page.is_last) for page in line.pages] == [
        (True, False),
        (False, False),
        (False, True),
    ]


async def test_refused_list_and_other_paths_are_not_read(line: Line) -> None:
    await line.request(PODS, HTTPStatus.TOO_MANY_REQUESTS)
    await line.request("/apis")
    await line.request(f"{PODS}?watch=true")
    assert line.pages == []


async def test_a_collection_that_vanishes_is_told_and_kopf_hears_nothing(clock: Clock) -> None:
    line = Line(clock, may_vanish=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await line.request(f"{PODS}?watch=true", HTTPStatus.NOT_FOUND)
    assert line.absences == 1


async def test_a_collection_that_may_not_vanish_is_kopfs_own_trouble(line: Line) -> None:
    await line.request(f"{PODS}?watch=true", HTTPStatus.NOT_FOUND)
    assert line.absences == 0
