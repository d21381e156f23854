"""Alerts and panels ask for what the operator serves, every alert has its page, and what is generated is current."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from dev.monitoring.__main__ import stale_files
from dev.monitoring.alerts import ALERTS, RUNBOOKS, Alert, prometheus_rule
from dev.monitoring.dashboard import Query, dashboard, queries
from dev.monitoring.served import samples

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "runbooks"
MONITORING = ROOT / "manifests" / "monitoring"
OF_TARGETS = {"job", "pod"}
"""Labels that Prometheus puts on what it scrapes."""
SERVED = samples()
EXPRESSIONS = [*(alert.expression for alert in ALERTS), *(query.expression for query in queries())]
BY_ITSELF = {"time", "vector", "absent"}
"""Functions whose result has none of the labels of what goes in."""
CHOOSE = {"topk", "bottomk"}
"""Aggregations that leave series as they are."""


class NotServedError(AssertionError):
    """An expression asks for what the operator does not serve."""


def parsed(expression: str) -> promql.Expr:
    return promql.parse(expression.replace("$__rate_interval", "5m"))


def labels_of(expr: object) -> set[str]:
    """The labels of an expression's result. Raises NotServedError: it asks for a metric, label or value that nobody serves."""
    found: set[str] = set()
    match expr:
        case promql.VectorSelector():
            found = labels_of_selector(expr)
        case promql.MatrixSelector():
            found = labels_of_selector(expr.vector_selector)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            found = labels_of(expr.expr)
        case promql.Call():
            inner = found.union(*(labels_of(argument) for argument in expr.args))
            found = set() if expr.func.name in BY_ITSELF else inner
            found -= {"le"} if expr.func.name == "histogram_quantile" else set()
        case promql.AggregateExpr():
            found = labels_of_aggregation(expr)
        case promql.BinaryExpr():
            found = labels_of_pair(expr)
        case _:
            assert isinstance(expr, promql.NumberLiteral | promql.StringLiteral), f"not known: {expr}"
    return found


def labels_of_selector(selector: promql.VectorSelector) -> set[str]:
    served = SERVED.get(selector.name or "")
    if served is None:
        raise NotServedError(f"no metric is called {selector.name}")
    for matcher in selector.matchers.matchers:
        require(matcher.name, set(served) | OF_TARGETS, selector)
        if matcher.op == promql.MatchOp.Equal and matcher.value not in served[matcher.name]:
            raise NotServedError(f"{selector.name} has no {matcher.name} {matcher.value}")
    return set(served) | OF_TARGETS


def labels_of_aggregation(expr: promql.AggregateExpr) -> set[str]:
    inner = labels_of(expr.expr)
    if str(expr.op) in CHOOSE:
        return inner
    kept = set(expr.modifier.labels) if expr.modifier else set()
    for label in kept:
        require(label, inner, expr)
    return kept


def labels_of_pair(expr: promql.BinaryExpr) -> set[str]:
    left, right = labels_of(expr.lhs), labels_of(expr.rhs)
    matching = expr.modifier.matching if expr.modifier else None
    for label in matching.labels if matching else ():
        require(label, left, expr)
        require(label, right, expr)
    return left or right


def require(label: str, there: set[str], expr: promql.Expr) -> None:
    if label not in there:
        raise NotServedError(f"nothing has a label {label} in {expr.prettify()}")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_the_operator_serves(expression: str) -> None:
    labels_of(parsed(expression))


@pytest.mark.parametrize(
    "expression",
    [
        "tracking_operator_servers",
        'workqueue_depth{name="trackingservers"}',
        'workqueue_depth{queue="trackingserver"}',
        "sum by (namespace) (workqueue_depth)",
        "sum by (name) (controller_runtime_reconcile_time_seconds_bucket)",
        "workqueue_depth unless on (namespace) tracking_operator_server_info",
        "rate(controller_runtime_reconcile_total[5m]) / sum by (kind) (workqueue_depth)",
    ],
)
def test_an_expression_that_asks_for_something_else_is_found(expression: str) -> None:
    with pytest.raises(NotServedError):
        labels_of(parsed(expression))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_only_what_its_series_have(alert: Alert) -> None:
    said = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    assert said <= labels_of(parsed(alert.expression)) - OF_TARGETS


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.expression)
def test_a_line_is_called_by_labels_that_it_has(query: Query) -> None:
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= labels_of(parsed(query.expression))


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(page.stem for page in PAGES.glob("*.md"))


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["What it means", "What to look at", "What to do"]


def rules() -> Iterator[dict[str, object]]:
    for group in prometheus_rule()["spec"]["groups"]:
        yield from group["rules"]


def test_the_address_of_a_page_is_its_place_in_the_documentation() -> None:
    for rule in rules():
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        path = annotations["runbook_url"].removeprefix(RUNBOOKS.removesuffix("/runbooks"))
        assert (ROOT / "docs" / path.lstrip("/")).exists(), path


def test_what_is_generated_is_current() -> None:
    assert list(stale_files()) == []


def panels(of: dict[str, object]) -> Iterator[dict[str, object]]:
    found = of["panels"]
    assert isinstance(found, list)
    for panel in found:
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def test_a_dashboard_has_each_panel_beside_the_others_with_its_queries() -> None:
    made = json.loads(dashboard())
    asked = []
    for panel in panels(made):
        targets, place = panel["targets"], panel["gridPos"]
        assert isinstance(targets, list)
        assert isinstance(place, dict)
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        asked += [target["expr"] for target in targets]
    assert asked == [query.expression for query in queries()]


def test_the_operator_is_scraped_with_the_labels_of_its_series() -> None:
    monitor = yaml.safe_load((MONITORING / "operator-service-monitor.yaml").read_text())
    service = yaml.safe_load((ROOT / "manifests" / "base" / "service.yaml").read_text())
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
