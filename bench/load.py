"""Runs in a team's pod: puts load on several tracking servers by turns, on a few connections each.

    python load.py < settings.json

The settings: `ways`, by name: `url`, and where there is one the `host` that requests name, the `login` (user and password)
and the `admin` who makes that user first; `rounds`, `requests` in each round, `connections`. Prints JSON: for each way and
kind of request the seconds of every round and of every request.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import requests

RUNS: Final = 24
METRICS: Final = 20
"""Of a batch, and so of every run: a search gives as many of each."""

Json = str | int | float | Sequence["Json"] | Mapping[str, "Json"]
Login = tuple[str, str]
Call = Callable[[requests.Session, int], object]


class Way(TypedDict):
    """How to reach one server."""

    url: str
    host: str | None
    login: Login | None
    admin: Login | None


class Settings(TypedDict):
    """What is read."""

    ways: dict[str, Way]
    rounds: int
    requests: int
    connections: int


def opened(way: Way, login: Login | None) -> requests.Session:
    """A connection that is kept, as that user."""
    session = requests.Session()
    if way["host"]:
        session.headers["Host"] = way["host"]
    session.auth = (login[0], login[1]) if login else None
    return session


def call(
    session: requests.Session, way: Way, path: str, body: "Mapping[str, Json]"
) -> Mapping[str, dict[str, dict[str, str]]]:
    """Send one request, and take its answer to pieces as a client does."""
    answer = session.post(f"{way['url']}/api/2.0/mlflow/{path}", json=body)
    if not answer.ok:
        raise RuntimeError(f"{path} at {way['url']}: {answer.status_code} {answer.text[:300]}")
    found: Mapping[str, dict[str, dict[str, str]]] = answer.json()
    return found


def batch(step: int) -> "list[Json]":
    """Metrics that no run has yet."""
    return [{"key": f"m{one}", "value": one / 7, "timestamp": 1, "step": step} for one in range(METRICS)]


@dataclass(frozen=True)
class Server:
    """A server with an experiment of its own, which has the runs that requests are about."""

    way: Way
    experiment: str
    runs: Sequence[str]

    @classmethod
    def prepared(cls, way: Way) -> "Server":
        """Make the user where an admin is named, the experiment and its runs."""
        if way["admin"] and way["login"]:
            name, password = way["login"]
            user = {"username": f"{name}-{time.time():.0f}", "password": password}
            call(opened(way, way["admin"]), way, "users/create", user)
            way["login"] = (user["username"], password)
        session = opened(way, way["login"])
        made = call(session, way, "experiments/create", {"name": f"load-{time.time()}"})
        experiment = str(made["experiment_id"])
        runs = [
            call(session, way, "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
            for _ in range(RUNS)
        ]
        server = cls(way, experiment, runs)
        for number in range(RUNS):
            server.log_batch(session, number)
        return server

    def log_batch(self, session: requests.Session, number: int) -> None:
        """Each connection has runs of its own, as programs do."""
        body: dict[str, Json] = {"run_id": self.runs[number % RUNS], "metrics": batch(number)}
        call(session, self.way, "runs/log-batch", body)

    def search_runs(self, session: requests.Session, _number: int) -> None:
        """All runs, with all that is known of them."""
        body: dict[str, Json] = {
            "experiment_ids": [self.experiment],
            "filter": "metrics.m1 > 0",
            "max_results": RUNS,
        }
        call(session, self.way, "runs/search", body)

    def under_load(self, work: Call, numbers: range, connections: int) -> tuple[float, list[float]]:
        """How long all these requests took together, and each."""
        took: list[float] = []

        def share(first: int) -> None:
            session = opened(self.way, self.way["login"])
            for number in numbers[first::connections]:
                begun = time.monotonic()
                work(session, number)
                took.append(time.monotonic() - begun)

        threads = [threading.Thread(target=share, args=(first,)) for first in range(connections)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
        if len(took) != len(numbers):
            raise RuntimeError(f"Only {len(took)} of {len(numbers)} requests to {self.way['url']} succeeded.")
        return seconds, took


def measured(settings: Settings) -> dict[str, list[float]]:
    """Every server in every round, the first of one round being the last of the next."""
    servers = {name: Server.prepared(way) for name, way in settings["ways"].items()}
    found: dict[str, list[float]] = {}
    for turn in range(settings["rounds"]):
        numbers = range((turn + 1) * settings["requests"], (turn + 2) * settings["requests"])
        for name, server in list(servers.items())[:: 1 if turn % 2 == 0 else -1]:
            for kind, work in (("log-batch", server.log_batch), ("search-runs", server.search_runs)):
                seconds, took = server.under_load(work, numbers, settings["connections"])
                found.setdefault(f"{name} {kind} rounds", []).append(seconds)
                found.setdefault(f"{name} {kind} requests", []).extend(took)
    return found


if __name__ == "__main__":
    print(json.dumps(measured(json.load(sys.stdin))))
