"""Series of servers and classes: true, few, and gone with what they tell of, whatever teams make."""

import time
from collections.abc import Callable, Sequence

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.examples import Manifest
from tracking_operator.api.conditions import ConditionType
from tracking_operator.runtime.resource_metrics import SERIES_OF_A_SERVER, ResourceMetrics

USAGE = {
    "databaseBytes": 8_000_000,
    "runs": 12,
    "models": 0,
    "artifactBytes": 5_000_000_000,
    "artifactObjects": 7,
    "lastActivity": "2026-01-01T00:00:00Z",
    "measuredAt": "2026-01-01T01:00:00Z",
}
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def server(
    namespace: str = "team-a",
    name: str = "mlflow",
    *,
    conditions: Sequence[tuple[str, str, str]] = (("Ready", "True", "AsExpected"),),
    **metadata: str,
) -> Manifest:
    """A server with these conditions: type, status and reason."""
    return {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServer",
        "metadata": {"namespace": namespace, "name": name} | metadata,
        "spec": {},
        "status": {
            "className": "standard",
            "version": "3.17.2",
            "conditions": [
                {"type": type_, "status": status, "reason": reason} for type_, status, reason in conditions
            ],
        },
    }


def class_(**spec: object) -> Manifest:
    ready = {"type": "BackendStoreReady", "status": "False", "reason": "StoreUnreachable"}
    return {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServerClass",
        "metadata": {"name": "standard"},
        "spec": spec,
        "status": {"conditions": [ready]},
    }


def active(**bounds: int) -> ResourceMetrics:
    metrics = ResourceMetrics(**bounds)
    metrics.is_active = True
    return metrics


def told(metrics: ResourceMetrics) -> Series:
    """All series, as Prometheus reads them."""
    families = text_string_to_metric_families(metrics.page().decode())
    samples = [sample for family in families for sample in family.samples]
    series = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in samples}
    assert len(series) == len(samples), "a series is there twice"
    return series


def value(metrics: ResourceMetrics, name: str, /, **labels: str) -> float | None:
    return told(metrics).get((f"tracking_operator_{name}", tuple(sorted(labels.items()))))


def of_servers(metrics: ResourceMetrics) -> list[str]:
    """The place of the server of each series."""
    return [
        "/".join(dict(labels)[key] for key in ("namespace", "name"))
        for name, labels in told(metrics)
        if name.startswith("tracking_operator_server_")
    ]


def test_a_condition_is_true_false_or_neither() -> None:
    metrics = active()
    metrics.note(server(conditions=[("Ready", "False", "Pending"), ("SchemaReady", "Unknown", "Pending")]))
    metrics.note(server(name="new", conditions=[]))

    def status(type_: str, name: str = "mlflow") -> list[float | None]:
        place = {"namespace": "team-a", "name": name, "type": type_}
        return [value(metrics, "server_status_condition", **place, status=word) for word in ("True", "False")]

    assert status("Ready") == [0, 1]
    assert status("SchemaReady") == [0, None]
    assert status("Exposed") == [None, None]
    assert status("Stalled") == [0, None]
    assert status("Ready", "new") == [0, 0], "a server that nobody has looked at is not ready"


def test_a_server_is_told_with_its_class_its_release_and_what_goes_on() -> None:
    metrics = active()
    metrics.note(
        server(
            conditions=[
                ("Ready", "False", "Suspended"),
                ("BackendStoreReady", "True", "RotatingCredentials"),
            ],
            deletionTimestamp="2026-01-01T00:00:00Z",
        )
    )
    place = {"namespace": "team-a", "name": "mlflow"}
    assert value(metrics, "server_info", **place, **{"class": "standard", "version": "3.17.2"}) == 1
    assert value(metrics, "server_suspended", **place) == 1
    assert value(metrics, "server_credentials_rotating", **place) == 1
    assert value(metrics, "server_deletion_timestamp_seconds", **place) == 1767225600


def test_a_server_is_told_with_what_it_has_in_its_stores() -> None:
    metrics = active()
    obj = server()
    obj["status"]["usage"] = USAGE
    metrics.note(obj)
    found = {
        name: value(metrics, f"server_{name}", namespace="team-a", name="mlflow")
        for name in ("database_bytes", "runs", "models", "artifact_bytes", "last_activity_timestamp_seconds")
    }
    assert found == {
        "database_bytes": 8_000_000,
        "runs": 12,
        "models": 0,
        "artifact_bytes": 5_000_000_000,
        "last_activity_timestamp_seconds": 1767225600,
    }


def test_what_was_not_measured_is_not_told() -> None:
    metrics = active()
    obj = server()
    obj["status"]["usage"] = {"databaseBytes": 1, "measuredAt": "2026-01-01T01:00:00Z"}
    metrics.note(obj)
    metrics.note(server(name="new"))
    assert value(metrics, "server_database_bytes", namespace="team-a", name="mlflow") == 1
    assert "tracking_operator_server_runs" not in {name for name, _ in told(metrics)}


