"""What `kubectl tracking backup` makes, how it waits, what it says is stored, and what it refuses."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, condition, tracking_server
from tracking_operator.cli import backup
from tracking_operator.cli.kubectl_program import main
from tracking_operator.kube.objects import KubeObject

PLACEMENT = {
    "className": "standard",
    "version": "3.18.0",
    "backendStore": "postgres",
    "artifactStore": "s3",
}
STATUS: dict[str, Any] = {"placement": PLACEMENT, "schemaRevision": "dc11669786a5"}
HOSTILE = "\x1b[2J\u202e"
STORED: KubeObject = {
    "bucket": "ml-artifacts",
    "folder": ".tracking-operator/backups/a/b/1/",
    "size": 3 * 1024 * 1024,
    "mlflowVersion": "3.18.0",
    "runs": 12,
    "objects": 4,
}


def under_way(message: str) -> KubeObject:
    return {"conditions": [condition("Complete", "False", "Progressing", message)]}


def complete() -> KubeObject:
    return STORED | {"conditions": [condition("Complete", "True", "AsExpected", "All is stored.")]}


def given_up(message: str) -> KubeObject:
    found = [
        condition(type_, status, "BackupFailed", message)
        for type_, status in (("Complete", "False"), ("Stalled", "True"))
    ]
    return {"conditions": found}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "SECONDS_BETWEEN_LOOKS", 0.0)


def back_up(cluster: FakeCluster, *arguments: str) -> int:
    return main(["backup", "tracking", *arguments, "--kubeconfig", str(cluster.kubeconfig)])


def refuse_to_show_backups(cluster: FakeCluster, status: int, message: str) -> None:
    """Their names end with a digit."""
    for digit in range(10):
        cluster.refusals["GET", str(digit)] = (status, message)


def test_it_makes_a_backup_that_is_called_like_the_server_and_the_moment(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    server = tracking_server({"version": "3.18.0"}, STATUS)
    cluster.put(server)
    before = datetime.now(UTC).replace(microsecond=0)
    assert back_up(cluster) == 0
    (path,) = cluster.created
    made = cluster.stored[path]
    name = made["metadata"]["name"]
    asked = datetime.strptime(name, "tracking-%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert before <= asked <= datetime.now(UTC)
    assert made == {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServerBackup",
        "metadata": {"name": name, "namespace": "team-a"},
        "spec": {"serverRef": {"name": "tracking"}},
    }
    assert cluster.get(server) == server
    assert [one["fieldManager"] for one in cluster.queries if one] == [["kubectl-tracking"]]
    said = capsys.readouterr().out
    assert f"wait --for=condition=Complete --timeout=30m trackingserverbackup/{name}" in said


def test_waiting_tells_how_it_gets_on_and_what_is_stored(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({}, STATUS))
    copying = under_way("Job tracking-backup copies.")
    cluster.statuses = [{}, copying, copying, under_way(f"Another attempt.{HOSTILE}"), complete()]
    assert back_up(cluster, "--wait") == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[1] == backup.NOT_LOOKED_AT
    assert lines[2] == "Job tracking-backup copies."
    assert lines[3].startswith("Another attempt.")
    for words in (
        "12 runs and 4 artifacts of MLflow 3.18.0",
        "3.0 MiB",
        "s3://ml-artifacts/.tracking-operator",
    ):
        assert words in lines[4]
    assert re.search(r"spec\.bootstrap\.fromBackup\.name: tracking-\d{8}-\d{6}\.", lines[4])
    assert len(lines) == 5
    assert not set(said) & set(HOSTILE[0] + HOSTILE[-1])


def test_a_backup_that_is_given_up_is_an_error_in_the_operators_words(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({}, STATUS))
    cluster.statuses = [under_way("It copies."), given_up("There are too many.")]
    assert back_up(cluster, "--wait") == 1
    assert "is not complete (BackupFailed): There are too many." in capsys.readouterr().err


def test_a_backup_that_goes_meanwhile_is_an_error(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({}, STATUS))
    refuse_to_show_backups(cluster, 404, "not found")
    assert back_up(cluster, "--wait") == 1
    assert "somebody has deleted it" in capsys.readouterr().err


def test_a_dry_run_stores_nothing_and_waits_for_nothing(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({}, STATUS))
    assert back_up(cluster, "--dry-run", "--wait") == 0
    assert cluster.created == []
    assert cluster.queries[-1]["dryRun"] == ["All"]
    assert "nothing was stored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "metadata", "words"),
    [
        ({}, {}, "it can be backed up once it has been ready"),
        ({"placement": PLACEMENT}, {}, "it can be backed up once it has been ready"),
        (STATUS | {"placement": PLACEMENT | {"backendStore": "sqlite"}}, {}, "no database on its class's"),
        (STATUS | {"placement": PLACEMENT | {"backendStore": "external"}}, {}, "no database on its class's"),
        (STATUS | {"placement": PLACEMENT | {"artifactStore": "volume"}}, {}, "no prefix in its class's"),
        (STATUS, {"deletionTimestamp": "2026-01-01T10:00:00Z"}, "is being deleted"),
    ],
)
def test_what_would_never_be_complete_is_not_made(
    status: KubeObject,
    metadata: KubeObject,
    words: str,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster.put(tracking_server({}, status, **metadata))
    assert back_up(cluster, "--wait") == 1
    assert cluster.created == []
    said = capsys.readouterr().err
    assert words in said
    assert "TrackingServer tracking in namespace team-a" in said


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (
            403,
            "trackingserverbackups is forbidden: User jane cannot create resource",
            "the roles admin and edit",
        ),
        (403, f"exceeded quota: backups{HOSTILE}", "exceeded quota: backups"),
        (404, "the server could not find the requested resource", "older than this command"),
        (409, "already exists", "in this very second"),
        (500, "etcd is away", "etcd is away"),
    ],
)
def test_what_the_api_server_refuses_is_told_in_words(
    status: int, message: str, words: str, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({}, STATUS))
    cluster.refusals["POST", "/trackingserverbackups"] = (status, message)
    assert back_up(cluster) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "TrackingServerBackup team-a/tracking-" in said
    assert not set(said) & set(HOSTILE[0] + HOSTILE[-1])


def test_an_api_server_that_stops_answering_leaves_the_backup_to_the_operator(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server({}, STATUS))
    refuse_to_show_backups(cluster, 500, "etcd is away")
    assert back_up(cluster, "--wait") == 1
    said = capsys.readouterr().err
    assert "goes on, and cannot be read: etcd is away" in said
    assert "wait --for=condition=Complete" in said
