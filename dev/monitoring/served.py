"""What a scrape of the operator finds, once everything has happened that it tells of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.client import Call
from tracking_operator.runtime.controller_runtime_metrics import RESULTS
from tracking_operator.runtime.metrics import Metrics
from tracking_operator.runtime.work_queue import Priority

_BUCKET: Final = "le"
_THEN: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Served:
    """One metric: its name as people ask for it, its type, what it means, its labels and what values of them were seen."""

    name: str
    type: str
    meaning: str
    labels: dict[str, frozenset[str]]


def served() -> list[Served]:
    """Return every metric of the operator, in the order of a page."""
    return [_served(family) for family in text_string_to_metric_families(page().decode())]


def samples() -> dict[str, dict[str, frozenset[str]]]:
    """Return the labels of each series by the name that a query has, such as `…_bucket`, and the values that were seen."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(page().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return {
        name: {label: frozenset(values) for label, values in labels.items()} for name, labels in found.items()
    }


def page() -> bytes:
    """Return a scrape of an operator that has a server, a class, and has done all that it counts."""
    metrics = Metrics(version="0", lease_name="tracking-operator")
    metrics.set_leader(is_leader=True)
    for kind in (TRACKING_SERVER, TRACKING_SERVER_CLASS):
        metrics.count_add(kind.kind)
        metrics.count_retry(kind.kind)
        metrics.count_failure(kind.kind, Reason.API_ERROR)
        for outcome in RESULTS:
            metrics.observe_reconcile(kind.kind, outcome, 0.1)
        for priority in Priority:
            metrics.observe_wait(kind.kind, priority.name.lower(), 0.1)
    for status in (200, 404, 409, 500, 0):
        metrics.observe_call(Call("apply", "Deployment", status, "10.96.0.1:443"))
    metrics.count_dropped_event()
    for obj in _objects():
        metrics.resources.note(obj)
    return metrics.page()


def _objects() -> Iterator[dict[str, Any]]:
    conditions = [{"type": type_.value, "status": "True", "reason": "AsExpected"} for type_ in ConditionType]
    going = {"deletionTimestamp": _THEN}
    for kind, name, more in (
        (TRACKING_SERVER, "mlflow", {}),
        (TRACKING_SERVER, "going", going),
        (TRACKING_SERVER_CLASS, "standard", {}),
    ):
        yield {
            "apiVersion": API_VERSION,
            "kind": kind.kind,
            "metadata": {"namespace": "team-a", "name": name, **more},
            "spec": {"limits": {"maxDatabaseSize": "1Gi", "maxArtifactBytes": "1Gi"}},
            "status": {
                "className": "standard",
                "version": "0",
                "conditions": conditions,
                "backups": {"lastCompletedAt": _THEN},
                "usage": {
                    "databaseBytes": 1,
                    "runs": 1,
                    "models": 1,
                    "artifactBytes": 1,
                    "lastActivity": _THEN,
                },
            },
        }


def _served(family: Metric) -> Served:
    labels: dict[str, set[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != _BUCKET:
                labels.setdefault(label, set()).add(value)
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Served(
        name,
        family.type,
        family.documentation,
        {label: frozenset(values) for label, values in labels.items()},
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the lines of a table in Markdown."""
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) + " |"
        for row in rows
    )
