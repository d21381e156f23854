"""Requests to servers behind an Ingress, with a login and without, beside the same MLflow started by hand."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import load
from bench.by_hand import ServerByHand
from bench.client_pod import ClientPod
from bench.report import Table
from bench.samples import Samples, duration, verdict

ROUNDS: Final = 6
"""An even number: every server is the first as often as the last."""
REQUESTS: Final = 60
"""In each round, of each kind, to each server."""
CONNECTIONS: Final = 4
SLOWER_AIM: Final = 1.10
KINDS: Final = ("log-batch", "search-runs")

HAND, HAND_LOGIN = "by hand", "by hand, with MLflow's login"
OPEN, LOGIN = "through the Ingress", "through the Ingress, with the login"
LOGIN_AT_SERVICE = "the same server with the login, at its Service"
COMPARED_WITH: Final = {OPEN: HAND, LOGIN: HAND_LOGIN, LOGIN_AT_SERVICE: HAND_LOGIN, HAND_LOGIN: HAND}
AIMED_AT: Final = (OPEN, LOGIN)
SCRIPT: Final = Path(load.__file__).read_text()


@dataclass(frozen=True)
class Load:
    """How one kind of request did against one server."""

    per_second: float
    """Requests, in the median round."""
    p99: float
    """Of all requests of all rounds, in seconds."""


@dataclass(frozen=True)
class Target:
    """How the servers of the operator's are reached: both hosts and paths as their owners know them."""

    ingress_url: str
    host: str
    open_path: str
    login_path: str
    service_url: str
    """Of the server with the login."""
    login: tuple[str, str]


Loads = Mapping[str, Mapping[str, Load]]
"""By the way there, then by the kind of request."""


async def measure_traffic(client: ClientPod, target: Target, hand: Sequence[ServerByHand]) -> Loads:
    """Put load on all servers by turns, from one pod."""
    plain, login = map(_by_hand, hand)
    settings: load.Settings = {
        "ways": {
            OPEN: _way(target.ingress_url + target.open_path, target.host, None),
            HAND: plain,
            LOGIN: _way(target.ingress_url + target.login_path, target.host, target.login),
            LOGIN_AT_SERVICE: _way(target.service_url + target.login_path, None, target.login),
            HAND_LOGIN: login,
        },
        "rounds": ROUNDS,
        "requests": REQUESTS,
        "connections": CONNECTIONS,
    }
    took = await client.run(SCRIPT, settings)
    return {way: {kind: _load_in(took, way, kind) for kind in KINDS} for way in settings["ways"]}


def _way(url: str, host: str | None, login: tuple[str, str] | None) -> load.Way:
    return {"url": url, "host": host, "login": login, "admin": None}


def _by_hand(server: ServerByHand) -> load.Way:
    user = ("load", server.password) if server.admin else None
    return {"url": server.url, "host": None, "login": user, "admin": server.admin}


def _load_in(took: Mapping[str, Sequence[float]], way: str, kind: str) -> Load:
    rounds, requests = took[f"{way} {kind} rounds"], took[f"{way} {kind} requests"]
    return Load(REQUESTS / statistics.median(rounds), Samples.of(requests).percentile(99))


# Telling


def traffic_table(found: Mapping[int, Loads]) -> Table:
    """Tell it, by the number of replicas."""
    return Table(
        "Requests through Ingress and login, beside the same MLflow started by hand",
        ("request, and the way there", "replicas", "per second (p50)", "p99", "time of by hand", "aim"),
        tuple(
            _row(replicas, kind, way, loads)
            for replicas, loads in found.items()
            for kind in KINDS
            for way in loads
        ),
        (
            f"{ROUNDS} rounds by turns of {REQUESTS} requests each on {CONNECTIONS} connections, from one pod; per second: the median "
            f"round; p99: of all. log-batch has {load.METRICS} metrics, search-runs gives {load.RUNS} runs with {load.METRICS} each. By "
            "hand: the same image, resources and PostgreSQL, no Ingress, prefix, NetworkPolicy or checks. What has a login is compared "
            "with MLflow by hand with its own login, which remembers right passwords for as long (30 s); that one is compared with "
            "MLflow without a login. Servers, PostgreSQL, Traefik and the client share this machine's cores, so that what the Ingress "
            "takes is taken from all.",
        ),
    )


def _row(replicas: int, kind: str, way: str, loads: Loads) -> tuple[str, ...]:
    one = loads[way][kind]
    words = (f"{kind}, {way}", str(replicas), f"{one.per_second:.0f}", duration(one.p99))
    if way not in COMPARED_WITH:
        return (*words, "", "")
    slower = loads[COMPARED_WITH[way]][kind].per_second / one.per_second
    aim = verdict(slower, SLOWER_AIM, "1.1 ×") if way in AIMED_AT else ""
    return (*words, f"{slower:.2f} ×" + (" (with login)" if COMPARED_WITH[way] == HAND_LOGIN else ""), aim)
