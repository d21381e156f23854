"""What shells complete, and by which ways they ask."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, tracking_server
from tracking_operator.cli.completion import ASK, NO_FILES
from tracking_operator.cli.kubectl_program import PROGRAM, main

Completed = Callable[..., list[str]]

BASH = """
source <(kubectl-tracking completion bash)
COMP_LINE="kubectl-tracking comp"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(kubectl-tracking comp); COMP_CWORD=1; COMP_TYPE=9
_python_argcomplete kubectl-tracking comp kubectl-tracking
echo "<${COMPREPLY[*]}>"
"""


@pytest.fixture
def completed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Completed:
    """What kubectl is told may stand in the place of the last word."""
    for variable in ("_ARGCOMPLETE", "COMP_LINE", "COMP_POINT"):
        monkeypatch.setenv(variable, "")  # put back at the end

    def ask(*words: str) -> list[str]:
        assert main([ASK, *words]) == 0
        *found, directive = capsys.readouterr().out.splitlines()
        assert directive == NO_FILES
        return found

    return ask


def test_commands_are_completed(completed: Completed) -> None:
    assert completed("sta") == ["status"]
    assert set(PROGRAM.commands) <= set(completed(""))


def test_options_and_their_values_are_completed(completed: Completed) -> None:
    assert "--namespace" in completed("status", "--")
    assert completed("status", "tracking", "-o", "j") == ["json"]


def test_names_of_servers_are_completed(completed: Completed, cluster: FakeCluster) -> None:
    cluster.put(tracking_server(), tracking_server(name="other", namespace="team-b"))
    where = ("--kubeconfig", str(cluster.kubeconfig))
    assert completed("status", *where, "tr") == ["tracking"]
    assert completed("status", *where, "-n", "team-b", "o") == ["other"]
    assert completed("status", *where, "none") == []


def test_a_cluster_that_refuses_completes_nothing(completed: Completed, cluster: FakeCluster) -> None:
    cluster.refusals[("GET", "/trackingservers")] = (403, "no")
    assert completed("status", "--kubeconfig", str(cluster.kubeconfig), "tr") == []


def test_a_real_bash_completes_by_the_script() -> None:
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", BASH], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "<completion >"


def test_zsh_and_kubectl_get_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert "#compdef kubectl-tracking" in capsys.readouterr().out
    assert main(["completion", "kubectl"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#!/bin/sh\n")
    assert f'exec kubectl-tracking {ASK} "$@"' in script
