"""The Grafana dashboard: how the servers are, and how the operator is. Built with Grafana's own library."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, Panel
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

UID: Final = "tracking-operator"
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
NOT_READY: Final = (
    'max by (namespace, name) (tracking_operator_server_status_condition{type="Ready",status="True"}) == 0 '
    "unless on (namespace, name) tracking_operator_server_suspended == 1"
)

DATABASE_BYTES: Final = "tracking_operator_server_database_bytes"
ARTIFACT_BYTES: Final = "tracking_operator_server_artifact_bytes"
UNUSED_SECONDS: Final = "(time() - tracking_operator_server_last_activity_timestamp_seconds)"


@dataclass(frozen=True)
class Query:
    """What is asked, and how its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Chart:
    """A panel with lines."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8


@dataclass(frozen=True)
class Number:
    """A panel with one number."""

    title: str
    query: Query
    width: int = 4
    unit: str = "short"


@dataclass(frozen=True)
class List:
    """A panel with a row for each series."""

    title: str
    query: Query
    width: int = 12


Shown = Chart | Number | List


def _per_second(counter: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({counter}[$__rate_interval]))"


def _largest(metric: str) -> tuple[Query, ...]:
    return (Query(f"topk(10, max by (namespace, name) ({metric}))", "{{namespace}}/{{name}}"),)


def _quantiles(histogram: str, by: str) -> tuple[Query, ...]:
    return tuple(
        Query(
            f"histogram_quantile({quantile}, {_per_second(f'{histogram}_bucket', 'le', by)})",
            f"{{{{{by}}}}} {word}",
        )
        for quantile, word in ((0.5, "median"), (0.99, "99 %"))
    )


ROWS: Final[dict[str, Sequence[Shown]]] = {
    "Servers": (
        Number("Servers", Query("count(tracking_operator_server_info) or vector(0)")),
        Number("Not ready", Query(f"count({NOT_READY}) or vector(0)")),
        Number("Suspended", Query("sum(tracking_operator_server_suspended) or vector(0)")),
        Number("Rotating credentials", Query("sum(tracking_operator_server_credentials_rotating) or vector(0)")),
        Number(
            "Being deleted", Query("count(tracking_operator_server_deletion_timestamp_seconds) or vector(0)")
        ),
        Number("Without series", Query("max(tracking_operator_servers_without_series)")),
        List("Servers that are not ready", Query(NOT_READY)),
        List("Conditions of classes", Query('tracking_operator_class_status_condition{status="True"}')),
        Chart(
            "Conditions that are not true",
            (
                Query(
                    "count by (type) (tracking_operator_server_status_condition"
                    '{status="True",type!~"Reconciling|Stalled"} == 0)',
                    "{{type}}",
                ),
            ),
        ),
        Chart("Servers by release of MLflow", (Query("count by (version) (tracking_operator_server_info)", "{{version}}"),)),
        Chart("Servers by class", (Query("count by (class) (tracking_operator_server_info)", "{{class}}"),)),
    ),
    "What servers hold": (
        Number("Databases together", Query(f"sum({DATABASE_BYTES})"), unit="bytes"),
        Number("Artifacts together", Query(f"sum({ARTIFACT_BYTES})"), unit="bytes"),
        Number("Runs", Query("sum(tracking_operator_server_runs)")),
        Number("Registered models", Query("sum(tracking_operator_server_models)")),
        Number("Used in the last week", Query(f"count({UNUSED_SECONDS} < 604800) or vector(0)")),
        Number("Measured", Query(f"count({DATABASE_BYTES} or {ARTIFACT_BYTES})")),
        Chart("Largest databases", _largest(DATABASE_BYTES), "bytes"),
        Chart("Most artifacts", _largest(ARTIFACT_BYTES), "bytes"),
        Chart("Most runs", _largest("tracking_operator_server_runs")),
        List("Seconds since somebody used it", Query(f"sort_desc(max by (namespace, name) ({UNUSED_SECONDS}))")),
        Chart(
            "Bytes by namespace",
            (
                Query(f"sum by (namespace) ({DATABASE_BYTES})", "{{namespace}} databases"),
                Query(f"sum by (namespace) ({ARTIFACT_BYTES})", "{{namespace}} artifacts"),
            ),
            "bytes",
            12,
        ),
    ),
    "Operator": (
        Number("Leaders", Query("sum(leader_election_master_status)")),
        Number("Versions", Query("count(count by (version) (tracking_operator_build_info))")),
        Number("Objects in the cache", Query("max(tracking_operator_cached_objects)")),
        Chart(
            "Reconciles per second",
            (Query(_per_second("controller_runtime_reconcile_total", "controller", "result"), "{{controller}} {{result}}"),),
            "ops",
            12,
        ),
        Chart(
            "How long a reconcile takes",
            _quantiles("controller_runtime_reconcile_time_seconds", "controller"),
            "s",
        ),
        Chart("How long a resource waits", _quantiles("workqueue_queue_duration_seconds", "name"), "s"),
        Chart(
            "Queue",
            (
                Query("sum by (name) (workqueue_depth)", "{{name}} waits"),
                Query(_per_second("workqueue_adds_total", "name"), "{{name}} added per second"),
                Query(_per_second("workqueue_retries_total", "name"), "{{name}} retried per second"),
            ),
        ),
        Chart(
            "What servers fail with, per second",
            (Query(_per_second("tracking_operator_failures_total", "kind", "reason"), "{{kind}} {{reason}}"),),
            "ops",
        ),
        Chart(
            "Requests to the API server per second",
            (Query(_per_second("rest_client_requests_total", "method", "code"), "{{method}} {{code}}"),),
            "ops",
        ),
        Chart(
            "Longest work under way",
            (Query("max by (name) (workqueue_longest_running_processor_seconds)", "{{name}}"),),
            "s",
        ),
        Chart("Memory", (Query("process_resident_memory_bytes{job=~\".*tracking-operator.*\"}", "{{pod}}"),), "bytes", 12),
        Chart(
            "Processors in use",
            (Query('rate(process_cpu_seconds_total{job=~".*tracking-operator.*"}[$__rate_interval])', "{{pod}}"),),
            "short",
            12,
        ),
    ),
}  # fmt: skip


def queries() -> Iterator[Query]:
    """Every query of the dashboard."""
    for shown in (one for row in ROWS.values() for one in row):
        yield from shown.queries if isinstance(shown, Chart) else (shown.query,)


def dashboard() -> str:
    """Return the dashboard as JSON, as Grafana imports it."""
    made = (
        Dashboard("tracking-operator")
        .uid(UID)
        .tags(["mlflow", "tracking-operator"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(builder.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for title, row in ROWS.items():
        made = made.with_row(Row(title))
        for shown in row:
            made = made.with_panel(_panel(shown))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _panel(shown: Shown) -> Builder[Panel]:
    match shown:
        case Chart():
            chart = timeseries.Panel().title(shown.title).datasource(SOURCE).unit(shown.unit)
            for query in shown.queries:
                chart = chart.with_target(_target(query))
            return chart.span(shown.width).height(8)
        case Number():
            number = stat.Panel().title(shown.title).datasource(SOURCE).unit(shown.unit)
            return number.with_target(_target(shown.query).instant()).span(shown.width).height(4)
        case List():
            target = _target(shown.query).instant().format(PromQueryFormat.TABLE)
            rows = table.Panel().title(shown.title).datasource(SOURCE)
            return rows.with_target(target).span(shown.width).height(8)


def _target(query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression)
    return target.legend_format(query.legend) if query.legend else target
