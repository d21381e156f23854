"""What MLflow's application is wrapped in: what it answers by itself, and how much of what others send it keeps in memory."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tracking_operator.pod_tools import served_application
from tracking_operator.pod_tools.last_request import LastRequest
from tracking_operator.pod_tools.programs import IDLE_HEADER
from tracking_operator.pod_tools.served_application import (
    BODIES_LIMIT,
    BODY_LIMIT,
    CollectedBodies,
    Message,
    Receive,
    Send,
    ServedApplication,
)
from tracking_operator.pod_tools.streamed_artifacts import LARGEST_UPLOAD

MEBIBYTE = 2**20
MOST_SECONDS = 10
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/1/model.bin"


class Client:
    """One request: what it sends when it is told to, and what it is answered."""

    def __init__(
        self, app: ServedApplication, method: str = "POST", path: str = "/any", length: int | None = None
    ) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._app, self._method, self._path = app, method, path
        self._headers = [] if length is None else [(b"content-length", str(length).encode())]
        self.answers: list[Message] = []
        self.task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        scope = {"type": "http", "method": self._method, "path": self._path, "headers": self._headers}
        await self._app(scope, self._messages.get, self._take)

    async def _take(self, message: Message) -> None:
        self.answers.append(message)

    async def send(self, size: int, *, more: bool = True) -> None:
        """Send a piece of the body, and have it read."""
        for sent in range(0, max(size, 1), MEBIBYTE):
            piece = b"x" * min(MEBIBYTE, size - sent)
            is_last = sent + MEBIBYTE >= size
            await self._messages.put(
                {"type": "http.request", "body": piece, "more_body": more or not is_last}
            )
        await is_true(lambda: self._messages.empty() or self.task.done())
        await asyncio.sleep(0)

    async def status(self) -> int:
        """What the request is answered."""
        await asyncio.wait_for(self.task, MOST_SECONDS)
        return int(self.answers[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.answers[0]["headers"])

    @property
    def sentence(self) -> str:
        return str(json.loads(self.answers[1]["body"])["message"])


async def is_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(MOST_SECONDS):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)


async def collecting(_: Message, receive: Receive, send: Send) -> None:
    """MLflow's bridge: the whole body, then an answer."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def nobody(*_: object) -> None:
    raise AssertionError("MLflow is asked")


@pytest.fixture(autouse=True)
def bodies(monkeypatch: pytest.MonkeyPatch) -> CollectedBodies:
    made = CollectedBodies(BODIES_LIMIT)
    monkeypatch.setattr(served_application, "BODIES", made)
    return made


def serving(
    app: Callable[[Message, Receive, Send], Awaitable[None]] = collecting, prefix: str = ""
) -> ServedApplication:
    return ServedApplication(app, prefix)


@pytest.mark.parametrize(("prefix", "path"), [("", "/health"), ("/team-a", "/team-a/health")])
async def test_probes_need_none_of_mlflows_threads(prefix: str, path: str) -> None:
    assert await Client(serving(nobody, prefix), "GET", path).status() == 200


async def test_bodies_that_come_in_together_have_one_limit(bodies: CollectedBodies) -> None:
    app = serving()
    strangers = [Client(app) for _ in range(8)]
    for stranger in strangers:
        await stranger.send(BODY_LIMIT - MEBIBYTE)
    await is_true(lambda: sum(one.task.done() for one in strangers) >= 6)
    refused = [one for one in strangers if one.task.done()]
    assert {await one.status() for one in refused} == {503}
    assert all(int(one.headers[b"retry-after"]) > 0 for one in refused)
    assert "Send it again" in refused[0].sentence

    # Whoever has kept their place to the end keeps nobody from sending little.
    small = Client(app)
    await small.send(4 * MEBIBYTE, more=False)
    assert await small.status() == 200

    for one in strangers:
        if not one.task.done():
            await one.send(0, more=False)
    assert sorted([await one.status() for one in strangers])[0] == 200
    large = Client(app)
    await large.send(BODY_LIMIT, more=False)
    assert await large.status() == 200
    assert bodies.taken == 0


