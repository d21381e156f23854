"""The operator as a process: what it needs, what it reports, and what it says when it cannot work.

How several of them hand over is in ``test_operator_leadership``.
"""

import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.loopback import free_port
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE, RunningOperator, Team
from tests.waiting import patient, wait_until
from tracking_operator.kube.objects import LEASE

MOST_RESIDENT_MEBIBYTES = 106
"""A few more than the 99 that were measured: what a process keeps differs between machines."""
SECONDS_TO_START = 60.0
SECONDS_TO_GIVE_UP = 60.0
SERVERS = 5


class Starter:
    """Starts operators that nobody else knows of: each has a Lease of its own."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder
        self.started: list[RunningOperator] = []
        self.leases: set[str] = set()

    def start(self, **settings: object) -> RunningOperator:
        port = free_port()
        options = {
            "namespace": OPERATOR_NAMESPACE,
            "lease_name": f"test-{secrets.token_hex(4)}",
            "health_port": port,
            "metrics_port": 0,
            **settings,
        }
        self.leases.add(str(options["lease_name"]))
        environment = {f"TRACKING_OPERATOR_{key.upper()}": str(value) for key, value in options.items()}
        log = self._folder / f"operator-{len(self.started)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "tracking_operator", "run"],
                env={**os.environ, **environment, "KUBECONFIG": str(self._kubeconfig)},
                stdout=stream,
                stderr=stream,
            )
        self.started.append(RunningOperator(process, log, port))
        return self.started[-1]

    def stop_all(self) -> None:
        for operator in self.started:
            if operator.process.poll() is None:
                operator.stop()


@pytest.fixture
def starter(installation: Path, tmp_path: Path, api: KubeApi) -> Iterator[Starter]:
    starter = Starter(installation, tmp_path)
    yield starter
    starter.stop_all()
    for lease in starter.leases:
        api.delete(LEASE, OPERATOR_NAMESPACE, lease)


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patient(10)) as answer:
        return str(answer.read().decode())


def resident_mebibytes(operator: RunningOperator) -> float:
    status = Path(f"/proc/{operator.process.pid}/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def last_words(operator: RunningOperator) -> str:
    """Return the last line of the log of an operator that gave up: a sentence, not a traceback."""
    assert operator.process.wait(timeout=patient(SECONDS_TO_GIVE_UP)) == 1
    last = operator.log_lines()[-1]
    assert "exception" not in last
    return str(last["message"])


def test_operator_with_some_servers_needs_less_than_a_hundred_mebibytes(starter: Starter, team: Team) -> None:
    port = free_port()
    operator = starter.start(metrics_port=port, watch_namespaces=team.namespace)
    operator.wait_until_active(SECONDS_TO_START)
    for number in range(SERVERS):
        team.made({"suspend": True}, name=f"server-{number}")
    assert resident_mebibytes(operator) <= MOST_RESIDENT_MEBIBYTES
    metrics = scrape(port)
    assert "tracking_operator_leader 1.0" in metrics
    assert "tracking_operator_queue_depth " in metrics
    assert 'tracking_operator_api_calls_total{code="200",kind="Lease",verb="update"}' in metrics
    assert 'tracking_operator_reconcile_seconds_count{kind="TrackingServer",outcome="settled"}' in metrics


def test_standby_is_ready_but_does_not_work(starter: Starter, team: Team) -> None:
    active = starter.start(lease_name="test-pair", watch_namespaces=team.namespace)
    active.wait_until_active(SECONDS_TO_START)
    port = free_port()
    standby = starter.start(lease_name="test-pair", watch_namespaces=team.namespace, metrics_port=port)
    standby.wait_until_ready(SECONDS_TO_START)
    team.made({"suspend": True})
    wait_until(lambda: "tracking_operator_cached_objects 0.0" not in scrape(port), 10, "its cache is warm")
    assert "tracking_operator_leader 0.0" in scrape(port)
    assert "reconcile_seconds_count{" not in scrape(port)


def test_no_cluster_is_one_sentence(tmp_path: Path) -> None:
    operator = Starter(tmp_path / "absent", tmp_path).start()
    assert "point KUBECONFIG at a kubeconfig file" in last_words(operator)


def test_port_in_use_is_one_sentence(starter: Starter) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} for health cannot be used" in last_words(starter.start(health_port=port))


def test_api_server_that_is_away_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        f"""
        current-context: away
        contexts: [{{name: away, context: {{cluster: away, user: nobody}}}}]
        clusters: [{{name: away, cluster: {{server: "http://127.0.0.1:{free_port()}"}}}}]
        users: [{{name: nobody, user: {{token: none}}}}]
        """
    )
    assert "The API server cannot be used" in last_words(Starter(kubeconfig, tmp_path).start())
