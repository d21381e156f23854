"""A real MLflow as its container starts it: nothing trusts localhost, metrics are on a port of their own, and IPv6 leads there, too."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from dev.loopback import free_port
from dev.mlflow_process import family
from tests.mlflow_versions import MLFLOW_VERSION, mlflow_python
from tests.pod_programs import START_SERVER
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.each_mlflow

SECONDS_TO_START = 400
ASSISTANT = "/ajax-api/3.0/mlflow/assistant"
ROUTES = ("/config", "/message", "/providers", "/sessions/a", "/providers/claude_code/health", "")
BARE = ("", 1)
"""No prefix and no login, and one process that serves."""
TEAMS = ("/team-a", 2)
"""A prefix, a login, and two processes."""
SECONDS_OF_SILENCE = 8
LOGIN = {"username": "admin", "password": "a-password-of-32-characters-long", "secretKey": "key-of-flask"}


def status_of(url: str, method: str = "GET") -> int:
    """The status of a request without credentials."""
    return int(urllib3.request(method, url, json={}, retries=False, timeout=patient(60)).status)


@dataclass(frozen=True)
class Served:
    """A server, and where it is."""

    process: "subprocess.Popen[bytes]"
    port: int
    metrics_port: int
    prefix: str
    log: Path

    @property
    def address(self) -> str:
        """Where its routes begin."""
        return self.on("127.0.0.1")

    def on(self, host: str) -> str:
        """Where its routes begin, by another of its addresses."""
        return f"http://{host}:{self.port}{self.prefix}"

    def metrics(self, host: str = "127.0.0.1") -> str:
        """What Prometheus reads, without any login."""
        answer = urllib3.request(
            "GET", f"http://{host}:{self.metrics_port}/metrics", retries=False, timeout=patient(60)
        )
        assert answer.status == 200
        return answer.data.decode()

    def workers(self) -> list[int]:
        """The processes that serve, if these are others than the one that listens."""
        return [pid for pid in family(self.process.pid) if b"spawn_main" in self.command_of(pid)]

    def command_of(self, pid: int) -> bytes:
        """What a process runs."""
        return Path(f"/proc/{pid}/cmdline").read_bytes()

    def is_up(self) -> bool:
        """Whether it answers."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return status_of(f"{self.address}/health") == 200
        except urllib3.exceptions.HTTPError:
            return False


