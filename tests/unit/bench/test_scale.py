"""What the measurement of many servers says of them, and which objects it compares with."""

from bench.calls import CallCount
from bench.measures.scale import Crowd, Restart, Step, Use, as_anybodys, is_settled, scale_tables
from bench.operator_pods import has_looked_at
from bench.report import Table, render_table
from bench.samples import Samples
from tests.unit.examples import Manifest

CALLS = CallCount({("patch", "services"): 110, ("get", "services"): 90}, events=0, lease_calls=30)
SILENCE = CallCount({}, events=0, lease_calls=30)


def step(before: int, seconds: float, active_mib: float) -> Step:
    use = Use(active_mib, 95.0, 20.0, 5.0)
    return Step(before, 50, seconds, active_seconds=1.0, standby_seconds=0.25, busy=1.9, use=use)


def crowd(*, last_mib: float = 104.0, quiet: CallCount = SILENCE, writes: CallCount = SILENCE) -> Crowd:
    return Crowd(
        "databases",
        objects=9,
        floor=(12.0, 8.0),
        empty=Use(100.0, 95.0, 19.0, 4.75),
        steps=(step(0, 5.0, 102.0), step(50, 15.0, last_mib)),
        creation=CALLS,
        quiet=quiet,
        takeover=Restart(3.0, 2.0, SILENCE),
        restart=Restart(9.0, 4.0, writes),
        edits=Samples.of([0.1] * 99 + [0.7]),
        requests=Samples.of([0.01] * 100),
        resynced=300,
        deletion_seconds=4.0,
        after=Use(103.0, 96.0, 30.0, 8.0),
    )


def row(table: Table, beginning: str) -> tuple[str, ...]:
    (found,) = (one for one in table.rows if one[0].startswith(beginning))
    return found


def test_servers_are_told_beside_the_floor_of_the_same_run() -> None:
    coming, _ = scale_tables([crowd()])
    assert row(coming, "0 → 50") == ("0 → 50", "5.00 s", "10.0", "1.00", "20 ms, 5.0 ms", "102", "95")
    assert row(coming, "50 → 100")[2:4] == ("3.3", "0.33")
    (remark,) = coming.remarks
    assert "5.0 per second, 0.50 of the floor (aim: ≥ 0.5: met), with 1.1 writes and 0.9 reads each" in remark
    assert "0.040 MiB per server (aim: ≤ 0.06: met), 104 MiB in the end (aim: ≤ 160: met)" in remark
    assert render_table(coming)


def test_what_takes_too_much_is_said_to_miss_the_aim() -> None:
    coming, _ = scale_tables([crowd(last_mib=161.0)])
    assert (
        "0.610 MiB per server (aim: ≤ 0.06: **missed**), 161 MiB in the end (aim: ≤ 160: **missed**)"
        in (coming.remarks[0])
    )


def test_a_write_in_silence_or_at_a_restart_misses_the_aim() -> None:
    _, staying = scale_tables([crowd()])
    assert row(staying, "60 s without a change")[1:] == ("0 calls", "0", "≤ 0 calls: met")
    assert row(staying, "both pods")[1:] == (
        "9.00 s (4.00 s of a processor)",
        "0",
        "≤ 15.0 s, 0 writes: met",
    )
    _, staying = scale_tables([crowd(quiet=CALLS, writes=CALLS)])
    assert row(staying, "60 s without a change")[1:3] == ("200 calls", "110")
    assert "**missed**" in row(staying, "60 s without a change")[3]
    assert "**missed**" in row(staying, "both pods")[3]


def test_the_slowest_edits_count() -> None:
    _, staying = scale_tables([crowd()])
    assert row(staying, "edit → its Deployment, p50")[1] == "100 ms"
    assert row(staying, "edit → its Deployment, p99")[1:] == ("100 ms", "", "≤ 500 ms: met")


def server(reason: str = "Suspended", store: str = "VolumePending", **status: object) -> Manifest:
    conditions = [
        {"type": "WorkloadReady", "reason": reason},
        {"type": "BackendStoreReady", "reason": store},
    ]
    return {
        "metadata": {"generation": 2},
        "status": {"observedGeneration": 2, "conditions": conditions} | status,
    }


def test_a_suspended_server_is_settled_when_its_store_is_there() -> None:
    assert is_settled(server())
    assert not is_settled(server("Progressing"))
    assert not is_settled(server(observedGeneration=1))
    assert not is_settled({"metadata": {"generation": 1}})
    with_database: Manifest = {"database": {"name": "mlflow"}}
    assert not is_settled(server(store="Pending", placement=with_database))
    assert is_settled(server(store="AsExpected", placement=with_database))


def test_the_floors_objects_are_the_servers_own_but_nobodys() -> None:
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "sample",
            "namespace": "scale",
            "uid": "1",
            "resourceVersion": "2",
            "managedFields": [{}],
            "ownerReferences": [{}],
            "labels": {"tracking-operator.dev/tracking-server": "sample", "app": "mlflow"},
            "annotations": {"tracking-operator.dev/applied": "digest"},
        },
        "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {}},
    }
    assert as_anybodys(service) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "sample",
            "namespace": "scale",
            "labels": {"app": "mlflow"},
            "annotations": {},
        },
        "spec": {"ports": [{"port": 80}]},
    }


def test_an_operator_has_looked_at_all_when_nothing_waits() -> None:
    looked = 'tracking_operator_reconcile_seconds_count{kind="TrackingServer",outcome="settled"} 100.0\n'
    idle = "tracking_operator_queue_depth 0.0\ntracking_operator_keys_in_work 0.0\n"
    busy = "tracking_operator_queue_depth 3.0\ntracking_operator_keys_in_work 0.0\n"
    assert has_looked_at(looked + idle, 100)
    assert not has_looked_at(looked + idle, 101)
    assert not has_looked_at(looked + busy, 100)
    assert not has_looked_at("", 0)
