"""What `kubectl tracking status` says of a server, and of the servers of a namespace."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, condition, event, tracking_server
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.kubectl_program import main
from tracking_operator.cli.server_report import NO_OPERATOR, NOT_SEEN, latest, waits_for
from tracking_operator.cli.status_page import age

Shown = Callable[..., str]

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\nReady: yes\r"
READY = [condition("Ready", "True", "AsExpected", "The server answers.")]
SETTLED: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": READY,
    "url": "https://mlflow.example.com/team-a",
    "address": {"url": "http://tracking.team-a.svc/team-a"},
    "className": "standard",
    "version": "3.18.0",
    "schemaRevision": "f4a9b2c7d1e6",
    "replicas": 2,
    "backendStore": {"kind": "postgres"},
    "database": {
        "host": "pg.db.svc",
        "port": 5432,
        "name": "mlflow_team_a",
        "role": "mlflow_team_a",
        "loginRole": "mlflow_team_a_b",
    },
    "artifactStore": {"kind": "s3", "bucket": "ml-artifacts", "prefix": "team-a/tracking"},
    "client": {"configMapName": "tracking-client", "secretName": "tracking-client"},
    "clients": [{"namespace": "pipelines", "name": "runs", "permission": "EDIT"}],
    "usage": {
        "databaseBytes": 8_000_000,
        "runs": 12,
        "artifactBytes": 5_000_000_000,
        "measuredAt": "2026-01-01T11:00:00Z",
    },
    "backups": {
        "schedule": "0 2 * * * UTC",
        "nextAt": "2026-01-02T02:00:00Z",
        "lastComplete": "tracking-20260101-0200",
        "lastCompletedAt": "2026-01-01T02:03:00Z",
    },
}


def server(status: dict[str, Any], **metadata: object) -> TrackingServer:
    return TrackingServer.model_validate(tracking_server({}, status, **metadata))


@pytest.fixture
def shown(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> Shown:
    """What a command prints, which has to succeed."""

    def show(*arguments: str) -> str:
        assert main([*arguments, "--kubeconfig", str(cluster.kubeconfig)]) == 0
        return capsys.readouterr().out

    return show


def test_one_page_has_all_that_people_look_for(cluster: FakeCluster, shown: Shown) -> None:
    cluster.put(tracking_server({}, SETTLED), event("PostgreSQL does not answer.", count=3))
    page = shown("status", "tracking")
    for words in (
        "TrackingServer team-a/tracking: Ready (AsExpected)",
        "https://mlflow.example.com/team-a",
        "http://tracking.team-a.svc/team-a",
        "database mlflow_team_a on pg.db.svc:5432, login mlflow_team_a_b",
        "prefix s3://ml-artifacts/team-a/tracking",
        "7.6 MiB in the database, 12 runs, 4.7 GiB of artifacts (measured at 2026-01-01 11:00 UTC)",
        "tracking-20260101-0200, ",
        " old; the next one is due at 2026-01-02 02:00 UTC",
        "3.18.0",
        "f4a9b2c7d1e6",
        "ConfigMap tracking-client, Secret tracking-client",
        "pipelines/runs (EDIT)",
        "StoreUnreachable (x3)",
        "PostgreSQL does not answer.",
    ):
        assert words in page
    assert re.search(r"^Waits for +nothing$", page, re.MULTILINE)


def test_conditions_are_in_the_order_in_which_a_server_comes_about(
    cluster: FakeCluster, shown: Shown
) -> None:
    given = [condition(one, "True", "AsExpected") for one in reversed(ConditionType)]
    cluster.put(tracking_server({}, {"conditions": [condition("Newer", "True", "AsExpected"), *given]}))
    page = shown("status", "tracking")
    assert re.findall(r"^(\w+) +True", page, re.MULTILINE) == [*ConditionType, "Newer"]


def test_a_stalled_server_waits_for_who_has_to_act() -> None:
    wait = waits_for(
        server(
            {
                "observedGeneration": 1,
                "conditions": [
                    condition("Ready", "False", "NotPermitted", "Ask for another host."),
                    condition("SpecValid", "False", "NotPermitted", "Ask for another host."),
                    condition("Stalled", "True", "NotPermitted", "SpecValid is not true."),
                ],
            }
        )
    )
    assert wait is not None
    assert (wait.who, wait.condition, wait.message) == ("the team", "SpecValid", "Ask for another host.")


def test_a_server_that_serves_while_the_operator_works_says_at_what() -> None:
    wait = waits_for(
        server(
            {
                "observedGeneration": 1,
                "conditions": [
                    *READY,
                    condition("WorkloadReady", "False", "RolloutInProgress", "1 of 2 pods are new."),
                    condition("Reconciling", "True", "RolloutInProgress", "WorkloadReady is not true yet."),
                ],
            }
        )
    )
    assert wait is not None
    assert (wait.who, wait.condition, wait.message) == (
        "the operator",
        "WorkloadReady",
        "1 of 2 pods are new.",
    )


def test_a_suspended_server_waits_to_be_woken() -> None:
    wait = waits_for(
        server({"observedGeneration": 1, "conditions": [condition("Ready", "False", "Suspended")]})
    )
    assert wait is not None
    assert wait.who == "somebody who wakes it"


@pytest.mark.parametrize("reason", ["Pending", "StoreUnreachable", "Busy", "OfANewerOperator"])
def test_every_reason_names_somebody(reason: str) -> None:
    wait = waits_for(server({"observedGeneration": 1, "conditions": [condition("Ready", "False", reason)]}))
    assert wait is not None
    assert wait.who


def test_a_change_that_was_not_looked_at_waits_for_the_operator() -> None:
    wait = waits_for(server({"observedGeneration": 1, "conditions": READY}, generation=2))
    assert wait is not None
    assert wait.message == NOT_SEEN


def test_a_server_that_nobody_looks_at_has_no_operator() -> None:
    wait = waits_for(server({}))
    assert wait is not None
    assert wait.message == NO_OPERATOR


def test_only_events_about_this_very_server_are_told(cluster: FakeCluster, shown: Shown) -> None:
    earlier = {"kind": "TrackingServer", "name": "tracking", "uid": "of an earlier one"}
    cluster.put(
        tracking_server({}, SETTLED),
        event("now", name="now"),
        event("before", name="before", involvedObject=earlier),
    )
    page = shown("status", "tracking")
    assert "now" in page
    assert "before" not in page


def test_the_latest_events_are_told_in_the_order_in_which_they_happened() -> None:
    events = [event(str(hour), lastTimestamp=f"2026-01-01T{hour:02}:00:00Z") for hour in (5, 20, 3)]
    newer_api = event(
        "newer", lastTimestamp=None, eventTime="2026-01-01T04:00:00.000001Z", series={"count": 7}
    )
    found = latest([*events, newer_api])
    assert [one.message for one in found] == ["3", "newer", "5", "20"]
    assert found[1].count == 7


def test_events_that_may_not_be_read_are_no_obstacle(cluster: FakeCluster, shown: Shown) -> None:
    cluster.put(tracking_server({}, SETTLED))
    cluster.refusals[("GET", "/events")] = (403, "events is forbidden: user cannot list")
    assert "may not be read" in shown("status", "tracking")
    assert json.loads(shown("status", "tracking", "-o", "json"))["events"] is None


def test_programs_read_the_same(cluster: FakeCluster, shown: Shown) -> None:
    cluster.put(tracking_server({}, SETTLED), event("PostgreSQL does not answer."))
    found = json.loads(shown("status", "tracking", "-o", "json"))
    assert found["ready"] is True
    assert found["waits"] is None
    assert found["url"] == "https://mlflow.example.com/team-a"
    assert found["backendStore"]["database"]["name"] == "mlflow_team_a"
    assert found["artifactStore"]["prefix"] == "team-a/tracking"
    assert found["conditions"] == READY
    assert found["events"][0]["message"] == "PostgreSQL does not answer."


def test_without_a_name_the_servers_of_the_namespace_are_listed(cluster: FakeCluster, shown: Shown) -> None:
    cluster.put(
        tracking_server({}, SETTLED),
        tracking_server({}, name="young"),
        tracking_server({}, name="elsewhere", namespace="team-b"),
    )
    lines = shown("status").splitlines()
    assert lines[0].split() == ["NAME", "READY", "REASON", "VERSION", "URL", "AGE"]
    assert lines[1].split()[:4] == ["tracking", "True", "AsExpected", "3.18.0"]
    assert lines[2].split()[:2] == ["young", "-"]
    assert len(lines) == 3
    assert "elsewhere" in shown("status", "-n", "team-b")
    listed = json.loads(shown("status", "-o", "json"))["items"]
    assert [one["name"] for one in listed] == ["tracking", "young"]


def test_an_empty_namespace_is_a_sentence(cluster: FakeCluster, shown: Shown) -> None:
    assert shown("status", "-n", "empty") == "There are no TrackingServers in namespace empty.\n"


def test_what_a_tenant_wrote_steers_no_terminal(
    cluster: FakeCluster, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = {
        **SETTLED,
        "url": HOSTILE,
        "version": HOSTILE,
        "schemaRevision": HOSTILE,
        "className": HOSTILE,
        "address": {"url": HOSTILE},
        "database": SETTLED["database"] | {"name": HOSTILE},
        "artifactStore": {"kind": "s3", "bucket": HOSTILE, "prefix": HOSTILE, "endpoint": HOSTILE},
        "client": {"configMapName": HOSTILE, "secretName": HOSTILE},
        "conditions": [condition(HOSTILE, "False", HOSTILE, HOSTILE), *READY],
    }
    cluster.put(
        tracking_server({"version": HOSTILE, "image": HOSTILE}, hostile),
        event(HOSTILE, type=HOSTILE, reason=HOSTILE, lastTimestamp=HOSTILE),
    )
    for arguments in (("status", "tracking"), ("status",), ("status", "tracking", "-o", "json")):
        printed = shown(*arguments)
        assert not set(printed) & set("\x1b\x07\x9b\u202e\r")
        assert "\nReady: yes" not in printed


def test_a_terminal_gets_colours_unless_it_is_not_to(
    cluster: FakeCluster, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put(tracking_server({}, SETTLED), event(HOSTILE))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in shown("status", "tracking")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    coloured = shown("status", "tracking")
    assert "\x1b[32mReady (AsExpected)\x1b[0m" in coloured
    assert set(re.findall(r"\x1b\[([0-9;]*)(.)", coloured)) <= {
        (one, "m") for one in ("0", "1", "2", "32", "33")
    }
    for variable, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as environment:
            environment.setenv(variable, value)
            assert "\x1b" not in shown("status", "tracking")


def test_long_sentences_are_broken_where_a_terminal_ends(
    cluster: FakeCluster, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "The store does not answer. " * 20
    cluster.put(tracking_server({}, {"conditions": [condition("Exposed", "False", "Busy", sentence)]}))
    assert sentence.strip() in shown("status", "tracking")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    broken = [line for line in shown("status", "tracking").splitlines() if "store does not" in line]
    assert len(broken) > 5
    assert max(map(len, broken)) <= 60


def test_a_server_that_is_not_there_is_a_sentence(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "none", "--kubeconfig", str(cluster.kubeconfig)]) == 1
    assert "There is no TrackingServer none in namespace team-a" in capsys.readouterr().err


def test_a_cluster_without_the_definitions_is_a_sentence(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.refusals[("GET", "/trackingservers")] = (404, "the server could not find the requested resource")
    assert main(["status", "--kubeconfig", str(cluster.kubeconfig)]) == 1
    assert "definitions are not installed" in capsys.readouterr().err


def test_a_server_of_a_newer_operator_is_a_sentence(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({"replicas": {"min": 1}}))
    assert main(["status", "tracking", "--kubeconfig", str(cluster.kubeconfig)]) == 1
    assert "take the version that the operator has" in capsys.readouterr().err


def test_a_refusal_is_told_without_what_steers_a_terminal(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.refusals[("GET", "/tracking")] = (403, f"a webhook says {HOSTILE}")
    assert main(["status", "tracking", "--kubeconfig", str(cluster.kubeconfig)]) == 1
    told = capsys.readouterr().err
    assert "a webhook says" in told
    assert not set(told) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize(
    ("since", "told"),
    [
        (NOW - timedelta(seconds=42), "42s"),
        (NOW - timedelta(minutes=3, seconds=5), "3m"),
        (NOW - timedelta(hours=23), "23h"),
        (NOW - timedelta(days=400), "400d"),
        (NOW + timedelta(seconds=5), "0s"),
        ("2026-01-01T11:59:00Z", "1m"),
        ("2026-01-01T11:59:00", "1m"),
        ("yesterday", "-"),
        (None, "-"),
    ],
)
def test_an_age_is_in_its_largest_unit(since: datetime | str | None, told: str) -> None:
    assert age(since, NOW) == told
