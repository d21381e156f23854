"""The development cluster where a Docker engine answers: kind, driven by pytest-kind."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from dev.local_cluster.addons import bounded_volume_manifests
from dev.local_cluster.commands import run, succeeds
from dev.local_cluster.control_plane import APIS, AUDIT_POLICY, FEATURES
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.kubeconfig import kubeconfig_of, remove_kubeconfig
from dev.local_cluster.port_forward import forwarded_port
from dev.local_cluster.versions import pinned

os.environ.setdefault("KIND_VERSION", f"v{pinned('kind')}")
os.environ.setdefault("KUBECTL_VERSION", f"v{pinned('kubernetes')}")

from pytest_kind import KindCluster  # type: ignore[import-untyped]

AUDIT_FOLDER = "/var/log/kubernetes-audit"
POLICY_FILE = "/etc/kubernetes/audit-policy.yaml"


class DockerCluster:
    """A kind cluster with an audit log; its methods are those of `LocalCluster`."""

    def __init__(self, name: str, kubeconfig: Path | None = None) -> None:
        self.name = name
        self.kubeconfig_path = kubeconfig or kubeconfig_of(name)
        self._folder = kubeconfig_of(name).parent / f"kind-{name}"
        self._kind = KindCluster(name, self.kubeconfig_path, image=pinned("kind", "node_image"))

    def create(self) -> None:
        """Make the cluster, or keep a running one as it is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "audit").mkdir(exist_ok=True)
        (self._folder / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        configuration = self._folder / "kind.yaml"
        configuration.write_text(yaml.safe_dump(_configuration(self._folder)))
        self._kind.create(configuration)
        self._kind.ensure_kubectl()

    def create_api_server(self) -> None:
        """Make the cluster: kind has none without a node."""
        self.create()

    def delete(self) -> None:
        """Remove the cluster; nothing happens if there is none."""
        self._kind.ensure_kind()
        self._kind.delete()
        shutil.rmtree(self._folder, ignore_errors=True)
        remove_kubeconfig(self.kubeconfig_path)

    def problems(self) -> list[str]:
        """What keeps the cluster from working, as sentences; empty when it runs well."""
        if not self.kubeconfig_path.exists():
            return [f"There is no cluster {self.name}."]
        ready = succeeds(str(self.kubectl_path), "get", "--raw=/readyz", env=self.kubectl_environment())
        return [] if ready else [f"The API server of cluster {self.name} is not ready."]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed; raises subprocess.CalledProcessError with its `stderr`."""
        return str(self._kind.kubectl(*arguments, input=stdin, stderr=subprocess.PIPE))

    def load_docker_image(self, archive: str | Path) -> None:
        """Bring the images of an archive to the node; another argument is the name of an image of the engine."""
        if not Path(archive).is_file():
            self._kind.load_docker_image(str(archive))
            return
        run(self._kind.kind_path, "load", "image-archive", f"--name={self.name}", archive)

    @contextmanager
    def port_forward(
        self, service_or_pod_name: str, remote_port: int, *arguments: str, local_port: int | None = None
    ) -> Iterator[int]:
        """Run `kubectl port-forward` while the block runs; gives the local port."""
        command = [str(self.kubectl_path), "port-forward", service_or_pod_name, *arguments]
        with forwarded_port(command, self.kubectl_environment(), remote_port, local_port or 0) as port:
            yield port

    @contextmanager
    def bounded_volume(self, name: str, mebibytes: int) -> Iterator[str]:
        """A PersistentVolume that is really full after `mebibytes`, for one claim; gives its StorageClass's name."""
        folder = f"/var/bounded-volumes/{name}"
        self._on_node("mkdir", "-p", folder)
        self._on_node(
            "mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=1777", "tracking-operator", folder
        )
        manifest = bounded_volume_manifests(self._node, name, folder, mebibytes)
        self.kubectl("apply", "-f", "-", stdin=manifest)
        try:
            yield name
        finally:
            self.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=manifest)
            self._on_node("umount", "--lazy", folder)

    @contextmanager
    def without_policies(self) -> Iterator[None]:
        """Leave what enforces NetworkPolicies as it is: kind has it in a pod."""
        yield

    @property
    def audit_log(self) -> Path:
        """The API server's audit log."""
        return self._folder / "audit" / "audit.log"

    @property
    def host_address(self) -> str:
        """The address at which pods reach servers that listen on this machine."""
        networks = json.loads(run("docker", "network", "inspect", "kind"))
        gateways = [entry.get("Gateway", "") for entry in networks[0]["IPAM"]["Config"]]
        for gateway in gateways:
            if "." in gateway:
                return str(gateway)
        raise ClusterError(
            "Docker's network `kind` has no IPv4 gateway through which pods could reach this machine."
        )

    @property
    def kubectl_path(self) -> Path:
        """A kubectl that fits the cluster."""
        return Path(self._kind.kubectl_path)

    def kubectl_environment(self) -> dict[str, str]:
        """The environment in which kubectl finds the cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig_path)}

    @property
    def _node(self) -> str:
        return f"{self.name}-control-plane"

    def _on_node(self, *command: str) -> str:
        return run("docker", "exec", self._node, *command)


def _configuration(folder: Path) -> dict[str, object]:
    mounts = [
        {"hostPath": str(folder / "audit"), "containerPath": AUDIT_FOLDER},
        {"hostPath": str(folder / "audit-policy.yaml"), "containerPath": POLICY_FILE, "readOnly": True},
    ]
    volumes = [
        {
            "name": "audit",
            "hostPath": AUDIT_FOLDER,
            "mountPath": AUDIT_FOLDER,
            "pathType": "DirectoryOrCreate",
        },
        {
            "name": "policy",
            "hostPath": POLICY_FILE,
            "mountPath": POLICY_FILE,
            "pathType": "File",
            "readOnly": True,
        },
    ]
    arguments = {"audit-log-path": f"{AUDIT_FOLDER}/audit.log", "audit-policy-file": POLICY_FILE}
    patch = {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": arguments, "extraVolumes": volumes}}
    node = {"role": "control-plane", "extraMounts": mounts, "kubeadmConfigPatches": [yaml.safe_dump(patch)]}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "featureGates": FEATURES,
        "runtimeConfig": {name: str(is_on).lower() for name, is_on in APIS.items()},
        "nodes": [node],
    }
