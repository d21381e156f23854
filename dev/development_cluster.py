"""Which kind of cluster this machine gets: kind where a Docker engine answers, else our own node."""

import os
import platform
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from dev.kind_cluster import DockerCluster
from dev.local_cluster.cluster import LocalCluster
from dev.local_cluster.commands import succeeds
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import DEFAULT_NAME


class DevelopmentCluster(Protocol):
    """What tests and the demo need of a cluster: the methods of `pytest_kind.KindCluster` and a few more."""

    name: str
    kubeconfig_path: Path

    def create(self) -> None:
        """Make the cluster, or keep a running one as it is."""

    def create_api_server(self) -> None:
        """Make a new cluster that at least keeps and admits objects; it need not run pods."""

    def delete(self) -> None:
        """Remove the cluster; nothing happens if there is none."""

    def problems(self) -> list[str]:
        """What keeps the cluster from working, as sentences; empty when it runs well."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed; raises subprocess.CalledProcessError with its `stderr`."""

    def load_docker_image(self, archive: str | Path) -> None:
        """Bring the images of an OCI or Docker archive to the node."""

    def port_forward(
        self, service_or_pod_name: str, remote_port: int, *arguments: str, local_port: int | None = None
    ) -> AbstractContextManager[int]:
        """Run `kubectl port-forward` while the block runs; gives the local port."""

    def bounded_volume(self, name: str, mebibytes: int) -> AbstractContextManager[str]:
        """A PersistentVolume that is really full after `mebibytes`, for one claim; gives its StorageClass's name."""

    def without_policies(self) -> AbstractContextManager[None]:
        """Spare the machine what enforces NetworkPolicies, while the block runs, in which no pods do."""

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event per line, with user, verb, resource and user agent."""

    @property
    def host_address(self) -> str:
        """The address at which pods reach servers that listen on this machine."""

    @property
    def kubectl_path(self) -> Path:
        """A kubectl that fits the cluster."""

    def kubectl_environment(self) -> dict[str, str]:
        """The environment in which kubectl finds the cluster."""


def development_cluster(name: str = DEFAULT_NAME) -> DevelopmentCluster:
    """The cluster `name`, made by `create()`.

    Raises:
        ClusterError: this machine can have no cluster; the message says in one sentence what would help.
    """
    if _docker_engine_answers():
        return DockerCluster(name)
    if platform.system() != "Linux":
        raise ClusterError(
            "There is no Docker engine, and a cluster without one needs Linux: start Docker, or use a Linux machine."
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "There is no Docker engine, and a cluster without one needs root: start Docker, or run this as root."
        )
    return LocalCluster(name)


def _docker_engine_answers() -> bool:
    return shutil.which("docker") is not None and succeeds("docker", "info", env=None)
