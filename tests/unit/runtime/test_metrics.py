"""What a scrape finds."""

import urllib.request

from dev.loopback import free_port
from tracking_operator.kube.client import Call
from tracking_operator.runtime.metrics import Metrics


def test_scrape_finds_all_that_was_reported() -> None:
    metrics = Metrics()
    metrics.observe_call(Call("apply", "Service", 200))
    metrics.observe_reconcile("TrackingServer", "settled", 0.02)
    metrics.observe_wait("TrackingServer", "user", 0.001)
    metrics.count_failure("TrackingServer", "Unexpected")
    metrics.set_leader(is_leader=True)
    metrics.watch_queue(lambda: ["TrackingServer"] * 3, lambda: 2)
    metrics.watch_cache(lambda: 40)
    port = free_port()
    stop = metrics.serve(port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = answer.read().decode().splitlines()
    finally:
        stop()
    for line in (
        'tracking_operator_api_calls_total{code="200",kind="Service",verb="apply"} 1.0',
        'tracking_operator_reconcile_seconds_bucket{kind="TrackingServer",le="0.025",outcome="settled"} 1.0',
        'tracking_operator_queue_wait_seconds_count{priority="user"} 1.0',
        'tracking_operator_failures_total{kind="TrackingServer",reason="Unexpected"} 1.0',
        "tracking_operator_leader 1.0",
        "tracking_operator_queue_depth 3.0",
        "tracking_operator_keys_in_work 2.0",
        "tracking_operator_cached_objects 40.0",
    ):
        assert line in found
    assert any(line.startswith("process_resident_memory_bytes") for line in found)
