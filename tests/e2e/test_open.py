"""`tracking-operator open`, as somebody types it: a real server on a port of this machine."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import urllib3

from dev.development_cluster import DevelopmentCluster
from dev.loopback import free_port
from tests.e2e.exposed_servers import ExposedServer
from tests.e2e.mlflow import API, ARTIFACTS, Tracking
from tests.waiting import patient

pytest_plugins = [
    "tests.cluster_ingress",
    "tests.cluster_object_store",
    "tests.cluster_postgres",
    "tests.e2e.exposed_servers",
]

EXPERIMENTS = f"{API}/experiments/search?max_results=1"
MANY = 12
"""Browsers open six to a host at once; here two are open."""
LARGE = os.urandom(20 * 2**20)
SECONDS = 60


def start(cluster: DevelopmentCluster, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tracking_operator", "open", *arguments, "--no-browser"]
    return subprocess.Popen(
        [*command, f"--kubeconfig={cluster.kubeconfig_path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_until(process: "subprocess.Popen[str]", last: str) -> Sequence[str]:
    lines = []
    for line in process.stdout or ():
        lines.append(line.strip())
        if last in line:
            return lines
    raise AssertionError("it ended; standard error says why")


def collect(process: "subprocess.Popen[str]", complaints: list[str]) -> None:
    """Hand on what goes wrong, so that it stands beside the test that fails."""
    for line in process.stderr or ():
        complaints.append(line)
        sys.stderr.write(line)


@pytest.fixture
def opened(
    cluster: DevelopmentCluster, exposed: tuple[ExposedServer, ExposedServer]
) -> Iterator[tuple[Tracking, Sequence[str]]]:
    """A team's server, and what was printed; opened for each test, as what goes wrong in one is no other's business."""
    server = exposed[0]
    port = free_port()
    process = start(cluster, "mlflow", "-n", server.team.namespace, f"--port={port}")
    complaints = list[str]()
    listening = threading.Thread(target=collect, args=(process, complaints))
    listening.start()
    try:
        lines = lines_until(process, "Ctrl-C")
        # A request that fails is not sent again: a busy server would have it and its like to answer as well.
        pool = urllib3.PoolManager(timeout=patient(SECONDS), retries=False)
        yield Tracking(port, "localhost", "", server.tracking().prefix, server.member, pool), lines
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(patient(SECONDS))
        listening.join()
    assert (process.returncode, complaints) == (0, [])


def test_it_prints_where_the_server_is_and_what_prints_the_passwords(
    opened: tuple[Tracking, Sequence[str]], cluster: DevelopmentCluster, exposed: tuple[ExposedServer, ...]
) -> None:
    tracking, lines = opened
    assert f"http://localhost:{tracking.port}{tracking.prefix}/" in lines
    printing = [line for line in lines if line.startswith("kubectl ")]
    printed = [
        subprocess.run(
            ["bash", "-c", line.replace("kubectl", str(cluster.kubectl_path), 1)],
            env=cluster.kubectl_environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in printing
    ]
    assert printed == [f"{' '.join(login)}\n" for login in (exposed[0].member, exposed[0].administrator)]


def test_pages_and_api_answer_many_connections_at_once(opened: tuple[Tracking, Sequence[str]]) -> None:
    tracking, _ = opened
    # The first one has the login looked at, which takes long; the others find it remembered.
    assert tracking.answer("GET", EXPERIMENTS).status == 200
    with ThreadPoolExecutor(MANY) as together:
        found = list(
            together.map(lambda path: tracking.answer("GET", path).status, ["/", EXPERIMENTS] * (MANY // 2))
        )
    assert found == [200] * MANY


def test_a_large_artifact_goes_there_and_back(opened: tuple[Tracking, Sequence[str]]) -> None:
    tracking, _ = opened
    path = f"{ARTIFACTS}/{tracking.make_experiment(uuid4().hex)}/opened.bin"
    assert tracking.answer("PUT", path, LARGE).status == 200
    assert tracking.answer("GET", path).data == LARGE


def test_a_port_that_is_taken_and_a_server_that_is_not_there_are_said(
    opened: tuple[Tracking, Sequence[str]], cluster: DevelopmentCluster, exposed: tuple[ExposedServer, ...]
) -> None:
    tracking, _ = opened
    namespace = exposed[0].team.namespace
    taken = start(cluster, "mlflow", "-n", namespace, f"--port={tracking.port}")
    absent = start(cluster, "absent", "-n", namespace)
    for process, sentence in (
        (taken, "Choose another one with --port"),
        (absent, "There is no TrackingServer absent"),
    ):
        _, said = process.communicate(timeout=patient(SECONDS))
        assert process.returncode == 1
        assert sentence in said
