"""One development cluster, with the methods of `pytest_kind.KindCluster`."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dev.local_cluster import addons, binaries, certificates, control_plane, images, network, node, teardown
from dev.local_cluster.binaries import Binaries
from dev.local_cluster.cgroups import make_cgroup
from dev.local_cluster.commands import plain_environment, run
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.kubeconfig import kubeconfig_of, remove_kubeconfig
from dev.local_cluster.layout import DEFAULT_NAME, Layout
from dev.local_cluster.mounts import mount_memory, unmount_below
from dev.local_cluster.port_forward import forwarded_port
from dev.local_cluster.processes import last_lines, recorded_processes
from dev.local_cluster.progress import say, step
from dev.local_cluster.slots import claim_slot, one_at_a_time, recorded_layout, release_slot
from dev.local_cluster.small_images import system_images
from dev.local_cluster.waiting import wait_until

COMPLETE = "complete"  # a file that says that the cluster was made to the end
SECONDS_TO_READY = 180
MOST_WARNINGS = 5
PATIENCE = 20


class LocalCluster:
    """A single-node Kubernetes on this machine, made of ordinary processes.

    Attributes:
        name: the cluster's name; clusters with different names do not touch each other.
        kubeconfig_path: the kubeconfig of an administrator.
    """

    def __init__(self, name: str = DEFAULT_NAME, kubeconfig: Path | None = None) -> None:
        self.name = name
        self.kubeconfig_path = kubeconfig or kubeconfig_of(name)

    def create(self) -> None:
        """Make the cluster, or keep it as it is if it runs well; what is left of a broken one is removed first."""
        built = binaries.build_binaries()
        archives = system_images(built)
        with one_at_a_time(self.name):
            if not self.problems():
                # A run that was killed may have left one of its programs stopped.
                self._signal_all(signal.SIGCONT)
                say(f"cluster {self.name} is running")
            else:
                _make(self._cleared_layout(), built, archives)
            certificates.write_kubeconfig(self.layout, "admin", self.kubeconfig_path)

    def create_api_server(self) -> None:
        """Make a new cluster of etcd and the API server alone: objects are kept and admitted, and nothing acts on them."""
        built = binaries.build_binaries()
        with one_at_a_time(self.name):
            layout = self._cleared_layout()
            _make_network_and_certificates(layout)
            with step("API server"):
                control_plane.start_api_server(layout, built)
            certificates.write_kubeconfig(layout, "admin", self.kubeconfig_path)

    def delete(self) -> None:
        """Remove the cluster and everything that it made on this machine; nothing happens if there is none."""
        with one_at_a_time(self.name):
            layout = recorded_layout(self.name)
            if layout:
                with step(f"remove cluster {self.name}"):
                    teardown.remove_everything(layout)
                release_slot(self.name)
            remove_kubeconfig(self.kubeconfig_path)

    def problems(self) -> list[str]:
        """What keeps the cluster from working, as sentences; empty when it runs well."""
        layout = recorded_layout(self.name)
        if layout is None:
            return [f"There is no cluster {self.name}."]
        if not (layout.state / COMPLETE).exists():
            return [f"Cluster {self.name} was not completely made."]
        ended = [process.name for process in recorded_processes(layout) if not process.is_running]
        problems = [f"{name} has ended; its log is {layout.logs / name}.log" for name in ended]
        if not ended and not _api_server_answers(layout):
            problems.append(f"The API server at {layout.server} is not ready.")
        return problems

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed.

        Raises:
            subprocess.CalledProcessError: kubectl ended with another code than 0; `stderr` says why.
        """
        done = subprocess.run(
            [self.kubectl_path, *arguments],
            env=self.kubectl_environment(),
            input=stdin,
            check=True,
            capture_output=True,
            encoding="utf-8",
        )
        return done.stdout

    def load_docker_image(self, archive: str | Path) -> None:
        """Bring the images of an OCI or Docker archive to the node."""
        images.load_archive(self.layout, Path(archive))

    @contextmanager
    def port_forward(
        self, service_or_pod_name: str, remote_port: int, *arguments: str, local_port: int | None = None
    ) -> Iterator[int]:
        """Run `kubectl port-forward`, for example to `service/mlflow`; gives the local port."""
        command = [str(self.kubectl_path), "port-forward", service_or_pod_name, *arguments]
        with forwarded_port(command, self.kubectl_environment(), remote_port, local_port or 0) as port:
            yield port

    @contextmanager
    def bounded_volume(self, name: str, mebibytes: int) -> Iterator[str]:
        """A PersistentVolume that is really full after `mebibytes`, for one claim; gives its StorageClass's name."""
        folder = self.layout.bounded_volumes / name
        mount_memory(folder, mebibytes)
        manifest = addons.bounded_volume_manifests(self.layout.node_name, name, str(folder), mebibytes)
        self.kubectl("apply", "-f", "-", stdin=manifest)
        try:
            yield name
        finally:
            self.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=manifest)
            unmount_below(folder)
            shutil.rmtree(folder)

    @contextmanager
    def without_policies(self) -> Iterator[None]:
        """Spare the machine what enforces NetworkPolicies, while the block runs, in which no pods do."""
        self._signal_all(signal.SIGSTOP, node.KUBE_ROUTER)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT, node.KUBE_ROUTER)

    @property
    def layout(self) -> Layout:
        """Where the cluster keeps its things.

        Raises:
            ClusterError: there is no such cluster.
        """
        layout = recorded_layout(self.name)
        if layout is None:
            raise ClusterError(f"There is no cluster {self.name}; `python -m dev.cluster up` makes one.")
        return layout

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event per line, with user, verb, resource and user agent."""
        return self.layout.audit_log

    @property
    def host_address(self) -> str:
        """The address at which pods reach servers that listen on this machine."""
        return self.layout.host_address

    @property
    def kubectl_path(self) -> Path:
        """The kubectl of the cluster's version."""
        return binaries.kubectl()

    def kubectl_environment(self) -> dict[str, str]:
        """The environment in which kubectl finds the cluster and no proxy in between."""
        proxies = ("http_proxy", "https_proxy", "all_proxy")
        inherited = {key: value for key, value in os.environ.items() if key.lower() not in proxies}
        return {**inherited, "KUBECONFIG": str(self.kubeconfig_path)}

    def _signal_all(self, number: signal.Signals, name: str = "") -> None:
        """Send a signal to the cluster's own programs, or to one of them."""
        for process in recorded_processes(self.layout):
            if name in ("", process.name):
                process.signal(number)

    def _cleared_layout(self) -> Layout:
        """Where the cluster goes: a new place, or its old one without what a broken cluster left there."""
        layout = recorded_layout(self.name)
        if layout is None:
            return _claim_for_new(self.name)
        with step(f"remove what is left of cluster {self.name}"):
            teardown.remove_everything(layout)
        return layout