async def test_one_that_is_too_large_is_refused_as_soon_as_it_is(bodies: CollectedBodies) -> None:
    client = Client(serving())
    await client.send(BODY_LIMIT + 1)
    assert await client.status() == 413
    assert "as an artifact" in client.sentence
    assert bodies.taken == 0


async def test_one_whose_sender_goes_away_is_not_counted_any_more(bodies: CollectedBodies) -> None:
    client = Client(serving())
    await client.send(MEBIBYTE)
    client.task.cancel()
    await asyncio.wait([client.task])
    assert bodies.taken == 0


async def test_an_artifact_that_is_announced_too_large_for_its_parts_is_refused() -> None:
    client = Client(serving(nobody), "PUT", ARTIFACT, LARGEST_UPLOAD + 1)
    assert await client.status() == 413
    assert "625 GiB" in client.sentence


async def test_a_get_has_no_body_that_a_slow_reader_could_keep_in_memory(bodies: CollectedBodies) -> None:
    assert await Client(serving(nobody), "GET", length=MEBIBYTE).status() == 413
    client = Client(serving(), "GET")
    await client.send(MEBIBYTE)
    assert await client.status() == 413
    assert bodies.taken == 0


@pytest.mark.parametrize("path", ["/any", "/team-a/health", ARTIFACT])
async def test_a_method_that_nobody_knows_reaches_nobody_who_would_count_it(path: str) -> None:
    assert await Client(serving(nobody, "/team-a"), "XAAAA", path).status() == 501


class Asked:
    """An application that notes its last request in a file, which is an hour old."""

    def __init__(self, folder: Path, status: int = 200) -> None:
        self._status, self._file = status, folder / "last-request"
        self._app = ServedApplication(self._answer, "/team-a", last_request=LastRequest(self._file))
        self.begin_anew()

    def begin_anew(self) -> None:
        hour_ago = time.time() - 3600
        os.utime(self._file, (hour_ago, hour_ago))

    async def _answer(self, _: Message, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": []})

    async def ask(self, path: str = "/team-a/api/2.0/any", **headers: str) -> dict[bytes, bytes]:
        """Send a request; return the headers of its answer."""
        answers: list[Message] = []

        async def take(message: Message) -> None:
            answers.append(message)

        sent = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": path, "headers": sent}
        await self._app(scope, _nothing, take)
        return dict(answers[0]["headers"])

    async def told(self, host: str = "10.0.0.1:5000") -> int | None:
        """For how long nobody has asked anything, as a probe at the pod's address is told."""
        found = (await self.ask("/team-a/health", host=host)).get(IDLE_HEADER.lower().encode())
        return None if found is None else int(found)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b""}


async def test_a_probe_at_the_pods_address_is_told_for_how_long_nobody_has_asked_anything(
    tmp_path: Path,
) -> None:
    asked = Asked(tmp_path)
    assert 3600 <= (await asked.told() or 0) < 3700
    assert 3600 <= (await asked.told("[fd00::1]:5000") or 0) < 3700
    await asked.ask()
    assert (await asked.told() or 0) < 100


@pytest.mark.parametrize("host", ["mlflow.example.com", "mlflow.team-a.svc:80", "", "[", "localhost"])
async def test_whoever_comes_by_a_name_is_not_told(host: str, tmp_path: Path) -> None:
    assert await Asked(tmp_path).told(host) is None


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_what_is_refused_or_not_there_is_no_use_of_the_server(status: int, tmp_path: Path) -> None:
    asked = Asked(tmp_path, status)
    await asked.ask()
    assert (await asked.told() or 0) >= 3600


async def test_requests_of_the_operator_do_not_count(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    await asked.ask(User_Agent="tracking-operator")
    assert (await asked.told() or 0) >= 3600


def test_a_process_that_takes_anothers_place_is_no_request(tmp_path: Path) -> None:
    file = tmp_path / "last-request"
    assert LastRequest(file).seconds_ago() < 100
    os.utime(file, (1, 1))
    assert LastRequest(file).seconds_ago() > 3600
