"""Which watches are alive, and which kinds were listed anew, read from requests."""

import asyncio
import json
from http import HTTPStatus
from typing import cast

import aiohttp
import pytest
from yarl import URL

from tests.unit.runtime.clock import Clock
from tracking_operator.kube.objects import KubeObject
from tracking_operator.runtime.traffic import ListPage, WatchTraffic

PODS = "/api/v1/pods"
SERVICES = "/api/v1/services"


class Answer:
    """What the API server answers."""

    def __init__(self, status: int, content: KubeObject) -> None:
        self.status = status
        self.content = json.dumps(content).encode()

    async def read(self) -> bytes:
        return self.content

    def release(self) -> None:
        """Give the connection back."""


class Request:
    """What kopf asks."""

    def __init__(self, path: str) -> None:
        self.url = URL(f"https://api{path}")


class Line:
    """Passes requests through the traffic under test, and answers them."""

    def __init__(self, clock: Clock, *, may_vanish: bool = False) -> None:
        self.pages: list[ListPage] = []
        self.absences = 0
        self.traffic = WatchTraffic(
            [PODS, SERVICES],
            on_page=self.pages.append,
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
    ) -> None:
        content = content or {"metadata": {"resourceVersion": "9"}, "items": []}
        answer = cast(aiohttp.ClientResponse, Answer(status, content))

        async def handler(_: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
            return answer

        given = await self.traffic.middleware(cast(aiohttp.ClientRequest, Request(path)), handler)
        assert given is answer


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


async def test_list_is_read_along(line: Line) -> None:
    pod = {"metadata": {"name": "p", "resourceVersion": "7"}}
    await line.request(PODS, content={"metadata": {"resourceVersion": "42"}, "items": [pod]})
    assert line.pages == [ListPage(PODS, [pod], 42, is_first=True, is_last=True)]


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
