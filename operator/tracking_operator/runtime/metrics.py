"""What Prometheus can ask the operator: ``GET /metrics`` on its own port and in its own thread."""

import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from tracking_operator.kube.client import Call
from tracking_operator.runtime.bounded_server import PLAIN, Answer, BoundedServer
from tracking_operator.runtime.controller_runtime_metrics import ControllerRuntimeMetrics
from tracking_operator.runtime.resource_metrics import ResourceMetrics

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


SECONDS_OF_A_PAGE: Final = 1.0
"""How long an answer is used again, for making one takes a few milliseconds of all that the operator does."""


class Metrics:
    """The operator's own metrics, with the prefix ``tracking_operator_``, and those of controller-runtime beside them."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        version: str = "",
        lease_name: str = "tracking-operator",
    ) -> None:
        self._clock = clock
        self._page, self._stale_at = b"", clock()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._controller_runtime = ControllerRuntimeMetrics(self.registry, lease_name)
        self.resources = ResourceMetrics()
        """How each server and each class is; who watches notes it there."""
        Gauge(
            "tracking_operator_build_info",
            "1, with the version of the operator.",
            ["version"],
            registry=self.registry,
        ).labels(version).set(1)
        self._reconcile = Histogram(
            "tracking_operator_reconcile_seconds",
            "How long one look at a resource takes.",
            ["kind", "outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._wait = Histogram(
            "tracking_operator_queue_wait_seconds",
            "How long a key waits for a worker.",
            ["priority"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._calls = Counter(
            "tracking_operator_api_calls",
            "Requests to the Kubernetes API server; code 0 when no answer came.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self._failures = Counter(
            "tracking_operator_failures",
            "Looks at a resource that ended otherwise than well, by reason.",
            ["kind", "reason"],
            registry=self.registry,
        )
        self._queue_depth = Gauge(
            "tracking_operator_queue_depth", "Keys that wait for a worker.", registry=self.registry
        )
        self._in_work = Gauge(
            "tracking_operator_keys_in_work", "Keys that a worker is at.", registry=self.registry
        )
        self._leader = Gauge(
            "tracking_operator_leader",
            "1 while this operator is the active one.",
            registry=self.registry,
        )
        self._dropped_events = Counter(
            "tracking_operator_events_dropped",
            "Kubernetes Events that were left out because their namespace has too many.",
            registry=self.registry,
        )
        self._objects = Gauge(
            "tracking_operator_cached_objects", "Objects in the cache.", registry=self.registry
        )

    def observe_call(self, call: Call) -> None:
        """Count a request to the API server."""
        self._calls.labels(call.verb, call.kind, str(call.status)).inc()
        self._controller_runtime.observe_call(call)

    def observe_wait(self, kind: str, priority: str, seconds: float) -> None:
        """Record how long a key waited."""
        self._wait.labels(priority).observe(seconds)
        self._controller_runtime.observe_wait(kind, seconds)

    def count_add(self, kind: str) -> None:
        """Count a key that began to wait."""
        self._controller_runtime.count_add(kind)

    def count_retry(self, kind: str) -> None:
        """Count a key that comes back because a look at it failed."""
        self._controller_runtime.count_retry(kind)

    def observe_reconcile(self, kind: str, outcome: str, seconds: float) -> None:
        """Record one look at a resource; ``outcome`` is ``settled``, ``waiting`` or ``failed``."""
        self._reconcile.labels(kind, outcome).observe(seconds)
        self._controller_runtime.observe_reconcile(kind, outcome, seconds)

    def count_failure(self, kind: str, reason: str) -> None:
        """Count a failure by its reason."""
        self._failures.labels(kind, reason).inc()

    def set_leader(self, *, is_leader: bool) -> None:
        """Say whether this operator is the active one."""
        self._leader.set(int(is_leader))
        self._controller_runtime.set_leader(is_leader=is_leader)
        self.resources.is_active = is_leader

    def watch_queue(self, waiting: Callable[[], Sequence[str]], in_work: Callable[[], int]) -> None:
        """Report the queue's length, asked for at each scrape; ``waiting`` returns the kind of each key that waits."""
        self._queue_depth.set_function(lambda: len(waiting()))
        self._in_work.set_function(in_work)
        self._controller_runtime.watch_queue(waiting)

    def watch_work(self, seconds: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Report what is in work, asked for at each scrape: each key's kind, and for how long it has been."""
        self._controller_runtime.watch_work(seconds)

    def watch_cache(self, size: Callable[[], int]) -> None:
        """Report the cache's size, asked for at each scrape."""
        self._objects.set_function(size)

    def serve(self, port: int) -> Callable[[], None]:
        """Answer scrapes in a thread of its own; return what stops it."""
        server = BoundedServer(port, self._answer, name="metrics")
        server.start()
        return server.stop

    def count_dropped_event(self) -> None:
        """Count an Event that was left out because there are too many of its namespace."""
        self._dropped_events.inc()

    def page(self) -> bytes:
        """Return all that a scrape finds now, in Prometheus' text format."""
        return generate_latest(self.registry) + self.resources.page()

    def _answer(self, path: str) -> Answer:
        if path not in ("/", "/metrics"):
            return Answer(HTTPStatus.NOT_FOUND, PLAIN, b"/metrics\n")
        now = self._clock()
        if now >= self._stale_at:
            self._page, self._stale_at = self.page(), now + SECONDS_OF_A_PAGE
        return Answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, self._page)
