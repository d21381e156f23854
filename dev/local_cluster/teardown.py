"""Removing a cluster: what it was made of, and nothing else; also after a crash half-way."""

import shutil
import signal
from pathlib import Path

from dev.local_cluster import cgroups
from dev.local_cluster.layout import RUN_HOME, STATE_HOME, Layout
from dev.local_cluster.mounts import mounts_below, unmount_below
from dev.local_cluster.network import has_link, remove_network
from dev.local_cluster.processes import recorded_processes

CONTAINER_LOG_LINKS = Path("/var/log/containers")
CNI_RESULTS = Path("/var/lib/cni/results")
SHIM_SOCKETS = Path("/run/containerd/s")


def remove_everything(layout: Layout) -> None:
    """End all processes, then remove mounts, network, cgroups and files."""
    for process in recorded_processes(layout):
        process.signal(signal.SIGKILL)
    cgroups.kill_all(layout)
    _remove_shim_sockets(layout)
    for folder in (layout.state, layout.run):
        unmount_below(folder)
    remove_network(layout)
    cgroups.remove_cgroup(layout)
    _remove_container_log_links(layout)
    _remove_network_results(layout)
    for folder in (layout.state, layout.run):
        if folder.exists():
            shutil.rmtree(folder)
    _remove_if_empty(RUN_HOME, STATE_HOME / "clusters", CONTAINER_LOG_LINKS, CNI_RESULTS, SHIM_SOCKETS)


def leftovers(layout: Layout) -> list[str]:
    """What of the cluster still exists on the machine, as sentences; empty after a complete removal."""
    found = [f"process {pid} runs" for pid in sorted(cgroups.processes_of(layout))]
    found += [f"{process.name} runs" for process in recorded_processes(layout) if process.is_running]
    found += [f"cgroup {group} exists" for group in cgroups.groups_of(layout)]
    found += [
        f"{point} is mounted" for folder in (layout.state, layout.run) for point in mounts_below(folder)
    ]
    found += [f"{folder} exists" for folder in (layout.state, layout.run) if folder.exists()]
    found += [f"network interface {layout.host_link} exists"] if has_link(layout.host_link) else []
    found += [f"network namespace {layout.namespace} exists"] if layout.namespace_file.exists() else []
    return found


def _remove_shim_sockets(layout: Layout) -> None:
    """Each container shim noted in its bundle which socket, outside of our folders, it made."""
    for note in layout.containerd_run.glob("io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(note.read_text().removeprefix("unix://"))
        if socket.parent == SHIM_SOCKETS:
            socket.unlink(missing_ok=True)


def _remove_container_log_links(layout: Layout) -> None:
    """The kubelet puts links to its containers' logs in a folder that cannot be configured."""
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(layout.pod_logs):
            link.unlink()


def _remove_network_results(layout: Layout) -> None:
    """The CNI library keeps one file per pod, with the path of its network namespace, in a folder of its own."""
    for result in CNI_RESULTS.glob("*"):
        if f"{layout.containerd_run}/" in result.read_text(errors="replace"):
            result.unlink()


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
