"""Each alert fires when it should and ends when it should: Prometheus' own evaluation of the rules, by promtool."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.local_cluster.binaries import published_program
from dev.monitoring.alerts import ALERTS, Alert, prometheus_rule
from tests.waiting import patient

pytestmark = pytest.mark.campaign

SECONDS = 120
OF_SERVER = 'namespace="team-a",name="mlflow"'
ASLEEP = 'namespace="team-a",name="asleep"'
GOING = 'namespace="team-a",name="going"'
NAMED = {"namespace": "team-a", "name": "mlflow"}
READY = 'type="Ready",status="True"'
QUEUE = 'name="trackingserver",controller="trackingserver"'
RECONCILES = 'controller_runtime_reconcile_total{controller="trackingserver",result='


@dataclass(frozen=True)
class Case:
    """What is scraped each minute, when an alert is to have fired for it, and when not, in minutes."""

    series: Mapping[str, str]
    """Values by series: `0x30 1x30` is 31 times 0, then 31 times 1; `_x5` are five scrapes that find nothing."""
    fires: int | None
    quiet: tuple[int, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


def condition_of_class(type_: str) -> Case:
    series = f'tracking_operator_class_status_condition{{class="standard",type="{type_}",status="True"}}'
    return Case({series: "0x10 1x10"}, 8, (3, 15), {"class": "standard"})


def above_limit(what: str) -> Case:
    """A server with more than its class allows, beside one of a class without a limit; then the limit is raised."""
    servers = {"mlflow": "standard", "other": "generous"}
    return Case(
        {
            f'tracking_operator_server_info{{namespace="team-a",name="{name}",class="{class_}"}}': "1x60"
            for name, class_ in servers.items()
        }
        | {
            f'tracking_operator_server_{what}_bytes{{namespace="team-a",name="{name}"}}': "5x10 11x50"
            for name in servers
        }
        | {f'tracking_operator_class_max_{what}_bytes{{class="standard"}}': "10x40 20x20"},
        30,
        (20, 50),
        NAMED | {"class": "standard"},
    )


CASES = {
    "TrackingServerNotReady": Case(
        {
            # Another operator takes over after ten minutes: the alert begins no new time.
            f'tracking_operator_server_status_condition{{{OF_SERVER},{READY},pod="a"}}': "0x9 stale",
            f'tracking_operator_server_status_condition{{{OF_SERVER},{READY},pod="b"}}': "_x10 0x19 1x30",
            f"tracking_operator_server_suspended{{{OF_SERVER}}}": "0x60",
            f"tracking_operator_server_status_condition{{{ASLEEP},{READY}}}": "0x60",
            f"tracking_operator_server_suspended{{{ASLEEP}}}": "1x60",
            f"tracking_operator_server_status_condition{{{GOING},{READY}}}": "0x60",
            f"tracking_operator_server_deletion_timestamp_seconds{{{GOING}}}": "1x60",
        },
        16,
        (10, 40),
        NAMED,
    ),
    "TrackingServerDeletionStuck": Case(
        {f"tracking_operator_server_deletion_timestamp_seconds{{{OF_SERVER}}}": "60x50 stale"},
        40,
        (20, 60),
        NAMED,
    ),
    "TrackingServerRotationStalled": Case(
        {f"tracking_operator_server_credentials_rotating{{{OF_SERVER}}}": "1x150 0x30"}, 130, (60, 170), NAMED
    ),
    "TrackingServersNearLimit": Case(
        {
            f'tracking_operator_server_info{{namespace="team-a",name="s{number}",class="{class_}"}}': "1x60"
            for class_, count in (("standard", 9), ("small", 4))
            for number in range(count)
        }
        | {
            'tracking_operator_class_max_servers_per_namespace{class="standard"}': "10x30 20x30",
            'tracking_operator_class_max_servers_per_namespace{class="small"}': "4x60",
        },
        20,
        (10, 50),
        {"namespace": "team-a", "class": "standard"},
    ),
    "TrackingServerDatabaseAboveLimit": above_limit("database"),
    "TrackingServerArtifactsAboveLimit": above_limit("artifact"),
    "TrackingServerBackupLate": Case(
        {
            f'tracking_operator_server_status_condition{{{OF_SERVER},type="BackedUp",status="True"}}': "0x80 1x40"
        },
        70,
        (50, 100),
        NAMED,
    ),
    "TrackingServerClassPostgresNotReady": condition_of_class("BackendStoreReady"),
    "TrackingServerClassBucketNotReady": condition_of_class("ArtifactStoreReady"),
    "TrackingOperatorDown": Case(
        {'tracking_operator_build_info{version="1"}': "1x10 _x20 1x10"}, 25, (5, 35)
    ),
    "TrackingOperatorNoLeader": Case(
        {
            'leader_election_master_status{name="tracking-operator"}': "1x10 0x20 1x10",
            'tracking_operator_build_info{version="1"}': "1x45",
        },
        20,
        (5, 35),
    ),
    "TrackingOperatorReconcileErrors": Case(
        {
            'controller_runtime_reconcile_errors_total{controller="trackingserver"}': "0+10x40 400x40",
            f'{RECONCILES}"error"}}': "0+10x40 400x40",
            f'{RECONCILES}"success"}}': "0+10x80",
        },
        30,
        (10, 70),
        {"controller": "trackingserver"},
    ),
    "TrackingOperatorQueueNotDrained": Case(
        {f"workqueue_depth{{{QUEUE}}}": "3x40 0x1 3x10 0x30"}, 20, (10, 45, 70), {"name": "trackingserver"}
    ),
    "TrackingOperatorSeriesLeftOut": Case(
        {"tracking_operator_servers_without_series": "3x30 0x30"}, 20, (10, 50)
    ),
}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return published_program("promtool")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules as Prometheus reads them, without the object around."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(prometheus_rule()["spec"]))
    return path


def test_the_rules_are_ones(promtool: Path, rules: Path) -> None:
    said = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", rules)
    assert f"{len(ALERTS)} rules found" in said


def test_every_alert_is_tried() -> None:
    assert list(CASES) == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_fires_and_ends(alert: Alert, promtool: Path, rules: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(as_test(alert, CASES[alert.name], rules)))
    run(promtool, "test", "rules", path)


def test_a_case_that_expects_something_else_fails(promtool: Path, rules: Path, tmp_path: Path) -> None:
    alert = ALERTS[0]
    case = CASES[alert.name]
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(as_test(alert, Case(case.series, case.quiet[0], (), case.labels), rules)))
    with pytest.raises(AssertionError, match=alert.name):
        run(promtool, "test", "rules", path)


def as_test(alert: Alert, case: Case, rules: Path) -> dict[str, Any]:
    """A test of promtool: that exactly one alert fires, and says what it should."""
    expected: list[tuple[int, list[dict[str, Any]]]] = [(minute, []) for minute in case.quiet]
    if case.fires is not None:
        expected.append((case.fires, [fired(alert, case.labels)]))
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values} for series, values in case.series.items()
                ],
                "alert_rule_test": [
                    {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": alerts}
                    for minute, alerts in sorted(expected, key=lambda one: one[0])
                ],
            }
        ],
    }


def fired(alert: Alert, labels: Mapping[str, str]) -> dict[str, Any]:
    """An alert as it is sent."""
    return {
        "exp_labels": {"severity": alert.severity, **labels},
        "exp_annotations": {
            name: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
            for name, text in alert.rule()["annotations"].items()
        },
    }


def run(program: Path, *arguments: str | Path) -> str:
    """What it prints. Raises AssertionError: it failed."""
    ended = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=patient(SECONDS), check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said
