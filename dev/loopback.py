"""Servers for tests that live on loopback until a block ends."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.local_cluster.commands import plain_environment
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.waiting import wait_until

HOST = "127.0.0.1"
LOG = "log"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 20


@contextmanager
def serving(command: Sequence[str | Path], port: int) -> Iterator[None]:
    """Run a program that listens at a port of 127.0.0.1, in a folder that goes with it.

    Raises ClusterError: it ended, or did not listen in time.
    """
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        process = _start(command, Path(folder))
        try:
            _await(process, port, Path(folder))
            yield
        finally:
            _stop(process)


def free_port() -> int:
    """A port that nobody listens on, at whatever address ``localhost`` may mean."""
    by_both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if by_both else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=by_both) as listener:
        return int(listener.getsockname()[1])


def _start(command: Sequence[str | Path], folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / LOG).open("wb") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    def words() -> str:
        return (folder / LOG).read_text()

    def is_ready() -> bool:
        if process.poll() is not None:
            raise ClusterError(f"{process.args!r} ended at once: {words()}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    wait_until(
        is_ready,
        seconds=SECONDS_TO_START,
        otherwise=lambda: f"{process.args!r} did not listen within {SECONDS_TO_START} s: {words()}",
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