@pytest.fixture(scope="module", params=[BARE, TEAMS], ids=["bare", "team's"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as its container starts it."""
    prefix, workers = request.param
    folder, port, metrics_port = tmp_path_factory.mktemp("server"), free_port(), free_port()
    (folder / "login").mkdir()
    for name, text in LOGIN.items():
        (folder / "login" / name).write_text(text)
    # The environment was moved after its installation, so that the path in its own programs is not right any more.
    program = folder / "mlflow"
    program.write_text(f'#!/bin/sh\nexec {mlflow_python(MLFLOW_VERSION)} -m mlflow "$@"\n')
    program.chmod(0o755)
    options = ["--app-name=basic-auth", f"--static-prefix={prefix}"] if prefix else []
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                mlflow_python(MLFLOW_VERSION), *START_SERVER, "server", "--host=::", f"--port={port}",
                f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--no-serve-artifacts",
                f"--default-artifact-root={folder}/artifacts", f"--workers={workers}", f"--expose-prometheus={folder}/metrics",
                "--allowed-hosts=127.0.0.1:*,[[]::1]:*", *options,
            ],
            env={
                "PATH": f"{folder}:/usr/bin:/bin",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "TRACKING_OPERATOR_CREDENTIALS": str(folder),
                "TRACKING_OPERATOR_METRICS_PORT": str(metrics_port),
                "TRACKING_OPERATOR_LAST_REQUEST": f"{folder}/last-request",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            stdout=log,
            stderr=log,
        )  # fmt: skip
    server = Served(process, port, metrics_port, prefix, folder / "log")
    try:
        wait_until(server.is_up, SECONDS_TO_START, "MLflow answers")
        yield server
    finally:
        process.terminate()
        process.wait(patient(120))
    wait_until(lambda: not tells_metrics(server), 10, "what tells the metrics ends with the server")


def tells_metrics(server: Served) -> bool:
    """Whether anybody tells its metrics."""
    with suppress(urllib3.exceptions.HTTPError):
        return bool(server.metrics())
    return False


@pytest.fixture
def address(served: Served) -> str:
    """Where the routes of a server begin."""
    return served.address


def test_metrics_are_told_without_a_login_and_whatever_the_host_and_only_on_their_own_port(
    served: Served,
) -> None:
    search = f"{served.address}/api/2.0/mlflow/experiments/search?max_results=1"
    status = status_of(search)
    counted = f'mlflow_http_request_total{{method="GET",status="{status}"}}'
    assert counted in served.metrics("localhost"), served.metrics()
    for path in ("/metrics", f"{served.prefix}/metrics"):
        answer = urllib3.request(
            "GET", f"http://127.0.0.1:{served.port}{path}", retries=False, timeout=patient(60)
        )
        assert answer.status in (401, 404), path
        assert b"mlflow_http_request" not in answer.data, path


def test_all_processes_tell_at_the_pods_address_when_a_user_has_asked_something_last(served: Served) -> None:
    file, search = served.log.with_name("last-request"), "/api/2.0/mlflow/experiments/search?max_results=1"

    def idle_seconds() -> set[bool]:
        """What several connections, which several processes answer, are told: whether it was long ago."""
        answers = [
            urllib3.request("GET", f"{served.address}/health", headers={"Connection": "close"})
            for _ in range(8)
        ]
        return {int(one.headers["X-Tracking-Operator-Idle-Seconds"]) > 3000 for one in answers}

    os.utime(file, (time.time() - 3600,) * 2)
    urllib3.request("GET", f"{served.address}{search}", headers={"User-Agent": "tracking-operator"})
    assert status_of(f"{served.address}/no/such/page") in (401, 404)
    assert idle_seconds() == {True}
    user = urllib3.make_headers(basic_auth=f"{LOGIN['username']}:{LOGIN['password']}")

    def is_noted() -> bool:
        """A process notes one request a second, and others may have just been answered."""
        answer = urllib3.request("GET", f"{served.address}{search}", headers=user, timeout=patient(60))
        return answer.status == 200 and idle_seconds() == {False}

    wait_until(is_noted, 30, "the user's request is noted")
    by_name = urllib3.request("GET", f"{served.address}/health", headers={"Host": "mlflow.example.com"})
    assert "X-Tracking-Operator-Idle-Seconds" not in by_name.headers


def test_a_server_on_all_addresses_answers_by_both_families(served: Served) -> None:
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    for host in ("[::1]", "127.0.0.1"):
        assert status_of(f"{served.on(host)}/health") == 200
        # Not 403: it is one of the hosts that MLflow answers.
        assert status_of(f"{served.on(host)}{search}") == (401 if served.prefix else 200)


def test_no_process_waits_in_memory_for_another_one_that_serves(served: Served) -> None:
    first, *others = family(served.process.pid)
    assert b"uvicorn" in served.command_of(first)
    assert not [pid for pid in others if b"mlflow server" in served.command_of(pid).replace(b"\0", b" ")]


@pytest.mark.parametrize("served", [TEAMS], ids=["team's"], indirect=True)
def test_a_worker_that_gets_no_time_for_a_while_is_not_taken_for_hung(served: Served) -> None:
    workers = served.workers()
    assert len(workers) == 2
    begun = time.monotonic()
    os.kill(workers[0], signal.SIGSTOP)
    try:
        wait_until(lambda: time.monotonic() - begun > SECONDS_OF_SILENCE, 60, "uvicorn's own patience ends")
    finally:
        os.kill(workers[0], signal.SIGCONT)
    wait_until(served.is_up, 60, "the server answers")
    assert served.workers() == workers, served.log.read_text()


def test_the_assistant_is_not_found(address: str) -> None:
    for route in ROUTES:
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert status_of(f"{address}{ASSISTANT}{route}", method) == 404, (method, route)


@pytest.mark.parametrize(
    "path",
    [
        "/ajax-api/3.0/mlflow/%61ssistant/config",
        "/ajax-api//3.0/mlflow/assistant/config",
        "/api/3.0/mlflow/assistant/config",
        "/x/../ajax-api/3.0/mlflow/assistant/config",
    ],
)
def test_no_other_way_of_writing_it_leads_there(address: str, path: str) -> None:
    assert status_of(f"{address}{path}") == 404


def test_everything_else_is_still_there(address: str) -> None:
    needs_login = address.endswith("/team-a")
    assert status_of(f"{address}/health") == 200
    search = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
    assert status_of(search) == (401 if needs_login else 200)
    # A page of MLflow's own, and a resource that is only called like the assistant.
    assert status_of(f"{address}/") == (401 if needs_login else 200)
    assert status_of(f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=assistant") in (
        401,
        404,
    )
