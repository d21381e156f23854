"""What is read from /proc and from the operator's own metrics."""

from bench.operator_pods import Memory, memory_in, reconciles_in

STATUS = "Name:\ttracking-operat\nVmHWM:\t   90112 kB\nVmRSS:\t   88064 kB\nThreads:\t4\n"
SMAPS = (
    "55a8-7ffd ---p 00000000 00:00 0    [rollup]\nRss:               88064 kB\nPss:               78000 kB\n"
)
METRICS = """\
# TYPE tracking_operator_reconcile_seconds histogram
tracking_operator_reconcile_seconds_bucket{kind="TrackingServer",le="0.001",outcome="settled"} 5.0
tracking_operator_reconcile_seconds_count{kind="TrackingServer",outcome="settled"} 7.0
tracking_operator_reconcile_seconds_sum{kind="TrackingServer",outcome="settled"} 0.01
tracking_operator_reconcile_seconds_count{kind="TrackingServer",outcome="failed"} 2.0
tracking_operator_reconcile_seconds_count{kind="TrackingServerClass",outcome="settled"} 1.0
"""


def test_memory_is_read_in_kibibytes() -> None:
    assert memory_in(STATUS, SMAPS) == Memory(resident=88064, proportional=78000, peak=90112)


def test_every_reconcile_counts_however_it_ended() -> None:
    assert reconciles_in(METRICS) == 10
    assert reconciles_in("") == 0
