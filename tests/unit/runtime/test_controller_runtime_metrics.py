"""A dashboard made for operators in Go finds what it asks for."""

from prometheus_client import CollectorRegistry

from tracking_operator.kube.client import Call
from tracking_operator.runtime.metrics import Metrics

SERVERS = {"controller": "trackingserver"}
QUEUE = SERVERS | {"name": "trackingserver"}


class Found:
    """An operator's metrics, and what is found in them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, version="1.2.3", lease_name="lease")

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_reconciles_are_counted_by_result_and_timed() -> None:
    found = Found()
    for outcome in ("settled", "waiting", "failed", "failed"):
        found.metrics.observe_reconcile("TrackingServer", outcome, 0.3)
    counted = {
        result: found.value("controller_runtime_reconcile_total", result=result, **SERVERS)
        for result in ("success", "requeue_after", "error")
    }
    assert counted == {"success": 1, "requeue_after": 1, "error": 2}
    assert found.value("controller_runtime_reconcile_errors_total", **SERVERS) == 2
    bucket = "controller_runtime_reconcile_time_seconds_bucket"
    assert [found.value(bucket, le=le, **SERVERS) for le in ("0.25", "0.3", "60.0")] == [0, 4, 4]
    assert found.value("workqueue_work_duration_seconds_count", **QUEUE) == 4


def test_each_controller_has_its_series_before_anything_happens() -> None:
    found = Found()
    for controller in ("trackingserver", "trackingserverclass"):
        assert found.value("controller_runtime_reconcile_errors_total", controller=controller) == 0
        for name in ("depth", "adds_total", "retries_total", "unfinished_work_seconds"):
            assert found.value(f"workqueue_{name}", name=controller, controller=controller) == 0


def test_the_queue_is_told_by_controller() -> None:
    found = Found()
    found.metrics.count_add("TrackingServer")
    found.metrics.count_retry("TrackingServer")
    found.metrics.observe_wait("TrackingServer", "user", 0.05)
    found.metrics.watch_queue(lambda: ["TrackingServer", "TrackingServer", "TrackingServerClass"], lambda: 0)
    found.metrics.watch_work(lambda: [("TrackingServer", 3.0), ("TrackingServer", 4.0)])
    assert found.value("workqueue_adds_total", **QUEUE) == 1
    assert found.value("workqueue_retries_total", **QUEUE) == 1
    assert found.value("workqueue_queue_duration_seconds_bucket", le="0.1", **QUEUE) == 1
    assert found.value("workqueue_queue_duration_seconds_bucket", le="0.01", **QUEUE) == 0
    assert found.value("workqueue_depth", **QUEUE) == 2
    assert found.value("workqueue_unfinished_work_seconds", **QUEUE) == 7
    assert found.value("workqueue_longest_running_processor_seconds", **QUEUE) == 4
    assert found.value("tracking_operator_queue_depth") == 3


def test_requests_are_counted_by_status_method_and_host() -> None:
    found = Found()
    for call in (Call("apply", "Service", 200, "10.96.0.1:443"), Call("list", "Pod", 0, "10.96.0.1:443")):
        found.metrics.observe_call(call)
    asked = {"host": "10.96.0.1:443"}
    assert found.value("rest_client_requests_total", code="200", method="PATCH", **asked) == 1
    assert found.value("rest_client_requests_total", code="<error>", method="GET", **asked) == 1


def test_who_leads_and_which_version_runs_is_told() -> None:
    found = Found()
    assert found.value("leader_election_master_status", name="lease") == 0
    found.metrics.set_leader(is_leader=True)
    assert found.value("leader_election_master_status", name="lease") == 1
    assert found.value("tracking_operator_build_info", version="1.2.3") == 1
