"""A real S3 server with users and bucket policies, for tests: versitygw on a folder, on loopback, thrown away."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dev.local_cluster.binaries import published_program
from dev.local_cluster.commands import plain_environment
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.waiting import wait_until

NAME = "versitygw"
HOST = "127.0.0.1"
REGION = "us-east-1"
MEMORY = Path("/dev/shm")  # noqa: S108
SECONDS_TO_START = 30
SECONDS_TO_STOP = 20


def versitygw_program() -> Path:
    """The program, a static binary; built in about two minutes when it is not in the cache."""
    return published_program(NAME)


@dataclass
class VersitygwServer:
    """A running server. Its root user may do everything: with S3, and with the admin API at the same port."""

    port: int
    root_access: str
    root_secret: str = field(repr=False)
    folder: Path
    has_tls: bool
    command: tuple[str, ...] = field(repr=False)
    process: "subprocess.Popen[bytes]" = field(repr=False, init=False)

    @property
    def endpoint(self) -> str:
        """The URL of both S3 and the admin API."""
        return f"{'https' if self.has_tls else 'http'}://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What the server has said, with a line for each request."""
        return self.folder / "log"

    def stop(self) -> None:
        """End it; the data stays."""
        _stop(self.process)

    def start(self) -> None:
        """Start it again after `stop`, at the same port with the same data and users."""
        self.process = _start(self)

    def pause(self) -> None:
        """Stop the process: connections are accepted by the kernel, and nobody answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def versitygw_server(
    port: int,
    root_access: str,
    root_secret: str,
    *,
    certificate: tuple[Path, Path] | None = None,
    region: str = REGION,
    has_versioning: bool = False,
) -> Iterator[VersitygwServer]:
    """Run a new, empty server on 127.0.0.1 until the block ends.

    ``certificate`` names the files (PEM) of a certificate and its key: requests are then encrypted. With
    ``has_versioning`` buckets can be told to keep versions; without it the server refuses to.
    """
    with tempfile.TemporaryDirectory(prefix="versitygw-", dir=_fast_folder()) as name:
        folder = Path(name)
        for part in ("buckets", "users", "versions"):
            (folder / part).mkdir()
        command = [str(versitygw_program()), "--port", f"{HOST}:{port}", "--region", region]
        # Its cache of accounts goes on to accept a secret that was replaced (for --iam-cache-ttl, 120 s).
        command += ["--iam-dir", str(folder / "users"), "--iam-cache-disable"]
        if certificate:
            command += ["--cert", str(certificate[0]), "--key", str(certificate[1])]
        command += ["posix", *(["--versioning-dir", str(folder / "versions")] if has_versioning else [])]
        server = VersitygwServer(
            port,
            root_access,
            root_secret,
            folder,
            certificate is not None,
            (*command, str(folder / "buckets")),
        )
        server.start()
        try:
            yield server
        finally:
            _stop(server.process)


def _fast_folder() -> Path | None:
    """Memory, if it can keep the attributes in which the server notes what it knows of objects; else the usual place."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return None
    with tempfile.NamedTemporaryFile(dir=MEMORY) as file:
        try:
            os.setxattr(file.name, "user.tracking-operator", b"")
        except OSError:
            return None
    return MEMORY


def _start(server: VersitygwServer) -> "subprocess.Popen[bytes]":
    keys = {"ROOT_ACCESS_KEY": server.root_access, "ROOT_SECRET_KEY": server.root_secret}
    with server.log.open("ab") as output:
        process = subprocess.Popen(
            server.command,
            env={**plain_environment(), **keys},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_ready() -> bool:
        if process.poll() is not None:
            raise ClusterError(f"versitygw did not start: {server.log.read_text()}")
        return _accepts_connections(server.port)

    wait_until(
        is_ready,
        seconds=SECONDS_TO_START,
        otherwise=lambda: f"versitygw was not ready after {SECONDS_TO_START} s: {server.log.read_text()}",
    )
    return process


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
