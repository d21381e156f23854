"""A real MLflow, asked from localhost, as by somebody who forwards a port: nothing there trusts that."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.mlflow_versions import mlflow_python
from tests.pod_programs import START_SERVER
from tests.postgres import free_port
from tests.waiting import wait_until

SECONDS_TO_START = 240
ASSISTANT = "/ajax-api/3.0/mlflow/assistant"
ROUTES = ("/config", "/message", "/providers", "/sessions/a", "/providers/claude_code/health", "")
LOGIN = {"username": "admin", "password": "a-password-of-32-characters-long", "secretKey": "key-of-flask"}


def status_of(url: str, method: str = "GET") -> int:
    """The status of a request without credentials."""
    return int(urllib3.request(method, url, json={}, retries=False, timeout=60).status)


@pytest.fixture(scope="module", params=["", "/team-a"], ids=["without a login", "with a login and a prefix"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as its container starts it, and where its routes begin."""
    prefix = request.param
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    (folder / "login").mkdir()
    for name, text in LOGIN.items():
        (folder / "login" / name).write_text(text)
    # The environment was moved after its installation, so that the path in its own programs is not right any more.
    program = folder / "mlflow"
    program.write_text(f'#!/bin/sh\nexec {mlflow_python("3.17.2")} -m mlflow "$@"\n')
    program.chmod(0o755)
    options = ["--app-name=basic-auth", f"--static-prefix={prefix}"] if prefix else []
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                mlflow_python("3.17.2"), *START_SERVER, "server", "--host=127.0.0.1", f"--port={port}",
                f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--no-serve-artifacts",
                f"--default-artifact-root={folder}/artifacts", "--workers=1", *options,
            ],
            env={
                "PATH": f"{folder}:/usr/bin:/bin",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "TRACKING_OPERATOR_CREDENTIALS": str(folder),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        wait_until(
            lambda: is_up(process, f"http://127.0.0.1:{port}{prefix}/health", folder / "log"),
            SECONDS_TO_START,
            "MLflow answers",
        )
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        process.terminate()
        process.wait(20)


def is_up(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    """Whether a server answers."""
    assert process.poll() is None, log.read_text()
    try:
        return status_of(url) == 200
    except urllib3.exceptions.HTTPError:
        return False


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
