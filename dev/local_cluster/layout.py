"""Everything that a cluster's name and slot decide: folders, addresses and names of kernel objects.

State lives outside the repository: unix sockets may not have paths longer than 108 characters.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from dev.local_cluster.failures import ClusterError

STATE_HOME = Path("/var/lib/tracking-operator-dev")
RUN_HOME = Path("/run/tracking-operator-dev")
DEFAULT_NAME = "tracking-operator"
LONGEST_NAME = 30
SLOTS = range(64)
FIRST_SERVICE_NETWORK = 128
"""The Services of slot 0 are in 10.128.0.0/16, those of the last slot in 10.191.0.0/16."""


@dataclass(frozen=True)
class Layout:
    """Where one cluster keeps its things; two clusters with different slots share nothing."""

    name: str
    slot: int

    # Kernel objects

    @property
    def namespace(self) -> str:
        """The network namespace of the node."""
        return f"tro-{self.name}"

    @property
    def namespace_file(self) -> Path:
        """The mount that keeps the network namespace."""
        return Path("/run/netns") / self.namespace

    @property
    def host_link(self) -> str:
        """The host's end of the cable to the node."""
        return f"tro{self.slot}host"

    @property
    def node_link(self) -> str:
        """The node's end of the cable to the host."""
        return f"tro{self.slot}node"

    @property
    def cgroup(self) -> str:
        """The name of the cgroup, below the root of each hierarchy, that every process of the cluster is in."""
        return f"tro-{self.name}"

    @property
    def pod_network(self) -> str:
        """The CNI network's name."""
        return f"tro-{self.name}"

    # Addresses

    @property
    def host_address(self) -> str:
        """The host as seen by the node and its pods."""
        return f"10.201.{self.slot}.1"

    @property
    def node_address(self) -> str:
        """The node as seen by the host; the API server listens here."""
        return f"10.201.{self.slot}.2"

    @property
    def link_network(self) -> str:
        """The network between host and node."""
        return f"10.201.{self.slot}.0/30"

    @property
    def pod_cidr(self) -> str:
        """The addresses of the pods."""
        return f"10.202.{self.slot}.0/24"

    @property
    def service_cidr(self) -> str:
        """The addresses of the Services: a /24 would end at 254 of them."""
        return f"10.{FIRST_SERVICE_NETWORK + self.slot}.0.0/16"

    @property
    def api_service_address(self) -> str:
        """The Service `kubernetes` in namespace `default`: always the first address."""
        return f"10.{FIRST_SERVICE_NETWORK + self.slot}.0.1"

    @property
    def dns_address(self) -> str:
        """The Service `kube-dns`."""
        return f"10.{FIRST_SERVICE_NETWORK + self.slot}.0.10"

    @property
    def server(self) -> str:
        """The API server's URL, from the host and from the node."""
        return f"https://{self.node_address}:6443"

    @property
    def node_name(self) -> str:
        """The node's name in Kubernetes."""
        return f"{self.name}-node"

    # Folders and files

    @property
    def state(self) -> Path:
        """Everything on disk that `down` removes."""
        return STATE_HOME / "clusters" / self.name

    @property
    def run(self) -> Path:
        """Sockets and the container runtime's state."""
        return RUN_HOME / self.name

    @property
    def certificates(self) -> Path:
        """Certificates, keys and the programs' kubeconfigs."""
        return self.state / "certificates"

    @property
    def configuration(self) -> Path:
        """The programs' configuration files."""
        return self.state / "configuration"

    @property
    def logs(self) -> Path:
        """One log per program."""
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event per line."""
        return self.logs / "audit.log"

    @property
    def processes(self) -> Path:
        """One record per process that was started."""
        return self.state / "processes"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root folder."""
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """The containers' output."""
        return self.state / "pod-logs"

    @property
    def volumes(self) -> Path:
        """The volumes of the default StorageClass."""
        return self.state / "volumes"

    @property
    def bounded_volumes(self) -> Path:
        """One small mounted file system per bounded volume."""
        return self.state / "bounded-volumes"

    @property
    def containerd(self) -> Path:
        """Images and containers."""
        return self.state / "containerd"

    @property
    def containerd_run(self) -> Path:
        """What containerd knows of running containers."""
        return self.run / "containerd"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def admin_kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator."""
        return self.certificates / "admin.kubeconfig"


def check_name(name: str) -> None:
    """Raise ClusterError unless `name` can be part of a cgroup's, a network namespace's and a node's name."""
    if len(name) > LONGEST_NAME or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        raise ClusterError(
            f"`{name}` is no name for a cluster: use at most {LONGEST_NAME} lower-case letters, digits and dashes,"
            " beginning and ending with a letter or digit."
        )
