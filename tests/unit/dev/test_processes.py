"""A process is told apart from a later one with the same id."""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from dev.local_cluster import processes
from dev.local_cluster.processes import Process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def recorded(pid: int) -> Process:
    started = processes._start_time(pid)
    assert started is not None
    return Process("sleeper", pid, started, processes._boot())


def test_a_started_process_runs_until_it_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    process = recorded(sleeper.pid)
    assert process.is_running
    process.signal(signal.SIGKILL)
    sleeper.wait()
    assert not process.is_running


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_another_process_with_the_same_id_is_left_alone(
    sleeper: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    other = dataclasses.replace(recorded(sleeper.pid), **change)  # type: ignore[arg-type]
    assert not other.is_running
    other.signal(signal.SIGKILL)
    os.kill(sleeper.pid, 0)
    assert sleeper.poll() is None


def test_a_process_that_only_waits_to_be_reaped_does_not_run(sleeper: subprocess.Popen[bytes]) -> None:
    process = recorded(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not process.is_running
