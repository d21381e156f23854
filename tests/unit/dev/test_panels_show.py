"""Prometheus' own evaluation finds series for each query of the dashboard, on what the operator serves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dev.local_cluster.binaries import published_program
from dev.monitoring.dashboard import Query, queries
from dev.monitoring.served import page
from tests.unit.dev.test_alerts_fire import run

pytestmark = pytest.mark.campaign

MINUTES = 30
TARGET = 'job="tracking-operator",pod="a"'
"""What Prometheus puts on what it scrapes."""


def series(*, is_well: bool) -> Iterator[dict[str, str]]:
    """Half an hour of scrapes of an operator that goes on working; its servers are all well, or none is."""
    for family in text_string_to_metric_families(page().decode()):
        for sample in family.samples:
            labels = [f'{name}="{value}"' for name, value in sample.labels.items()]
            is_condition = family.name.endswith("_status_condition")
            value = 0.0 if is_condition and not is_well else sample.value
            step = sample.value if family.type in ("counter", "histogram") else 0
            yield {
                "series": f"{sample.name}{{{','.join([*labels, TARGET])}}}",
                "values": f"{value:.6f}+{step:.6f}x{MINUTES}",
            }


def as_test(asked: list[Query], *, is_well: bool) -> dict[str, Any]:
    """A test of promtool: that each query finds something."""
    return {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": list(series(is_well=is_well)),
                "promql_expr_test": [
                    {
                        "expr": f"count({query.expression.replace('$__rate_interval', '5m')}) > bool 0",
                        "eval_time": f"{MINUTES - 1}m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                    for query in asked
                ],
            }
        ],
    }


def asks_for_trouble(query: Query) -> bool:
    """Whether a query shows what is not as it should be, and nothing else."""
    return "== 0" in query.expression


@pytest.mark.parametrize("is_well", [True, False], ids=["of what is well", "of what is not"])
def test_each_panel_shows_something(tmp_path: Path, *, is_well: bool) -> None:
    asked = [query for query in queries() if asks_for_trouble(query) is not is_well]
    assert asked
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(as_test(asked, is_well=is_well)))
    run(published_program("promtool"), "test", "rules", path)


def test_a_query_of_what_nobody_serves_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(as_test([Query("tracking_operator_nothing")], is_well=True)))
    with pytest.raises(AssertionError, match="tracking_operator_nothing"):
        run(published_program("promtool"), "test", "rules", path)