def test_a_class_is_told_with_its_stores_and_limit() -> None:
    metrics = active()
    metrics.note(
        class_(limits={"maxServersPerNamespace": 3, "maxDatabaseSize": "10Gi", "maxArtifactBytes": 1000})
    )
    condition = {"class": "standard", "type": "BackendStoreReady"}
    assert value(metrics, "class_status_condition", **condition, status="True") == 0
    assert value(metrics, "class_max_servers_per_namespace", **{"class": "standard"}) == 3
    assert value(metrics, "class_max_database_bytes", **{"class": "standard"}) == 10 * 1024**3
    assert value(metrics, "class_max_artifact_bytes", **{"class": "standard"}) == 1000


def test_a_server_with_everything_has_no_more_series_than_promised() -> None:
    metrics = active()
    of_backups = (ConditionType.COMPLETE, ConditionType.RESTORABLE)
    of_clients = (ConditionType.CONNECTED, ConditionType.INTEGRATED)
    of_servers_only = [type_ for type_ in ConditionType if type_ not in (*of_backups, *of_clients)]
    everything = [(type_.value, "True", "AsExpected") for type_ in of_servers_only]
    for deletion in ({}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}):
        obj = server(conditions=everything, **deletion)
        obj["status"] |= {"usage": USAGE, "backups": {"lastCompletedAt": "2026-01-01T00:00:00Z"}}
        metrics.note(obj)
        assert len(of_servers(metrics)) <= SERIES_OF_A_SERVER


def test_a_server_is_told_with_its_newest_backup_until_it_goes() -> None:
    metrics, name = active(), "server_backup_last_success_timestamp_seconds"
    obj = server(conditions=[("BackedUp", "False", "BackupLate")])
    obj["status"]["backups"] = {"lastCompletedAt": "2026-01-01T00:00:00Z"}
    metrics.note(obj)
    assert value(metrics, name, namespace="team-a", name="mlflow") == 1767225600
    late = {"namespace": "team-a", "name": "mlflow", "type": "BackedUp", "status": "True"}
    assert value(metrics, "server_status_condition", **late) == 0
    metrics.note(obj | {"metadata": obj["metadata"] | {"deletionTimestamp": "2026-01-02T00:00:00Z"}})
    assert f"tracking_operator_{name}" not in {told_name for told_name, _ in told(metrics)}


def test_series_end_with_the_server_and_the_class() -> None:
    metrics = active()
    for obj in (server(), server(name="other"), class_()):
        metrics.note(obj)
    metrics.note_gone(server())
    metrics.note_gone(class_())
    assert set(of_servers(metrics)) == {"team-a/other"}
    assert not [name for name, _ in told(metrics) if name.startswith("tracking_operator_class_")]


def test_an_operator_that_waits_for_the_lease_tells_of_no_server() -> None:
    metrics = ResourceMetrics()
    metrics.note(server())
    assert metrics.page() == b""


def test_other_objects_are_let_pass() -> None:
    metrics = active()
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team-a", "name": "p"}}
    metrics.note(pod)
    metrics.note_gone(pod)
    assert of_servers(metrics) == []


def test_a_namespace_with_many_servers_takes_the_series_of_no_other() -> None:
    metrics = active(most_of_a_namespace=20, most=10)
    for number in range(1000):
        metrics.note(server("greedy", f"s{number}"))
    for number in range(4):
        metrics.note(server(f"team-{number}", "mlflow"))
    places = set(of_servers(metrics))
    assert {f"team-{number}/mlflow" for number in range(4)} < places
    assert sorted(place for place in places if place.startswith("greedy")) == [
        f"greedy/s{number}" for number in range(6)
    ]
    assert value(metrics, "servers_without_series") == 994


def test_more_namespaces_than_may_have_series_end_at_the_bound() -> None:
    metrics = active(most=10)
    for number in range(50):
        metrics.note(server(f"team-{number}"))
    assert len(set(of_servers(metrics))) == 10


@pytest.mark.parametrize("wild", ['x"} 1\nevil 1\n#', "a" * 300, "", 7, None])
def test_what_is_no_name_is_left_empty_in_a_label(wild: object) -> None:
    metrics = active()
    obj = server(conditions=[(str(wild), str(wild), str(wild))])
    obj["status"] |= {"className": wild, "version": wild}
    metrics.note(obj)
    place = {"namespace": "team-a", "name": "mlflow"}
    assert value(metrics, "server_info", **place, **{"class": "", "version": ""}) == 1
    assert set(of_servers(metrics)) == {"team-a/mlflow"}


def test_a_page_takes_a_small_part_of_what_the_library_takes_for_as_many_series() -> None:
    """The aim is 100 ms for a thousand servers, of which the library takes twice that: `make bench` has the figure."""
    metrics, registry = active(), CollectorRegistry()
    gauge = Gauge("status_condition", "", ["namespace", "name", "type", "status"], registry=registry)
    for number in range(200):
        metrics.note(server(f"team-{number}"))
    count = len(of_servers(metrics))
    for number in range(count):
        gauge.labels(f"team-{number}", "mlflow", "Ready", "True").set(1)
    assert least_seconds(metrics.page) * 4 < least_seconds(lambda: generate_latest(registry))


def least_seconds(make: Callable[[], bytes]) -> float:
    """The seconds of the processor that this thread needs, when nothing else is in the way."""
    found = []
    for _ in range(5):
        started = time.thread_time()
        make()
        found.append(time.thread_time() - started)
    return min(found)
