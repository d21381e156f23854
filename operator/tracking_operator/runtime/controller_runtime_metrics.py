"""What operators in Go tell, by the names, labels and buckets of controller-runtime: dashboards and alerts in the wild ask for them.

Names, labels and buckets are those of controller-runtime 0.23 (``pkg/internal/controller/metrics``, ``pkg/internal/metrics``)
and of client-go. A controller is called by its kind in lower case.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tracking_operator.controllers.kinds import (
    TRACKING_SERVER,
    TRACKING_SERVER_BACKUP,
    TRACKING_SERVER_CLASS,
    TRACKING_SERVER_CLIENT,
)
from tracking_operator.kube.client import Call
from tracking_operator.kube.errors import NO_ANSWER

CONTROLLERS: Final = tuple(
    kind.kind.lower()
    for kind in (TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS, TRACKING_SERVER_CLIENT)
)
RESULTS: Final = {"failed": "error", "waiting": "requeue_after", "settled": "success"}
"""What controller-runtime calls the outcome of a reconcile."""
_RECONCILE_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
_QUEUE_SECONDS: Final = tuple(10.0**exponent for exponent in range(-8, 4))
_OF_QUEUE: Final = ("name", "controller")
_NO_ANSWER: Final = "<error>"
"""What client-go says in the place of a status."""


class ControllerRuntimeMetrics:
    """Counts for a dashboard that knows operators in Go. A series of each controller is there from the start."""

    def __init__(self, registry: CollectorRegistry, lease_name: str) -> None:
        self._reconciles = Counter(
            "controller_runtime_reconcile",
            "Reconciles by result: success, requeue_after (looks again by itself) or error.",
            ["controller", "result"],
            registry=registry,
        )
        self._errors = Counter(
            "controller_runtime_reconcile_errors",
            "Reconciles that failed: the API server, or the operator itself. A store that does not answer is none.",
            ["controller"],
            registry=registry,
        )
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "How long a reconcile takes.",
            ["controller"],
            buckets=_RECONCILE_SECONDS,
            registry=registry,
        )
        self._adds = Counter(
            "workqueue_adds", "Resources that began to wait for a worker.", _OF_QUEUE, registry=registry
        )
        self._retries = Counter(
            "workqueue_retries", "Resources that come back after a failure.", _OF_QUEUE, registry=registry
        )
        self._queued = Histogram(
            "workqueue_queue_duration_seconds",
            "How long a resource waits for a worker.",
            _OF_QUEUE,
            buckets=_QUEUE_SECONDS,
            registry=registry,
        )
        self._worked = Histogram(
            "workqueue_work_duration_seconds",
            "How long a worker is at a resource.",
            _OF_QUEUE,
            buckets=_QUEUE_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "rest_client_requests",
            "Requests to the API server, without the lists and watches of the cache; code <error> when no answer came.",
            ["code", "method", "host"],
            registry=registry,
        )
        self._master = Gauge(
            "leader_election_master_status",
            "1 while this operator holds the Lease.",
            ["name"],
            registry=registry,
        ).labels(lease_name)
        self._begin()
        self._queue = _QueueCollector()
        registry.register(self._queue)

    def observe_reconcile(self, kind: str, outcome: str, seconds: float) -> None:
        """Record one reconcile; ``outcome`` is one of ``RESULTS``."""
        controller = kind.lower()
        self._reconciles.labels(controller, RESULTS[outcome]).inc()
        if outcome == "failed":
            self._errors.labels(controller).inc()
        self._seconds.labels(controller).observe(seconds)
        self._worked.labels(controller, controller).observe(seconds)

    def observe_wait(self, kind: str, seconds: float) -> None:
        """Record how long a resource waited."""
        self._queued.labels(kind.lower(), kind.lower()).observe(seconds)

    def count_add(self, kind: str) -> None:
        """Count a resource that began to wait."""
        self._adds.labels(kind.lower(), kind.lower()).inc()

    def count_retry(self, kind: str) -> None:
        """Count a resource that comes back after a failure."""
        self._retries.labels(kind.lower(), kind.lower()).inc()

    def observe_call(self, call: Call) -> None:
        """Count a request to the API server."""
        code = _NO_ANSWER if call.status == NO_ANSWER else str(call.status)
        self._requests.labels(code, call.method, call.host).inc()

    def set_leader(self, *, is_leader: bool) -> None:
        """Say whether this operator holds the Lease."""
        self._master.set(int(is_leader))

    def watch_queue(self, waiting: Callable[[], Iterable[str]]) -> None:
        """Report the queue's length at each scrape; ``waiting`` returns the kind of each resource that waits."""
        self._queue.waiting = waiting

    def watch_work(self, seconds: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Report unfinished work at each scrape; ``seconds`` returns each kind in work and for how long it has been."""
        self._queue.in_work = seconds

    def _begin(self) -> None:
        """Have each series at 0 before something happens: what appears with its first failure, no rate sees."""
        for controller in CONTROLLERS:
            for result in RESULTS.values():
                self._reconciles.labels(controller, result)
            self._errors.labels(controller)
            self._seconds.labels(controller)
            for of_queue in (self._adds, self._retries, self._queued, self._worked):
                of_queue.labels(controller, controller)


class _QueueCollector(Collector):
    """What is asked for at each scrape: who waits, and what is in work."""

    def __init__(self) -> None:
        self.waiting: Callable[[], Iterable[str]] = tuple
        self.in_work: Callable[[], Iterable[tuple[str, float]]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges of the queue."""
        waiting = Tally(kind.lower() for kind in self.waiting())
        yield _of_queue("workqueue_depth", "Resources that wait for a worker.", waiting)
        total, longest = dict.fromkeys(CONTROLLERS, 0.0), dict.fromkeys(CONTROLLERS, 0.0)
        for kind, seconds in self.in_work():
            controller = kind.lower()
            total[controller] += seconds
            longest[controller] = max(longest[controller], seconds)
        yield _of_queue(
            "workqueue_unfinished_work_seconds",
            "For how long workers have been at what they are at now, added up.",
            total,
        )
        yield _of_queue(
            "workqueue_longest_running_processor_seconds",
            "For how long the worker that has been at one resource for longest has been at it.",
            longest,
        )


def _of_queue(name: str, meaning: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=_OF_QUEUE)
    for controller in CONTROLLERS:
        family.add_metric((controller, controller), values[controller])
    return family
