"""Real MLflow, of every version that is offered, with a URL prefix and a login: a large artifact passes through and is never in memory."""

import base64
import hashlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import pytest
import urllib3

from dev.mlflow_process import Login, MlflowProcess, mlflow_process
from tests.mlflow_versions import MLFLOW_VERSION, mlflow_python
from tests.stores.artifact_world import PREFIX, ROOT_ACCESS, ROOT_SECRET, World, new_world, running_store
from tests.waiting import PATIENCE, patient, wait_until

MEBIBYTE: Final = 2**20
LARGE: Final = int(os.environ.get("TRACKING_OPERATOR_TEST_LARGE_MIB", "400")) * MEBIBYTE
"""`make campaign` takes 2 GB."""
MOST_MEMORY: Final = 100 * MEBIBYTE
"""What a server may take above what it takes when idle."""
pytestmark = pytest.mark.each_mlflow

SECONDS_TO_STOP: Final = 120
SECONDS_OF_A_TRANSFER: Final = 300
SECONDS_OF_A_PROBE: Final = 10
SLOW_READERS: Final = 45
"""More than a process has threads for MLflow's WSGI application."""
UPLOADS: Final = 3
MOST_MEMORY_LEFT: Final = 30 * MEBIBYTE
"""Of all uploads and downloads before, whatever their number."""
MOST_MEMORY_OF_BODIES: Final = 200 * MEBIBYTE
URL_PATH: Final = "/team-a"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts"
ARTIFACT: Final = f"{ARTIFACTS}/artifacts/1/run/artifacts/model.bin"
LOGIN: Final = Login()
WAYS_AROUND: Final = [
    ("POST", f"{ARTIFACTS}/mpu/create/1/run/artifacts", {"path": "model.bin", "num_parts": 2}),
    (
        "POST",
        f"{ARTIFACTS}/mpu/complete/1/run/artifacts",
        {"path": "model.bin", "upload_id": "1", "parts": []},
    ),
    ("POST", f"{ARTIFACTS}/mpu/abort/1/run/artifacts", {"path": "model.bin", "upload_id": "1"}),
    ("GET", f"{ARTIFACTS}/presigned/1/run/artifacts/model.bin", None),
]
"""What MLflow's clients ask for before they go to the object store themselves."""
CLIENT: Final = """
import hashlib, mlflow, sys
client = mlflow.MlflowClient()
run = client.create_run("0").info.run_id
client.log_artifact(run, sys.argv[1])
with open(client.download_artifacts(run, "model.bin", sys.argv[2]), "rb") as file:
    print(hashlib.file_digest(file, "sha256").hexdigest())
"""


