"""What a GiB through a server takes in time and in memory, beside straight to the object store. Needs no cluster.

The server is MLflow as its container starts it, a process of this machine, as in tests/stores/test_large_artifacts.py.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3

from bench.report import Table
from bench.samples import duration, ratio, verdict
from bench.transfers import SCRIPT, Throughput, Transfers, throughputs
from dev.images.recipes import mlflow_versions
from dev.loopback import HOST, free_port
from dev.mlflow_process import Login, MlflowProcess, Peak, mlflow_process, mlflow_python
from dev.stores.deployment import new_certificate
from dev.versitygw import MEMORY, REGION, VersitygwServer, versitygw_server
from tracking_operator.pod_tools.programs import SETTINGS_OF_OTHER_SERVERS

MEBIBYTE: Final = 2**20
SIZE: Final = 1024 * MEBIBYTE
"""A test proves that 2 GiB take no more memory (`make campaign`)."""
WARMING_UP: Final = 16 * MEBIBYTE
"""What is only loaded for the first artifact is no matter of its size."""
REPETITIONS: Final = 3
LARGEST_RATIO: Final = 2.2
MOST_MEMORY: Final = 100
"""In MiB, above what the server takes when idle."""
SECONDS_OF_ALL_TRANSFERS: Final = 3600
ACCESS, SECRET = "bench", "secret-of-bench"
BUCKET: Final = "artifacts"
SERVERS: Final[Mapping[str, tuple[str, Login | None]]] = {
    "with a URL path and a login": ("/team-a", Login()),
    "without both": ("", None),
}


@dataclass(frozen=True)
class ThroughServer:
    """What was measured of one server."""

    name: str
    throughput: Sequence[Throughput]
    memory: Peak


@dataclass(frozen=True)
class Store:
    """A running S3 server, and what its clients need to know."""

    server: VersitygwServer
    ca_file: Path

    @property
    def variables(self) -> dict[str, str]:
        """As the operator sets them for a class with such a store."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_ENDPOINT_URL_S3": self.server.endpoint,
            "MLFLOW_S3_ENDPOINT_URL": self.server.endpoint,
            **SETTINGS_OF_OTHER_SERVERS,
        }


def measure_large_artifacts() -> list[ThroughServer]:
    """Send the same bytes both ways by turns, and watch the servers' memory meanwhile."""
    version = mlflow_versions()[-1]
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="large-artifacts-", dir=_fast()))
        )
        store = stack.enter_context(_store(folder))
        servers = {name: stack.enter_context(_server(folder, version, name, store)) for name in SERVERS}
        _transfer(folder, version, store, servers, size=WARMING_UP, repetitions=1)
        peaks = {name: stack.enter_context(server.memory_watched()) for name, server in servers.items()}
        took = _transfer(folder, version, store, servers, size=SIZE, repetitions=REPETITIONS)
    return [ThroughServer(name, throughputs(took, name), peaks[name]) for name in servers]


@contextmanager
def _store(folder: Path) -> Iterator[Store]:
    """An S3 server with TLS, and its bucket."""
    certificate = new_certificate("bench", [HOST])
    files = {
        "ca.crt": certificate.ca_certificate,
        "tls.crt": certificate.certificate,
        "tls.key": certificate.key,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    pair = (folder / "tls.crt", folder / "tls.key")
    with versitygw_server(free_port(), ACCESS, SECRET, certificate=pair) as server:
        client = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name=REGION, verify=str(folder / "ca.crt"),
            aws_access_key_id=ACCESS, aws_secret_access_key=SECRET,
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        yield Store(server, folder / "ca.crt")


@contextmanager
def _server(folder: Path, version: str, name: str, store: Store) -> Iterator[MlflowProcess]:
    url_path, login = SERVERS[name]
    own = Path(tempfile.mkdtemp(dir=folder))
    artifacts = f"s3://{BUCKET}/{own.name}"
    with mlflow_process(
        own, version, artifacts=artifacts, variables=store.variables, url_path=url_path, login=login
    ) as server:
        yield server


def _transfer(
    folder: Path,
    version: str,
    store: Store,
    servers: Mapping[str, MlflowProcess],
    *,
    size: int,
    repetitions: int,
) -> dict[str, list[float]]:
    """Run the client's script to its end; the seconds of each way."""
    transfers = Transfers(
        BUCKET, "straight", size, repetitions, {name: _client_variables(one) for name, one in servers.items()}
    )
    home = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GIT_PYTHON_REFRESH": "quiet",
    }
    done = subprocess.run(
        [mlflow_python(version), "-c", SCRIPT],
        input=json.dumps(transfers.settings()),
        env=home | store.variables | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS_OF_ALL_TRANSFERS,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _client_variables(server: MlflowProcess) -> dict[str, str]:
    login = server.login or Login("", "")
    return {
        "MLFLOW_TRACKING_URI": server.address,
        "MLFLOW_TRACKING_USERNAME": login.username,
        "MLFLOW_TRACKING_PASSWORD": login.password,
    }


def _fast() -> Path | None:
    """Memory: how fast a disk is, is no question here."""
    return MEMORY if MEMORY.is_dir() else None


# Telling


def large_artifacts_table(measured: Sequence[ThroughServer]) -> Table:
    """Tell how much the way through the server costs."""
    rows = []
    for server in measured:
        memory = server.memory.above / MEBIBYTE
        for one in server.throughput:
            through, straight = one.medians
            rows.append(
                (
                    f"{one.what}, {server.name}",
                    duration(through),
                    duration(straight),
                    ratio(through, straight),
                    verdict(through / straight, LARGEST_RATIO, f"{LARGEST_RATIO} ×"),
                )
            )
        rows.append(
            (
                f"memory above idle, {server.name}",
                f"{memory:.0f} MiB",
                "",
                "",
                verdict(memory, MOST_MEMORY, f"{MOST_MEMORY} MiB"),
            )
        )
    return Table(
        f"An artifact of {SIZE // MEBIBYTE} MiB through a server, beside straight to the object store, without a cluster",
        ("what", "through the server", "straight", "ratio", "aim"),
        tuple(rows),
        (
            f"MLflow {mlflow_versions()[-1]} as its container starts it, one worker; versitygw with TLS; both and the client are processes "
            "of this machine, share its cores and have their files in memory. "
            f"Median of {REPETITIONS}, by turns: `log_artifact` and `download_artifacts` of MLflow's client, and boto3's `upload_file` "
            "and `download_file` (parts of 8 MB, ten at a time). Memory: the most that the server's processes had of their own (`RssAnon`) in "
            "uploads and downloads, above what they had before them.",
        ),
    )
