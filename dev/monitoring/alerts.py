"""When somebody has to be told, as a PrometheusRule: each alert has a page in docs/runbooks/."""

from dataclasses import dataclass
from typing import Any, Final, Literal

RUNBOOKS: Final = "https://tracking-operator.dev/docs/runbooks"
"""Where the pages are for who gets an alert. Whoever has them elsewhere replaces this in alerts.yaml."""
OF_A_SERVER: Final = "namespace, name"
CLASS_CONDITION: Final = "tracking_operator_class_status_condition"


@dataclass(frozen=True)
class Alert:
    """One alert: the expression, for how long it has to hold, and what is said in one line and in a paragraph."""

    name: str
    expression: str
    holds: str
    severity: Literal["critical", "warning", "info"]
    summary: str
    description: str

    def rule(self) -> dict[str, Any]:
        """Return the alert as a rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.holds,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
        }


def _class_not_ready(type_: str) -> str:
    return f'max by (class) ({CLASS_CONDITION}{{type="{type_}",status="True"}}) == 0'


def _above_limit(usage: str, limit: str) -> str:
    return (
        f"max by ({OF_A_SERVER}, class) (tracking_operator_server_info) "
        f"* on ({OF_A_SERVER}) group_left () max by ({OF_A_SERVER}) ({usage}) "
        f"> on (class) group_left () max by (class) ({limit})"
    )


SERVER_ALERTS: Final = (
    Alert(
        "TrackingServerNotReady",
        f"max by ({OF_A_SERVER}) "
        '(tracking_operator_server_status_condition{type="Ready",status="True"}) == 0 '
        f"unless on ({OF_A_SERVER}) tracking_operator_server_suspended == 1 "
        f"unless on ({OF_A_SERVER}) tracking_operator_server_deletion_timestamp_seconds",
        "15m",
        "warning",
        "Tracking server {{ $labels.namespace }}/{{ $labels.name }} has not been ready for 15 minutes.",
        "Its condition Ready is False or Unknown, and nobody has suspended or deleted it. Its conditions say what it waits for.",
    ),
    Alert(
        "TrackingServerDeletionStuck",
        f"time() - max by ({OF_A_SERVER}) (tracking_operator_server_deletion_timestamp_seconds) > 1800",
        "5m",
        "warning",
        "Tracking server {{ $labels.namespace }}/{{ $labels.name }} has been in deletion for half an hour.",
        "Something that it keeps outside of Kubernetes could not be removed. Its condition Ready names it.",
    ),
    Alert(
        "TrackingServerRotationStalled",
        f"max by ({OF_A_SERVER}) (tracking_operator_server_credentials_rotating) == 1",
        "2h",
        "warning",
        "A rotation of credentials of {{ $labels.namespace }}/{{ $labels.name }} has not ended in two hours.",
        "Old credentials still work. A rotation takes minutes, and an hour where clients have keys of their own.",
    ),
    Alert(
        "TrackingServersNearLimit",
        f"count by (namespace, class) (max by ({OF_A_SERVER}, class) (tracking_operator_server_info)) "
        "/ on (class) group_left () "
        "max by (class) (tracking_operator_class_max_servers_per_namespace > 4) "
        ">= 0.9",
        "15m",
        "info",
        "Namespace {{ $labels.namespace }} has nearly as many servers as class {{ $labels.class }} allows.",
        "A server beyond limits.maxServersPerNamespace is refused with LimitExceeded.",
    ),
    Alert(
        "TrackingServerDatabaseAboveLimit",
        _above_limit("tracking_operator_server_database_bytes", "tracking_operator_class_max_database_bytes"),
        "15m",
        "warning",
        "The database of {{ $labels.namespace }}/{{ $labels.name }} is larger than class {{ $labels.class }} allows.",
        "Nothing is stopped. It was measured within the last hour or so, and takes room that others share.",
    ),
    Alert(
        "TrackingServerArtifactsAboveLimit",
        _above_limit("tracking_operator_server_artifact_bytes", "tracking_operator_class_max_artifact_bytes"),
        "15m",
        "warning",
        "The artifacts of {{ $labels.namespace }}/{{ $labels.name }} are more than class {{ $labels.class }} allows.",
        "Nothing is stopped. They were measured within the last hour or so, without older versions of objects.",
    ),
    Alert(
        "TrackingServerBackupLate",
        f"max by ({OF_A_SERVER}) "
        '(tracking_operator_server_status_condition{type="BackedUp",status="True"}) == 0',
        "1h",
        "warning",
        "Tracking server {{ $labels.namespace }}/{{ $labels.name }} has not been backed up as planned.",
        "The backup that was due last is not complete, or the plan makes none. The condition BackedUp says why.",
    ),
)

CLASS_ALERTS: Final = (
    Alert(
        "TrackingServerClassPostgresNotReady",
        _class_not_ready("BackendStoreReady"),
        "5m",
        "critical",
        "The PostgreSQL of class {{ $labels.class }} cannot be used.",
        "Databases are neither made nor repaired, and servers of the class may fail. The class's condition says why.",
    ),
    Alert(
        "TrackingServerClassBucketNotReady",
        _class_not_ready("ArtifactStoreReady"),
        "5m",
        "critical",
        "The bucket of class {{ $labels.class }} cannot be used.",
        "Prefixes are neither made nor repaired, and artifacts may be out of reach. The class's condition says why.",
    ),
)

OPERATOR_ALERTS: Final = (
    Alert(
        "TrackingOperatorDown",
        "absent(tracking_operator_build_info)",
        "5m",
        "critical",
        "No tracking-operator is scraped.",
        "It does not run, or Prometheus does not get to it. Servers go on; nothing is made, repaired or rotated.",
    ),
    Alert(
        "TrackingOperatorNoLeader",
        "absent(leader_election_master_status == 1) and on () (count(tracking_operator_build_info) > 0)",
        "5m",
        "critical",
        "tracking-operator runs, but none of its pods holds the Lease.",
        "Nothing is made, repaired or rotated. A takeover takes 15 seconds.",
    ),
    Alert(
        "TrackingOperatorReconcileErrors",
        "sum by (controller) (rate(controller_runtime_reconcile_errors_total[10m])) "
        "/ sum by (controller) (rate(controller_runtime_reconcile_total[10m])) "
        "> 0.1",
        "15m",
        "warning",
        "More than a tenth of the reconciles of {{ $labels.controller }} fail.",
        "The API server refuses or does not answer, or the operator itself is at fault. Its log has a line for each.",
    ),
    Alert(
        "TrackingOperatorQueueNotDrained",
        "max by (name) (min_over_time(workqueue_depth[5m])) > 0",
        "15m",
        "warning",
        "The queue of {{ $labels.name }} has not been empty for 15 minutes.",
        "Edits wait longer and longer. The workers, a store or the API server are too slow for what is asked.",
    ),
    Alert(
        "TrackingOperatorSeriesLeftOut",
        "max(tracking_operator_servers_without_series) > 0",
        "15m",
        "info",
        "Some tracking servers have no series, so that no alert tells of them.",
        "A namespace has more than 100 servers, or all together have more than 5,000.",
    ),
)

GROUPS: Final = {
    "tracking-servers": SERVER_ALERTS,
    "tracking-server-classes": CLASS_ALERTS,
    "tracking-operator": OPERATOR_ALERTS,
}
ALERTS: Final = tuple(alert for alerts in GROUPS.values() for alert in alerts)


def prometheus_rule() -> dict[str, Any]:
    """Return all alerts as the object that the Prometheus Operator takes."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "tracking-operator", "namespace": "monitoring"},
        "spec": {
            "groups": [
                {"name": name, "rules": [alert.rule() for alert in alerts]} for name, alerts in GROUPS.items()
            ]
        },
    }
