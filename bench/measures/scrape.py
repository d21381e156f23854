"""What a scrape of the operator takes with many servers, over HTTP as Prometheus asks; without a cluster."""

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from typing import Final

from bench.report import Table
from bench.samples import Samples, duration, verdict
from dev.loopback import free_port
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import KubeObject
from tracking_operator.runtime.metrics import Metrics

SERVERS: Final = (1_000, 5_000)
SERVERS_OF_A_NAMESPACE: Final = 10
REPETITIONS: Final = 100
HOST: Final = "127.0.0.1"
SECONDS_AIMED_AT: Final = 0.1
"""With the first of the numbers of servers."""
MEBIBYTE_AIMED_AT: Final = 10
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True)
class Scrapes:
    """What scrapes with a number of servers took, and gave."""

    servers: int
    seconds: Samples
    page: bytes
    kept: int
    """Bytes that are kept of the servers between two scrapes."""
    peak: int
    """Bytes more than before the first server, while a page is made."""
    processor: float
    """Seconds of a processor for each scrape, of the operator's side and the client's together."""

    @property
    def series(self) -> int:
        """How many lines with a number the page has."""
        return sum(not line.startswith(b"#") for line in self.page.splitlines())


def measure_scrape() -> list[Scrapes]:
    """Scrape a registry of each size again and again; each page is made anew."""
    return [_measure(servers) for servers in SERVERS]


def _measure(servers: int) -> Scrapes:
    kept, peak = _memory(servers)
    jumps = count(step=3600)
    metrics = _noted(Metrics(clock=lambda: float(next(jumps))), servers)
    port = free_port()
    stop = metrics.serve(port)
    try:
        page, _ = _scrape(port)
        began = time.process_time()
        seconds = Samples.of([_scrape(port)[1] for _ in range(REPETITIONS)])
        processor = (time.process_time() - began) / REPETITIONS
        return Scrapes(servers, seconds, page, kept, peak, processor)
    finally:
        stop()


def _scrape(port: int) -> tuple[bytes, float]:
    started = time.perf_counter()
    connection = HTTPConnection(HOST, port)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read()
    taken = time.perf_counter() - started
    connection.close()
    return page, taken


def _memory(servers: int) -> tuple[int, int]:
    """What Python's own count of its memory says; times taken meanwhile would be too long."""
    metrics = Metrics()
    tracemalloc.start()
    try:
        _noted(metrics, servers)
        kept, _ = tracemalloc.get_traced_memory()
        metrics.page()
        return kept, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _noted(metrics: Metrics, servers: int) -> Metrics:
    metrics.set_leader(is_leader=True)
    for server in _servers(servers):
        metrics.resources.note(server)
    return metrics


def _servers(number: int) -> Iterator[KubeObject]:
    """Servers with all series but that of a deletion: every condition, and all that is measured."""
    conditions = [
        {"type": type_.value, "status": "True", "reason": "AsExpected", "message": ""}
        for type_ in ConditionType
    ]
    for one in range(number):
        yield {
            "apiVersion": API_VERSION,
            "kind": TRACKING_SERVER.kind,
            "metadata": {"namespace": f"team-{one // SERVERS_OF_A_NAMESPACE}", "name": f"server-{one}"},
            "status": {
                "className": "standard",
                "version": "3.18.0",
                "conditions": conditions,
                "usage": {
                    "databaseBytes": 8_000_000 + one,
                    "runs": one,
                    "models": one,
                    "artifactBytes": 10**9 + one,
                    "lastActivity": "2026-01-01T00:00:00Z",
                },
            },
        }


def scrape_table(measured: Sequence[Scrapes]) -> Table:
    """Tell what a scrape takes."""
    first, *_ = measured
    return Table(
        "A scrape of the operator's metrics",
        (
            "servers",
            "series",
            "page",
            "n",
            "p50",
            "worst",
            "processor",
            "memory kept",
            "memory at most",
            "aim (p50)",
        ),
        tuple(_row(one, is_aimed_at=one is first) for one in measured),
        (
            "One process with the operator's own registry and HTTP server, and a client that reads the whole page through loopback, a new connection and a new page each time. "
            "Processor: what both take of one, whatever else the machine does. "
            "Servers have every condition and all that is measured. Memory: what Python's own count (`tracemalloc`) is above that of no server, between two scrapes and while a page "
            "is made.",
        ),
    )


def _row(one: Scrapes, *, is_aimed_at: bool) -> tuple[str, ...]:
    aims = (
        verdict(one.seconds.median, SECONDS_AIMED_AT, "100 ms"),
        verdict(one.peak, MEBIBYTE_AIMED_AT * MEBIBYTE, f"{MEBIBYTE_AIMED_AT} MiB"),
    )
    return (
        f"{one.servers:,}",
        f"{one.series:,}",
        f"{len(one.page) / MEBIBYTE:.1f} MiB",
        str(len(one.seconds)),
        duration(one.seconds.median),
        one.seconds.worst,
        duration(one.processor),
        f"{one.kept / MEBIBYTE:.1f} MiB",
        f"{one.peak / MEBIBYTE:.1f} MiB",
        ", ".join(aims) if is_aimed_at else "",
    )
