"""A real MLflow that proxies artifacts serves them itself: no client is sent to an object store that it may not reach."""

import io
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from dev.loopback import free_port
from tests.mlflow_versions import MLFLOW_VERSION, mlflow_python
from tests.pod_programs import START_SERVER
from tests.stores.artifact_world import (
    PREFIX,
    ROOT_ACCESS,
    ROOT_SECRET,
    World,
    new_world,
    running_store,
    start_program,
)
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.each_mlflow

SECONDS_TO_START = 400
SECONDS_TO_STOP = 120
ARTIFACTS = "/api/2.0/mlflow-artifacts"


class Server:
    """A real MLflow on an own port."""

    def __init__(self, port: int, process: "subprocess.Popen[str]") -> None:
        self.port, self.process = port, process

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None) -> bytes:
        """The answer to one request."""
        url = f"http://127.0.0.1:{self.port}{path}"
        data = io.BytesIO(body) if body is not None else None
        headers = {"Content-Length": str(len(body))} if body is not None else {}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=patient(30)) as answer:  # noqa: S310
            return bytes(answer.read())

    def is_up(self) -> bool:
        """Whether it answers."""
        assert self.process.poll() is None, self.process.communicate()[0]
        try:
            return bool(self.ask("/health"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_store() as store:
        yield new_world(store)


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    python = mlflow_python(MLFLOW_VERSION)
    # The environment was moved after its installation, so that the path in its own programs is not right any more.
    program = folder / "mlflow"
    program.write_text(f'#!/bin/sh\nexec {python} -m mlflow "$@"\n')
    program.chmod(0o755)
    process = start_program(
        START_SERVER,
        "server",
        f"--port={port}",
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
        "--serve-artifacts",
        f"--artifacts-destination=s3://{world.bucket}/{PREFIX}",
        "--workers=1",
        folder=folder,
        python=str(python),
        environment={
            "PATH": f"{folder}:/usr/bin:/bin",
            "TMPDIR": str(folder),
            "AWS_ACCESS_KEY_ID": ROOT_ACCESS,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": world.server.endpoint,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )
    server = Server(port, process)
    try:
        wait_until(server.is_up, SECONDS_TO_START, "MLflow answers")
        yield server
    finally:
        process.terminate()
        process.wait(patient(SECONDS_TO_STOP))


def test_the_server_offers_no_way_around_itself(server: Server) -> None:
    info = json.loads(server.ask("/api/3.0/mlflow/server-info"))
    assert (info["multipart_uploads_enabled"], info["multipart_downloads_enabled"]) == (False, False)


def test_nor_does_it_show_one_to_whoever_asks_for_it(server: Server) -> None:
    body = json.dumps({"path": "large.bin", "num_parts": 2}).encode()
    with pytest.raises(urllib.error.HTTPError) as refusal:
        server.ask(f"{ARTIFACTS}/mpu/create/2", method="POST", body=body)
    assert refusal.value.code == 501


def test_artifacts_go_to_the_prefix_and_back_through_the_server(server: Server, world: World) -> None:
    path = f"{ARTIFACTS}/artifacts/1/run/artifacts/folder/hello.txt"
    server.ask(path, method="PUT", body=b"hello")
    stored = world.client.get_object(Bucket=world.bucket, Key=f"{PREFIX}/1/run/artifacts/folder/hello.txt")
    assert stored["Body"].read() == b"hello"
    assert server.ask(path) == b"hello"
    listed = json.loads(server.ask(f"{ARTIFACTS}/artifacts?path=1/run/artifacts/folder"))
    assert [(one["path"], one["file_size"]) for one in listed["files"]] == [("hello.txt", 5)]
    server.ask(path, method="DELETE")
    left = world.client.list_objects_v2(Bucket=world.bucket, Prefix=f"{PREFIX}/1/")
    assert left["KeyCount"] == 0


def test_dvc_learns_by_head_whether_a_file_is_there(server: Server) -> None:
    """DVC's HTTP remote asks so before it sends (docs/tutorials/wine.md), and takes every error for no."""
    path = f"{ARTIFACTS}/artifacts/3/dvc/files/md5/00/11"
    with pytest.raises(urllib.error.HTTPError) as missing:
        server.ask(path, method="HEAD")
    assert missing.value.code in {404, 500}  # MLflow's answers for a folder and for S3
    server.ask(path, method="PUT", body=b"data")
    assert server.ask(path, method="HEAD") == b""


def test_a_presigned_url_is_refused(server: Server) -> None:
    path = f"{ARTIFACTS}/artifacts/2/hello.txt"
    server.ask(path, method="PUT", body=b"hello")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        server.ask(f"{ARTIFACTS}/presigned/2/hello.txt")
    assert refusal.value.code == 501
