"""What `kubectl tracking logs` prints of which containers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, tracking_server
from tracking_operator.cli.kubectl_program import main
from tracking_operator.cli.logs import LONGEST_LINE, Source, lines_of, sources_in
from tracking_operator.kube.objects import KubeObject

SERVER = {"tracking-operator.dev/tracking-server": "tracking", "app.kubernetes.io/component": "server"}
JOB = {"tracking-operator.dev/tracking-server": "tracking", "app.kubernetes.io/component": "migration"}


def pod(name: str, labels: dict[str, str], spec: dict[str, Any] | None = None) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "team-a", "labels": labels},
        "spec": spec or {"containers": [{"name": "mlflow"}]},
    }


def logs(cluster: FakeCluster, *arguments: str) -> int:
    return main(["logs", "tracking", *arguments, "--kubeconfig", str(cluster.kubeconfig)])


def test_one_pods_lines_are_printed_as_they_are(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server(), pod("a", SERVER), pod("job", JOB))
    cluster.logs["a/mlflow"] = "Traceback:\n  File x\n"
    assert logs(cluster) == 0
    assert capsys.readouterr().out == "Traceback:\n  File x\n"
    assert cluster.queries[-1]["tailLines"] == ["100"]


def test_lines_of_several_pods_say_whose_they_are(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server(), pod("a", SERVER), pod("b", SERVER))
    cluster.logs |= {"a/mlflow": "one\n", "b/mlflow": "two"}
    assert logs(cluster, "--follow") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["[a/mlflow] one", "[b/mlflow] two"]
    assert cluster.queries[-1]["follow"] == ["true"]


def test_jobs_have_their_own(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    containers = {"initContainers": [{"name": "check"}], "containers": [{"name": "migrate"}]}
    cluster.put(tracking_server(), pod("a", SERVER), pod("job", JOB, containers))
    cluster.logs |= {"job/check": "checked\n", "job/migrate": "migrated\n"}
    assert logs(cluster, "--jobs", "--tail", "-1", "--previous") == 0
    assert capsys.readouterr().out.splitlines() == ["[job/check] checked", "[job/migrate] migrated"]
    assert cluster.queries[-1] == {"container": ["migrate"], "previous": ["true"]}


def test_a_container_can_be_named() -> None:
    assert sources_in([pod("a", SERVER)], "check", are_jobs=False) == [Source("a", "check")]


def test_what_a_tenants_program_prints_steers_no_terminal(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server(), pod("a", SERVER))
    cluster.logs["a/mlflow"] = "\x1b]0;owned\x07\x1b[2Jred\u202e\x9b\rover\ttab\n"
    assert logs(cluster) == 0
    printed = capsys.readouterr().out
    assert "red" in printed
    assert "tab" in printed
    assert not set(printed) & set("\x1b\x07\u202e\x9b\r")


def test_one_log_that_cannot_be_read_keeps_no_other(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server(), pod("a", SERVER), pod("b", SERVER))
    cluster.logs["b/mlflow"] = "two\n"
    cluster.refusals[("GET", "/pods/a/log")] = (400, "previous terminated container not found")
    assert logs(cluster, "-p") == 0
    printed = capsys.readouterr()
    assert "[b/mlflow] two" in printed.out
    assert "of pod a cannot be read: previous terminated container not found" in printed.err


def test_no_log_at_all_is_an_error(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.put(tracking_server(), pod("a", SERVER))
    cluster.refusals[("GET", "/log")] = (403, "pods/log is forbidden")
    assert logs(cluster) == 1
    assert "pods/log is forbidden" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spec", "arguments", "words"),
    [
        ({}, (), "kubectl tracking status tracking -n team-a"),
        ({"suspend": True}, (), "kubectl tracking wake tracking -n team-a"),
        ({}, ("--jobs",), "No pod of a Job"),
    ],
)
def test_without_a_pod_there_is_a_sentence(
    spec: dict[str, Any],
    arguments: tuple[str, ...],
    words: str,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster.put(tracking_server(spec))
    assert logs(cluster, *arguments) == 1
    assert words in capsys.readouterr().err


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for one in given:
        yield one


async def broken(*given: bytes) -> list[str]:
    return [line async for line in lines_of(pieces(*given))]


def test_lines_are_whole_however_they_come() -> None:
    assert asyncio.run(broken(b"a\nb", b"c\n\nd")) == ["a", "bc", "", "d"]
    assert asyncio.run(broken("ä\n".encode()[:1], "ä\n".encode()[1:])) == ["ä"]


def test_a_line_without_an_end_takes_no_memory_without_one() -> None:
    lines = asyncio.run(broken(*[b"x" * 1024] * 200))
    assert max(map(len, lines)) == LONGEST_LINE
    assert sum(map(len, lines)) == 200 * 1024
