"""A machine that can have no cluster is told in one sentence what would help."""

import os
import platform

import pytest

from dev import cluster as command_line
from dev import development_cluster as choice
from dev.kind_cluster import DockerCluster
from dev.local_cluster import go
from dev.local_cluster.cluster import LocalCluster
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.kubeconfig import FOLDER, kubeconfig_of
from dev.local_cluster.layout import DEFAULT_NAME


def machine(monkeypatch: pytest.MonkeyPatch, *, docker: bool, system: str = "Linux", user: int = 0) -> None:
    monkeypatch.setattr(choice, "_docker_engine_answers", lambda: docker)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(os, "geteuid", lambda: user)


def test_a_docker_engine_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, docker=True, system="Darwin", user=1000)
    assert isinstance(choice.development_cluster("any"), DockerCluster)


def test_root_on_linux_gets_our_own_node(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, docker=False)
    assert isinstance(choice.development_cluster("any"), LocalCluster)


@pytest.mark.parametrize(
    ("system", "user", "help_"), [("Darwin", 0, "use a Linux machine"), ("Linux", 1000, "as root")]
)
def test_others_are_told_what_would_help(
    monkeypatch: pytest.MonkeyPatch, system: str, user: int, help_: str
) -> None:
    machine(monkeypatch, docker=False, system=system, user=user)
    with pytest.raises(ClusterError, match=f"start Docker, or .*{help_}"):
        choice.development_cluster("any")


def test_without_go_and_uv_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go, "_is_new_enough", lambda _: False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("UV", raising=False)
    go.go_command.cache_clear()
    with pytest.raises(ClusterError, match=r"Go .* is not installed"):
        go.go_command()


def test_kubeconfigs_stay_in_the_repository() -> None:
    assert kubeconfig_of(DEFAULT_NAME) == FOLDER / "kubeconfig"
    assert kubeconfig_of("tests") == FOLDER / "tests" / "kubeconfig"


def test_a_bad_name_ends_with_code_1_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["status", "--name", "Bad_Name"]) == 1
    assert "`Bad_Name` is no name for a cluster" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    assert "python -m dev.cluster up" in capsys.readouterr().out