def _claim_for_new(name: str) -> Layout:
    """A slot for a new cluster, unless something of that name is there that no cluster of ours made."""
    layout = claim_slot(name)
    if foreign := teardown.leftovers(layout):
        release_slot(name)
        raise ClusterError(
            f"Something on this machine has the name of cluster {name} and is not ours: {foreign[0]}."
            " Remove it, or choose another name."
        )
    return layout


def _api_server_answers(layout: Layout) -> bool:
    """Ask for a while: on a busy machine a cluster that runs well may need seconds to answer."""
    try:
        wait_until(lambda: control_plane.is_ready(layout), seconds=PATIENCE, otherwise=lambda: "")
    except ClusterError:
        return False
    return True


def _make(layout: Layout, built: Binaries, archives: list[Path]) -> None:
    _make_network_and_certificates(layout)
    with ThreadPoolExecutor() as together, step("API server, containerd and its images"):
        containers = together.submit(_start_containerd_with, layout, archives)
        control_plane.start_api_server(layout, built)
        containers.result()
    with step("controllers and node"):
        control_plane.start_controllers(layout, built)
        node.start_kubelet(layout, built)
        _kubectl(layout, built, "apply", "-f", "-", stdin=addons.addon_manifests(layout))
        _wait_for(layout, built, "--for=create", "node", layout.node_name)
        node.start_proxies(layout, built)
        node.start_provisioner(layout)
        _wait_for(layout, built, "--for=condition=Ready", "node", layout.node_name)
    with step("CoreDNS"):
        _wait_for(layout, built, "--for=condition=Available", "deployment/coredns", "--namespace=kube-system")
    _raise_if_a_program_ended(layout)
    (layout.state / COMPLETE).touch()


def _make_network_and_certificates(layout: Layout) -> None:
    with step("network, cgroup and certificates"):
        layout.run.mkdir(parents=True)
        layout.configuration.mkdir(parents=True)
        make_cgroup(layout)
        network.make_network(layout)
        certificates.make_certificates(layout)


def _start_containerd_with(layout: Layout, archives: list[Path]) -> None:
    node.start_containerd(layout)
    images.load_archives(layout, archives)


def _wait_for(layout: Layout, built: Binaries, *what: str) -> None:
    """Wait for a condition as `kubectl wait` does, but not when a program that should bring it about has ended."""
    deadline = time.monotonic() + SECONDS_TO_READY
    while True:
        try:
            _kubectl(layout, built, "wait", "--timeout=5s", *what)
        except ClusterError as error:
            _raise_if_a_program_ended(layout)
            if time.monotonic() > deadline:
                raise ClusterError(f"{error}\n{_warnings(layout, built)}") from error
        else:
            return


def _warnings(layout: Layout, built: Binaries) -> str:
    """The cluster's last warnings: they tell why pods do not run."""
    wanted = ("--field-selector=type=Warning", "--sort-by=.metadata.creationTimestamp", "--no-headers")
    events = _kubectl(layout, built, "get", "events", "--all-namespaces", *wanted)
    return "\n".join(events.splitlines()[-MOST_WARNINGS:])


def _raise_if_a_program_ended(layout: Layout) -> None:
    for process in recorded_processes(layout):
        if not process.is_running:
            raise ClusterError(f"{process.name} ended: {last_lines(layout, process.name)}")


def _kubectl(layout: Layout, built: Binaries, *arguments: str, stdin: str | None = None) -> str:
    environment = {**plain_environment(), "KUBECONFIG": str(layout.admin_kubeconfig)}
    return run(built.program("kubectl"), *arguments, stdin=stdin, env=environment)
