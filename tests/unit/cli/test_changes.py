"""What `rotate`, `suspend`, `wake` and `upgrade` write, what they say will happen, and what they refuse."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, condition, tracking_server
from tracking_operator.api.labels_and_annotations import (
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    WAKE_ANNOTATION,
)
from tracking_operator.cli.kubectl_program import main
from tracking_operator.kube.objects import KubeObject

Told = Callable[..., str]

DATABASE = {"host": "pg.db.svc", "port": 5432, "name": "db", "role": "db"}
PLACEMENT = {
    "className": "standard",
    "version": "3.17.2",
    "backendStore": "postgres",
    "artifactStore": "s3",
}
STATUS: dict[str, Any] = {
    "version": "3.17.2",
    "placement": PLACEMENT,
    "backendStore": {"kind": "postgres"},
    "artifactStore": {"kind": "s3", "bucket": "b", "prefix": "p"},
    "database": DATABASE,
    "loginRevision": "abc",
    "client": {"secretName": "tracking-client"},
    "conditions": [condition("SpecValid", "True", "AsExpected")],
}
ON_VOLUMES: dict[str, Any] = {
    "version": "3.17.2",
    "placement": {"version": "3.17.2", "backendStore": "sqlite", "artifactStore": "volume"},
    "backendStore": {"kind": "sqlite"},
    "artifactStore": {"kind": "volume"},
}
HOSTILE = "\x1b[2J\u202e"


@pytest.fixture
def told(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> Told:
    """What a command that succeeds says."""

    def say(*arguments: str) -> str:
        code = main([*arguments, "--kubeconfig", str(cluster.kubeconfig)])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return say


@pytest.fixture
def refused(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> Told:
    """Why a command refuses, which changes nothing."""

    def complain(*arguments: str) -> str:
        before = dict(cluster.stored)
        assert main([*arguments, "--kubeconfig", str(cluster.kubeconfig)]) == 1
        assert cluster.stored == before
        return capsys.readouterr().err

    return complain


def a_class(versions: list[str], status: dict[str, Any] | None = None) -> KubeObject:
    offered = [{"version": one, "image": f"registry/mlflow:{one}"} for one in versions]
    return {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServerClass",
        "metadata": {"name": "standard"},
        "spec": {"access": {"authentication": {"none": {}}}, "mlflow": {"versions": offered}},
        "status": status or {},
    }


def test_suspend_sets_one_field_and_says_how_to_wake(cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({"version": "3.17.2"}, STATUS)
    cluster.put(server)
    assert "`kubectl tracking wake tracking -n team-a` wakes it" in told("suspend", "tracking")
    assert cluster.get(server)["spec"] == {"version": "3.17.2", "suspend": True}
    assert "is suspended already" in told("suspend", "tracking")


def test_changes_are_written_under_a_name_of_their_own(cluster: FakeCluster, told: Told) -> None:
    cluster.put(tracking_server())
    told("suspend", "tracking")
    assert [one["fieldManager"] for one in cluster.queries if one] == [["kubectl-tracking"]]


@pytest.mark.parametrize(
    ("spec", "arguments", "after"),
    [
        ({"suspend": True}, (), {"suspend": False}),
        ({"replicas": 0}, (), {"replicas": 1}),
        ({"replicas": 0}, ("--replicas", "3"), {"replicas": 3}),
        ({"replicas": 0, "suspend": True}, (), {"replicas": 1, "suspend": False}),
        ({"replicas": 2, "suspend": True}, ("--replicas", "3"), {"replicas": 2, "suspend": False}),
    ],
)
def test_wake_undoes_what_keeps_a_server_asleep(
    spec: dict[str, Any],
    arguments: tuple[str, ...],
    after: dict[str, Any],
    cluster: FakeCluster,
    told: Told,
) -> None:
    server = tracking_server(spec)
    cluster.put(server)
    assert "wait --for=condition=Ready" in told("wake", "tracking", *arguments)
    assert cluster.get(server)["spec"] == after


def test_wake_asks_by_the_annotation_where_a_server_sleeps_by_itself(
    cluster: FakeCluster, told: Told
) -> None:
    sleeping = {"sleep": {"cause": "Schedule", "since": "2026-01-01T20:00:00Z"}}
    server = tracking_server({"replicas": 2}, sleeping)
    cluster.put(server)
    assert "wakes up" in told("wake", "tracking")
    stored = cluster.get(server)
    assert stored["spec"] == {"replicas": 2}
    assert datetime.fromisoformat(stored["metadata"]["annotations"][WAKE_ANNOTATION]).tzinfo is not None


def test_a_server_that_is_awake_is_left_alone(cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({"replicas": 2})
    cluster.put(server)
    assert "is not suspended" in told("wake", "tracking")
    assert cluster.get(server)["spec"] == {"replicas": 2}


def test_rotate_asks_by_the_annotation_with_another_value_each_time(cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({}, STATUS, annotations={"kept": "yes"})
    cluster.put(server)
    said = told("rotate", "tracking")
    for words in ("other login of the database", "keys of the prefix", "Secret tracking-client"):
        assert words in said
    first = cluster.get(server)["metadata"]["annotations"]
    assert set(first) == {"kept", ROTATE_CREDENTIALS_ANNOTATION}
    told("rotate", "tracking")
    again = cluster.get(server)["metadata"]["annotations"]
    assert again[ROTATE_CREDENTIALS_ANNOTATION] != first[ROTATE_CREDENTIALS_ANNOTATION]


def test_revoke_now_is_another_annotation_and_says_that_requests_fail(
    cluster: FakeCluster, told: Told
) -> None:
    server = tracking_server({}, STATUS)
    cluster.put(server)
    assert "Requests fail until new pods serve" in told("rotate", "tracking", "--revoke-now")
    assert list(cluster.get(server)["metadata"]["annotations"]) == [REVOKE_NOW_ANNOTATION]


def test_a_rotation_that_cannot_begin_says_why(cluster: FakeCluster, told: Told) -> None:
    problem = condition("SpecValid", "False", "NotPermitted", f"Ask for another host.{HOSTILE}")
    cluster.put(tracking_server({}, STATUS | {"conditions": [problem]}))
    said = told("rotate", "tracking")
    assert "It begins when SpecValid is true" in said
    assert "Ask for another host." in said
    assert not set(said) & set(HOSTILE[0] + HOSTILE[-1])


def test_what_has_no_credentials_is_not_rotated(cluster: FakeCluster, refused: Told) -> None:
    cluster.put(tracking_server({}, ON_VOLUMES))
    assert "nothing to replace" in refused("rotate", "tracking")
    assert "nothing to replace" in refused("rotate", "tracking", "--revoke-now")


def test_upgrade_sets_the_version_and_says_what_will_happen(cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({"replicas": 2}, STATUS)
    cluster.put(server, a_class(["3.17.2", "3.18.0"]))
    said = told("upgrade", "tracking", "3.18.0")
    for words in ("from MLflow 3.17.2 to 3.18.0", "Job tracking-migrate-3-18-0", "condition=WorkloadReady"):
        assert words in said
    assert cluster.get(server)["spec"] == {"replicas": 2, "version": "3.18.0"}


def test_an_upgrade_of_sqlite_and_of_a_suspended_server_says_so(cluster: FakeCluster, told: Told) -> None:
    cluster.put(
        tracking_server({}, ON_VOLUMES), tracking_server({"suspend": True}, ON_VOLUMES, name="asleep")
    )
    assert "requests fail until the new pod serves" in told("upgrade", "tracking", "3.18.0")
    assert "when it is woken" in told("upgrade", "asleep", "3.18.0")


def test_pods_that_share_no_volume_are_replaced_with_a_pause(cluster: FakeCluster, told: Told) -> None:
    on_a_volume = STATUS | {"artifactStore": {"kind": "volume"}}
    shared = {"artifactStore": {"volume": {"accessMode": "ReadWriteMany"}}}
    cluster.put(
        tracking_server({}, on_a_volume),
        tracking_server(shared, on_a_volume, name="shared"),
        a_class(["3.17.2", "3.18.0"]),
    )
    assert "requests fail until the new one serves" in told("upgrade", "tracking", "3.18.0")
    assert "one after the other" in told("upgrade", "shared", "3.18.0")


def test_without_a_version_those_that_there_are_are_named(cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({}, STATUS)
    offered = {"versions": ["3.16.1", "3.17.2", "3.18.0"], "defaultVersion": "3.18.0"}
    cluster.put(server, a_class([], offered))
    assert "offers 3.16.1, 3.17.2 (runs), 3.18.0 (default)" in told("upgrade", "tracking")
    assert "spec" in cluster.get(server)
    assert cluster.get(server)["spec"] == {}


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("3.99.0", "is not offered by class 'standard': set spec.version to one of 3.16.1, 3.17.2, 3.18.0"),
        ("3.16.1", "older than 3.17.2"),
    ],
)
def test_versions_that_cannot_be_are_refused_in_words(
    version: str, words: str, cluster: FakeCluster, refused: Told
) -> None:
    cluster.put(tracking_server({}, STATUS), a_class(["3.16.1", "3.17.2", "3.18.0"]))
    assert words in refused("upgrade", "tracking", version)


def test_what_is_no_version_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["upgrade", "tracking", "latest"])
    assert "three numbers, such as 3.18.0" in capsys.readouterr().err


def test_a_class_that_may_not_be_read_leaves_it_to_the_operator(cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({}, STATUS)
    cluster.put(server)
    cluster.refusals[("GET", "/trackingserverclasses/standard")] = (403, "forbidden")
    assert "cannot be read with these rights" in told("upgrade", "tracking")
    assert "SpecValid says so" in told("upgrade", "tracking", "3.18.0")
    assert cluster.get(server)["spec"] == {"version": "3.18.0"}


def test_a_class_that_is_gone_is_a_sentence(cluster: FakeCluster, refused: Told) -> None:
    cluster.put(tracking_server({}, STATUS))
    assert "is gone" in refused("upgrade", "tracking", "3.18.0")


def test_a_server_that_nobody_placed_is_not_upgraded(cluster: FakeCluster, refused: Told) -> None:
    cluster.put(tracking_server())
    assert "has not been looked at yet" in refused("upgrade", "tracking", "3.18.0")


def test_an_image_of_ones_own_has_to_come_with_the_version(
    cluster: FakeCluster, told: Told, refused: Told
) -> None:
    server = tracking_server({"version": "3.17.2", "image": "mine:1"}, STATUS)
    cluster.put(server, a_class(["3.17.2", "3.18.0"]))
    assert "--image" in refused("upgrade", "tracking", "3.18.0")
    told("upgrade", "tracking", "3.18.0", "--image", "mine:2")
    assert cluster.get(server)["spec"] == {"version": "3.18.0", "image": "mine:2"}


def test_a_version_that_runs_already_is_said(cluster: FakeCluster, told: Told) -> None:
    cluster.put(tracking_server({"version": "3.17.2"}, STATUS), a_class(["3.17.2"]))
    assert "runs MLflow 3.17.2 already" in told("upgrade", "tracking", "3.17.2")


@pytest.mark.parametrize("command", [("suspend",), ("rotate",), ("upgrade", "3.18.0")])
def test_a_dry_run_stores_nothing(command: tuple[str, ...], cluster: FakeCluster, told: Told) -> None:
    server = tracking_server({}, STATUS)
    cluster.put(server, a_class(["3.17.2", "3.18.0"]))
    assert "nothing was stored" in told(command[0], "tracking", *command[1:], "--dry-run")
    assert cluster.get(server) == server


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (403, "trackingservers is forbidden: User jane cannot patch resource", "the roles admin and edit"),
        (403, f'admission webhook "policy" denied the request{HOSTILE}', "admission webhook"),
        (
            422,
            "spec.replicas must be 0 or 1, because this server keeps its runs in SQLite",
            "spec.replicas must",
        ),
        (404, "not found", "somebody has deleted it"),
        (500, "etcd is away", "etcd is away"),
    ],
)
def test_what_the_api_server_refuses_is_told_in_words(
    status: int, message: str, words: str, cluster: FakeCluster, refused: Told
) -> None:
    cluster.put(tracking_server({}, STATUS))
    cluster.refusals[("PATCH", "/tracking")] = (status, message)
    said = refused("suspend", "tracking")
    assert words in said
    assert "TrackingServer tracking in namespace team-a" in said
    assert not set(said) & set(HOSTILE[0] + HOSTILE[-1])


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        (
            {
                "annotations": {
                    "argocd.argoproj.io/tracking-id": "teams:tracking-operator.dev/TrackingServer:team-a/tracking"
                }
            },
            "Application teams of Argo CD",
        ),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "teams"}}, "Kustomization teams of Flux"),
        ({"annotations": {"meta.helm.sh/release-name": "teams"}}, "Release teams of Helm"),
    ],
)
def test_who_comes_from_git_is_changed_there_too(
    metadata: dict[str, Any], owner: str, cluster: FakeCluster, told: Told
) -> None:
    cluster.put(tracking_server({}, STATUS, **metadata))
    assert f"{owner} has written this server" in told("suspend", "tracking")
    assert "has written this server" not in told("rotate", "tracking")
