"""The port of this machine at which the demo's servers are opened: it leads to the Ingress controller.

It is kept by a process of its own in the background, `python -m dev.demo.forwarding NAME`, which starts `kubectl
port-forward` again whenever that ends, as it does when the controller's pod is replaced. The process holds a lock on a
file with its id: so nobody mistakes another process for it, and the file of one that was killed means nothing.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from dev.demo.failures import DemoError
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.ingress import ClusterIngress
from dev.local_cluster.kubeconfig import FOLDER
from dev.local_cluster.waiting import wait_until

HOST = "127.0.0.1"
PORT = 7006
"""As in the publicURL of manifests/samples/class.yaml."""
SECONDS_TO_START = 60
SECONDS_TO_STOP = 20
SECONDS_BETWEEN = 1


def start_forwarding(ingress: ClusterIngress) -> None:
    """Lead the port to the Ingress controller until `stop_forwarding`, also when this process has ended.

    Raises:
        DemoError: something else listens at the port, or the forwarding does not begin.
    """
    name = ingress.cluster.name
    if running_process(name) is None:
        if _is_answered():
            raise DemoError(
                f"Port {PORT} of this machine is in use, and the demo's URLs have it: end what listens there, or another"
                " cluster's demo by `python -m dev.demo down --name …`, and start the demo again."
            )
        _start(name, ingress.namespace)
    wait_until(
        lambda: _is_answered() or _raise_if_ended(name),
        seconds=SECONDS_TO_START,
        otherwise=lambda: f"Port {PORT} leads to no Ingress controller: {_log(name).read_text()}",
    )


def stop_forwarding(name: str) -> None:
    """End the forwarding of a cluster; nothing happens if there is none."""
    process = running_process(name)
    if process is not None:
        os.kill(process, signal.SIGTERM)
        wait_until(
            lambda: running_process(name) is None,
            seconds=SECONDS_TO_STOP,
            otherwise=lambda: f"Process {process}, which forwards port {PORT}, does not end.",
        )
    for file in (_lock(name), _log(name)):
        file.unlink(missing_ok=True)


def running_process(name: str) -> int | None:
    """The id of the process that forwards to a cluster; None if none does."""
    try:
        with _lock(name).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(_lock(name).read_text() or "0") or None
    return None


def main(arguments: list[str]) -> int:
    """Forward to the Ingress controller of a cluster, in a namespace, until SIGTERM or until the cluster is gone."""
    name, namespace = arguments
    signal.signal(signal.SIGTERM, _end)
    with _lock(name).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for whoever just looks whether it is held
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        cluster = development_cluster(name)
        while cluster.kubeconfig_path.exists():
            _forward_once(cluster, namespace)
            time.sleep(SECONDS_BETWEEN)
    return 0


def _forward_once(cluster: DevelopmentCluster, namespace: str) -> None:
    command = [str(cluster.kubectl_path), "port-forward", "--namespace", namespace, "service/traefik"]
    with subprocess.Popen(
        [*command, f"--address={HOST}", f"{PORT}:80"],
        env=cluster.kubectl_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a line for each connection
    ) as process:
        try:
            process.wait()
        finally:
            process.kill()


def _start(name: str, namespace: str) -> None:
    _lock(name).parent.mkdir(parents=True, exist_ok=True)
    with _log(name).open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, name, namespace],
            cwd=FOLDER.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(
        lambda: running_process(name) == process.pid or process.poll() is not None,
        seconds=SECONDS_TO_START,
        otherwise=lambda: f"The forwarding of port {PORT} did not begin: {_log(name).read_text()}",
    )


def _raise_if_ended(name: str) -> bool:
    if running_process(name) is None:
        raise DemoError(f"The forwarding of port {PORT} ended: {_log(name).read_text()}")
    return False


def _is_answered() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, PORT)) == 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _lock(name: str) -> Path:
    return FOLDER / f"forwarding-{name}.pid"


def _log(name: str) -> Path:
    return FOLDER / f"forwarding-{name}.log"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
