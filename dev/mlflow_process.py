"""A real MLflow as its container starts it, as a process of this machine: for tests and measurements that need no cluster."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from dev.images.recipes import ROOT
from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.commands import run
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.waiting import wait_until
from dev.loopback import HOST, free_port
from dev.uv import uv_program
from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.pod_tools.programs import START_SERVER
from tracking_operator.resources.tools_archive import current_archive

SECONDS_TO_INSTALL: Final = 900
SECONDS_TO_START: Final = 240.0
SECONDS_TO_STOP: Final = 120.0
SECONDS_OF_A_PROBE: Final = 5
PAUSE_OF_A_WATCH: Final = 0.05
FOREIGN_VARIABLES: Final = ("AWS_", "PYTHON", "MLFLOW_")
"""What a container does not inherit from whoever starts it here."""


def mlflow_python(version: str, *extras: str) -> Path:
    """The Python interpreter that has this MLflow; installed from the image's lock when it is not in the cache.

    ``extras`` are the image's: ``azure`` and ``gcs``.
    """
    project = ROOT / "dev" / "images" / "mlflow" / version
    key = "-".join([version, digest_of([(project / "uv.lock").read_text()]), *extras])
    return built_once("mlflow", key, lambda folder: _install(project, folder, extras)) / "bin" / "python"


def _install(project: Path, folder: Path, extras: Sequence[str]) -> None:
    # Not in the project's own folder, where it would become part of the image's build context.
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    run(
        uv_program(), "sync", "--frozen", "--no-dev", "--quiet", *(f"--extra={one}" for one in extras), f"--project={project}",
        cwd=project, env=environment, seconds=SECONDS_TO_INSTALL,
    )  # fmt: skip


@dataclass(frozen=True)
class Login:
    """The admin of an MLflow with a login."""

    username: str = "admin"
    password: str = field(default="a-password-of-32-characters-long", repr=False)


@dataclass
class Peak:
    """What a server had in memory before something, and at most meanwhile; in bytes."""

    before: int
    most: int

    @property
    def above(self) -> int:
        """By how much it was more."""
        return self.most - self.before


@dataclass(frozen=True)
class MlflowProcess:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    port: int
    url_path: str
    login: Login | None
    seconds_to_answer: float
    """From the start of its process."""

    @property
    def address(self) -> str:
        """What its clients call it."""
        return f"http://{HOST}:{self.port}{self.url_path}"

    def memory(self) -> int:
        """What all its processes have in memory that is theirs, in bytes."""
        return sum(_memory_of(pid) for pid in family(self.process.pid))

    @contextmanager
    def memory_watched(self) -> Iterator[Peak]:
        """Watch its memory; when the block has ended, the peak says how much there was at most."""
        before = self.memory()
        peak, is_over = Peak(before, before), threading.Event()

        def watch() -> None:
            while not is_over.wait(PAUSE_OF_A_WATCH):
                peak.most = max(peak.most, self.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield peak
        finally:
            is_over.set()
            watcher.join()


@contextmanager
def mlflow_process(
    folder: Path,
    version: str,
    *,
    artifacts: str,
    variables: Mapping[str, str],
    url_path: str = "",
    login: Login | None = None,
    patience: float = 1,
) -> Iterator[MlflowProcess]:
    """Run a server until the block ends, with SQLite in a folder, where one that ran before left it.

    ``artifacts`` is where it keeps what clients send through it; ``variables`` are those of its store.
    ``patience`` is by how much it may take longer to start and to stop.
    """
    port, log = free_port(), folder / "log"
    _prepare(folder, version, login)
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [
                *(
                    str(mlflow_python(version)),
                    str(folder / TOOLS_FILE),
                    START_SERVER,
                    "server",
                    f"--port={port}",
                ),
                *(f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--workers=1"),
                *(
                    "--serve-artifacts",
                    f"--artifacts-destination={artifacts}",
                    "--uvicorn-opts=--no-access-log",
                ),
                *(["--app-name=basic-auth"] if login else []),
                *([f"--static-prefix={url_path}"] if url_path else []),
            ],
            cwd=folder,
            env=_environment(folder) | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    health = f"http://{HOST}:{port}{url_path}/health"

    def answers() -> bool:
        if process.poll() is not None:
            raise ClusterError(f"MLflow {version} did not start: {log.read_text()}")
        return _answers(health)

    try:
        wait_until(
            answers,
            seconds=SECONDS_TO_START * patience,
            otherwise=lambda: f"MLflow {version} does not answer: {log.read_text()}",
        )
        yield MlflowProcess(process, port, url_path, login, time.monotonic() - started)
    finally:
        process.terminate()
        process.wait(SECONDS_TO_STOP * patience)


def _prepare(folder: Path, version: str, login: Login | None) -> None:
    """Put into the folder what a container finds: the archive of the pods' programs, MLflow, and its Secret."""
    (folder / TOOLS_FILE).write_bytes(current_archive().content)
    # The environment was moved after its installation, so that the path in its own programs is not right any more.
    program = folder / "mlflow"
    program.write_text(f'#!/bin/sh\nexec {mlflow_python(version)} -m mlflow "$@"\n')
    program.chmod(0o755)
    if login:
        mounted = folder / "credentials" / "login"
        mounted.mkdir(parents=True, exist_ok=True)
        secret = {"username": login.username, "password": login.password, "secretKey": "key-of-flask"}
        for name, text in secret.items():
            (mounted / name).write_text(text)


def _environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)}
    return inherited | {
        "PATH": f"{folder}:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "TRACKING_OPERATOR_TERMINATION_LOG": str(folder / "termination-log"),
        "TRACKING_OPERATOR_CREDENTIALS": str(folder / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=SECONDS_OF_A_PROBE) as answer:  # noqa: S310 - of this machine
            return bool(answer.status == 200)  # noqa: PLR2004
    except (URLError, OSError):
        return False


def family(pid: int) -> list[int]:
    """A process, its children, theirs and so on."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def _memory_of(pid: int) -> int:
    """The pages of a process that are no files', in bytes (``RssAnon`` in ``/proc/PID/status``)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum(int(line.split()[1]) * 2**10 for line in lines if line.startswith("RssAnon:"))
