"""docs/reference/metrics.md: every metric that the operator serves, as it serves it."""

from dataclasses import dataclass
from typing import Final

from dev.monitoring.alerts import ALERTS, Alert
from dev.monitoring.served import Served, served, table

_HEADER: Final = "<!-- Generated from what the operator serves by `make generate`. Do not edit. -->\n"
MOST_VALUES: Final = 4
"""How many values of a label are listed."""


@dataclass(frozen=True)
class _Section:
    title: str
    text: str
    prefixes: tuple[str, ...]


_SECTIONS: Final = (
    _Section(
        "Servers and classes",
        "Only the operator that holds the Lease has these. A server has at most 20 series; 100 servers of a namespace have any, and 5,000 in all.",
        ("tracking_operator_server", "tracking_operator_class_"),
    ),
    _Section("The operator", "What it does, in its own terms.", ("tracking_operator_",)),
    _Section(
        "As operators in Go have them",
        "Names, labels and buckets are those of controller-runtime and client-go, so that their dashboards work. A controller is called by "
        "its kind in lower case.",
        ("controller_runtime_", "workqueue_", "rest_client_", "leader_election_"),
    ),
    _Section("The process", "From prometheus_client, on Linux.", ("process_",)),
)


def metrics_page() -> str:
    """Return the page. Raises ValueError: a metric is in no section."""
    left = served()
    parts = []
    for section in _SECTIONS:
        mine = [one for one in left if one.name.startswith(section.prefixes)]
        left = [one for one in left if one not in mine]
        rows = table([("Metric", "Type", "Labels", "Meaning"), ("---",) * 4, *map(_row, mine)])
        parts.append(f"## {section.title}\n\n{section.text}\n\n{rows}\n")
    if left:
        raise ValueError(f"no section has {left[0].name}: add its prefix to one in {__name__}")
    alerts = table([("Alert", "Severity", "After", "Says"), ("---",) * 4, *map(_alert_row, ALERTS)])
    return f"""{_HEADER}
# Metrics and alerts

The operator serves metrics at `/metrics` on port 8080, for namespaces with the label `tracking-operator.dev/monitoring: "true"`. How to have
them scraped, with alerts and a dashboard, is in [monitoring](../how-to/monitoring.md). Metrics of MLflow itself have a port at
each server ([access](../how-to/access.md)).

{chr(10).join(parts)}
## Alerts

Each links to its runbook.

{alerts}
"""


def _row(metric: Served) -> tuple[str, str, str, str]:
    return f"`{metric.name}`", metric.type, ", ".join(map(_label, metric.labels.items())), metric.meaning


def _alert_row(alert: Alert) -> tuple[str, str, str, str]:
    said = alert.summary.replace("{{ $labels.", "`").replace(" }}", "`")
    return f"[{alert.name}](../runbooks/{alert.name}.md)", alert.severity, alert.holds, said


def _label(label: tuple[str, frozenset[str]]) -> str:
    """A label, with its values where they are words of ours and few."""
    name, values = label
    if name in ("result", "outcome", "priority", "status") and len(values) <= MOST_VALUES:
        return f"`{name}` ({', '.join(sorted(values))})"
    return f"`{name}`"
