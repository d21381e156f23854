"""Runs beside MLflow in the server's container: tells Prometheus what MLflow's processes have counted.

    serve-metrics FOLDER PORT SERVER

The exporter in MLflow (mlflow/server/prometheus_exporter.py) writes counters into files below the folder, one set for each process. On
a port of their own they can be read by whoever collects metrics, and by nobody else: the NetworkPolicy tells ports apart and no
paths. The API stays closed to monitoring, metrics stay closed to whoever comes by the Ingress, and neither login nor check of
hosts is in the way. Nothing secret is in this process.
"""

import argparse
import ctypes
import os
import signal
import sys
from typing import Final

from tracking_operator.pod_tools.addresses import every_address

PR_SET_PDEATHSIG: Final = 1
"""prctl(2): end together with the process that started this one."""


def main(arguments: list[str] | None = None) -> None:
    """Answer until the server ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="where MLflow's processes count")
    parser.add_argument("port", type=int, help="where to listen")
    parser.add_argument(
        "server", type=int, help="the process that has started this one, and with which it ends"
    )
    options = parser.parse_args(arguments)
    end_with(options.server)
    serve(options.folder, options.port)
    while True:
        signal.pause()


def end_with(server: int) -> None:
    """Have this process end when the server does, and now if it has ended already: of that the kernel tells nobody."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != server:
        sys.exit()


def serve(folder: str, port: int) -> None:
    """Answer in threads, whatever the path: with the sums over all processes."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    start_http_server(port, addr=every_address(), registry=registry)
