"""/healthz notices an event loop that stands still: over HTTP, while it stands still."""

import asyncio
import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.unit.kube.waiting import until as until_in_loop
from tracking_operator.runtime.health import HealthServer, Heartbeat

PATIENCE_SECONDS = 10.0


def ask(port: int, path: str) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS) as answer:
            return answer.status, json.load(answer).get("problems", {})
    except urllib.error.HTTPError as error:
        return error.code, json.load(error).get("problems", {})


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


class Checks:
    """Two checks whose answers a test sets."""

    def __init__(self) -> None:
        self.alive: str | None = None
        self.ready: str | None = None


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def server(checks: Checks) -> Iterator[HealthServer]:
    server = HealthServer(0, alive={"part": lambda: checks.alive}, ready={"part": lambda: checks.ready})
    server.start()
    yield server
    server.stop()


def test_all_is_well(server: HealthServer) -> None:
    assert ask(server.port, "/healthz") == (200, {})
    assert ask(server.port, "/readyz") == (200, {})


def test_problem_turns_it_503_with_the_sentence(server: HealthServer, checks: Checks) -> None:
    checks.alive = "The watch is stale."
    assert ask(server.port, "/healthz") == (503, {"part": "The watch is stale."})
    assert ask(server.port, "/readyz") == (200, {})
    checks.alive = None
    assert ask(server.port, "/healthz?verbose") == (200, {})


def test_alive_but_not_ready(server: HealthServer, checks: Checks) -> None:
    checks.ready = "The first lists are not complete."
    assert ask(server.port, "/healthz")[0] == 200
    assert ask(server.port, "/readyz")[0] == 503


def test_other_paths_are_not_found(server: HealthServer) -> None:
    assert ask(server.port, "/")[0] == 404


def test_event_loop_that_stands_still_is_noticed_while_it_does() -> None:
    released, beating = threading.Event(), threading.Event()
    hearts: list[Heartbeat] = []

    async def stand_still_for_a_while() -> None:
        hearts.append(Heartbeat(longest_stall=0.2))
        beat = asyncio.create_task(hearts[0].run())
        await asyncio.sleep(0)
        beating.set()
        released.wait(PATIENCE_SECONDS)
        await until_in_loop(lambda: hearts[0].problem() is None)
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat

    thread = threading.Thread(target=lambda: asyncio.run(stand_still_for_a_while()))
    thread.start()
    beating.wait(PATIENCE_SECONDS)
    server = HealthServer(0, alive={"event loop": hearts[0].problem}, ready={})
    server.start()
    until(lambda: ask(server.port, "/healthz")[0] == 503)
    assert "The event loop has stood still" in ask(server.port, "/healthz")[1]["event loop"]
    released.set()
    until(lambda: ask(server.port, "/healthz")[0] == 200)
    thread.join(PATIENCE_SECONDS)
    server.stop()