@dataclass(frozen=True)
class Server:
    """A real MLflow on a port of its own, and the world with its bucket."""

    mlflow: MlflowProcess
    world: World
    idle: int
    """What it has in memory before anything large."""

    @property
    def port(self) -> int:
        """Its port."""
        return self.mlflow.port

    def ask(
        self,
        method: str,
        path: str,
        *,
        with_login: bool = True,
        seconds: float = SECONDS_OF_A_TRANSFER,
        **options: object,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request that is read piece by piece."""
        credentials = base64.b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"} if with_login else {}
        return urllib3.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, retries=False, redirect=False,
            timeout=seconds, preload_content=False, **options,  # type: ignore[arg-type]
        )  # fmt: skip

    def memory(self) -> int:
        """What all its processes have in memory that is theirs."""
        return self.mlflow.memory()

    @contextmanager
    def memory_is_bounded(self) -> Iterator[None]:
        """Require that at no moment of the block it has much more than at its beginning."""
        with self.mlflow.memory_watched() as peak:
            yield
        assert peak.above < MOST_MEMORY, f"{peak.above // MEBIBYTE} MiB more than idle"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_store() as store:
        yield new_world(store)


@pytest.fixture(scope="module", params=[MLFLOW_VERSION])
def server(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    variables = {
        "AWS_ACCESS_KEY_ID": ROOT_ACCESS,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": world.server.endpoint,
    }
    with mlflow_process(
        tmp_path_factory.mktemp("server"), request.param, artifacts=f"s3://{world.bucket}/{PREFIX}",
        variables=variables, url_path=URL_PATH, login=LOGIN, patience=PATIENCE,
    ) as mlflow:  # fmt: skip
        server = Server(mlflow, world, 0)
        # Whatever is only loaded for the first artifact is no matter of its size.
        assert put(server, ARTIFACT.replace("model", "first"), iter([b"small"])) == 200
        assert len(b"".join(server.ask("GET", URL_PATH + ARTIFACT.replace("model", "first")).stream())) == 5
        yield replace(server, idle=server.memory())


class Pieces:
    """Bytes that nobody can compress, and their digest; none are kept."""

    def __init__(self, size: int) -> None:
        self.size, self.digest, self._seed = size, hashlib.sha256(), os.urandom(MEBIBYTE)

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.size // MEBIBYTE):
            piece = number.to_bytes(8, "big") + self._seed[8:]
            self.digest.update(piece)
            yield piece


def put(server: Server, path: str, pieces: Iterator[bytes], **options: bool) -> int:
    """Upload."""
    return server.ask("PUT", URL_PATH + path, body=pieces, **options).status


def digest_of(answer: urllib3.BaseHTTPResponse, pause: Callable[[], None] = lambda: None) -> str:
    """Read an answer piece by piece."""
    digest = hashlib.sha256()
    for piece in answer.stream(MEBIBYTE):
        digest.update(piece)
        pause()
    return digest.hexdigest()


@pytest.fixture(scope="module")
def large(server: Server) -> Pieces:
    """A large artifact that has been uploaded."""
    pieces = Pieces(LARGE)
    with server.memory_is_bounded():
        assert put(server, ARTIFACT, iter(pieces)) == 200
    return pieces


def test_a_large_artifact_comes_back_as_it_was(server: Server, large: Pieces) -> None:
    stored = server.world.client.head_object(
        Bucket=server.world.bucket, Key=f"{PREFIX}/1/run/artifacts/model.bin"
    )
    assert stored["ContentLength"] == LARGE
    with server.memory_is_bounded():
        answer = server.ask("GET", URL_PATH + ARTIFACT)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(LARGE))
        assert digest_of(answer) == large.digest.hexdigest()


def test_uploads_leave_no_memory_behind(server: Server, large: Pieces) -> None:
    for _ in range(UPLOADS):
        assert put(server, ARTIFACT.replace("model", "next"), iter(Pieces(64 * MEBIBYTE))) == 200
    left = server.memory() - server.idle
    assert left < MOST_MEMORY_LEFT, f"{left // MEBIBYTE} MiB more than before {large.size // MEBIBYTE} MiB"


def test_what_the_page_downloads_waits_for_a_slow_reader(server: Server, large: Pieces) -> None:
    run, key = a_run(server, "page"), "model.bin"
    experiment, run_id = run
    source = {"Bucket": server.world.bucket, "Key": f"{PREFIX}/1/run/artifacts/{key}"}
    server.world.client.copy(source, server.world.bucket, f"{PREFIX}/{experiment}/{run_id}/artifacts/{key}")  # type: ignore[arg-type]
    with server.memory_is_bounded():
        answer = server.ask("GET", f"{URL_PATH}/get-artifact?path={key}&run_uuid={run_id}")
        assert answer.status == 200
        assert digest_of(answer, lambda: time.sleep(0.002)) == large.digest.hexdigest()


def test_an_upload_that_breaks_off_leaves_nothing(server: Server) -> None:
    path = ARTIFACT.replace("model", "broken")

    def breaking() -> Iterator[bytes]:
        yield from iter(Pieces(20 * MEBIBYTE))
        raise RuntimeError("the client is gone")

    with pytest.raises(RuntimeError):
        put(server, path, breaking())
    bucket, key = server.world.bucket, f"{PREFIX}/1/run/artifacts/broken.bin"
    wait_until(
        lambda: not server.world.client.list_multipart_uploads(Bucket=bucket).get("Uploads"),
        SECONDS_TO_STOP,
        "no upload is under way",
    )
    assert server.world.client.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == 0


def test_nobody_uploads_or_reads_without_a_login(server: Server) -> None:
    for path in (URL_PATH + ARTIFACT, ARTIFACT):
        assert server.ask("PUT", path, with_login=False, body=b"mine").status == 401
        assert server.ask("GET", path, with_login=False).status == 401


def test_nobody_is_shown_a_way_around_the_server(server: Server) -> None:
    for method, path, body in WAYS_AROUND:
        for prefix, status in ((URL_PATH, 501), ("", 404)):
            assert server.ask(method, f"{prefix}{path}", json=body).status == status, path
            assert server.ask(method, f"{prefix}{path}", with_login=False, json=body).status == 401, path


def test_no_url_is_signed_for_a_run_wherever_its_artifacts_are(server: Server) -> None:
    root = f"s3://{server.world.bucket}/{PREFIX}/straight"
    for run in (a_run(server, "proxied"), a_run(server, "straight", artifact_location=root)):
        for what in ("upload", "download"):
            path = f"{URL_PATH}/api/2.0/mlflow/artifacts/presigned-{what}-url"
            answer = server.ask("POST", path, json={"run_id": run[1], "path": "model.bin"})
            assert answer.status in (400, 404, 501), (run, what)
            assert b"ignature" not in answer.read()


def test_a_client_that_asks_for_parts_and_signed_urls_goes_through_the_server_all_the_same(
    server: Server, tmp_path: Path
) -> None:
    pieces, file = Pieces(LARGE // 4), tmp_path / "model.bin"
    with file.open("wb") as opened:
        opened.writelines(pieces)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_TRACKING_URI": server.mlflow.address,
        "MLFLOW_TRACKING_USERNAME": LOGIN.username,
        "MLFLOW_TRACKING_PASSWORD": LOGIN.password,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(round(patient(SECONDS_OF_A_TRANSFER))),
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(MEBIBYTE),
        "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE": str(MEBIBYTE),
    }
    command = [str(mlflow_python(MLFLOW_VERSION)), "-c", CLIENT, str(file), str(tmp_path / "down")]
    (tmp_path / "down").mkdir()
    with server.memory_is_bounded():
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False,
            timeout=patient(SECONDS_OF_A_TRANSFER),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == pieces.digest.hexdigest()
    assert "ignature" not in server.world.server.log.read_text(), "nobody opened a signed URL"


def test_a_body_that_would_be_collected_in_memory_is_refused(server: Server) -> None:
    path = f"{URL_PATH}/api/2.0/mlflow/runs/create"
    with server.memory_is_bounded():
        for body in (b"x" * (80 * MEBIBYTE), iter(Pieces(80 * MEBIBYTE))):
            try:
                answer = server.ask("POST", path, with_login=False, body=body)
            except (urllib3.exceptions.ProtocolError, OSError):
                continue  # it does not read on, and some clients do not read the answer then
            assert answer.status == 413
            assert b"as an artifact" in answer.read()


def test_bodies_that_come_in_together_are_bounded_and_keep_nobody_out(server: Server) -> None:
    head = f"POST {URL_PATH}/api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: {63 * MEBIBYTE}\r\n\r\n"
    before = server.memory()
    with ExitStack() as stack:
        for _ in range(8):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            stranger.settimeout(SECONDS_OF_A_PROBE)
            with suppress(OSError):  # whoever is refused is not listened to any more
                stranger.sendall(head.encode() + b"x" * (60 * MEBIBYTE))
        assert server.memory() - before < MOST_MEMORY_OF_BODIES
        assert server.ask("POST", f"{URL_PATH}/api/2.0/mlflow/runs/search", json={}).status == 200


def test_slow_readers_take_no_threads(server: Server) -> None:
    script = re.search(rb'src="([^"]+main[^"]+[.]js)"', server.ask("GET", f"{URL_PATH}/").read())
    assert script
    path = urljoin(f"{URL_PATH}/", script[1].decode())
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack, server.memory_is_bounded():
        for _ in range(SLOW_READERS):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            reader.settimeout(SECONDS_OF_A_TRANSFER)
            reader.sendall(request)
            assert reader.recv(12) == b"HTTP/1.1 200"
        # The one is answered before MLflow, the other one by a thread.
        for path_of_a_probe in ("/health", "/version"):
            answer = server.ask(
                "GET", URL_PATH + path_of_a_probe, with_login=True, seconds=SECONDS_OF_A_PROBE
            )
            assert answer.status == 200


def test_the_address_without_a_slash_leads_everybody_to_the_page(server: Server) -> None:
    answer = server.ask("GET", f"{URL_PATH}?workspace=a", with_login=False)
    assert (answer.status, answer.headers["Location"]) == (307, f"{URL_PATH}/?workspace=a")
    assert urlsplit(answer.headers["Location"]).netloc == ""
    assert server.ask("GET", f"{URL_PATH}/").status == 200


def a_run(server: Server, name: str, **options: str) -> tuple[str, str]:
    """The ids of a new experiment and of a run in it."""
    # A test that is run again meets what it has made before.
    body = {"name": f"{name}-{uuid4().hex[:8]}", **options}
    created = server.ask("POST", f"{URL_PATH}/api/2.0/mlflow/experiments/create", json=body)
    experiment = str(created.json()["experiment_id"])
    run = server.ask("POST", f"{URL_PATH}/api/2.0/mlflow/runs/create", json={"experiment_id": experiment})
    return experiment, str(run.json()["run"]["info"]["run_id"])
