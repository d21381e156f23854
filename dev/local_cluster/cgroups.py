"""The cgroup that holds every process of a cluster, so that none can get away.

The kubelet puts pods below it (`cgroupRoot`); the programs of the cluster, and whatever they start, are in its
child `system` of one hierarchy.
"""

import os
import signal
from functools import cache
from pathlib import Path

from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import Layout
from dev.local_cluster.waiting import wait_until

SYSTEM = "system"
SECONDS_TO_DIE = 30


def make_cgroup(layout: Layout) -> None:
    """Make the cluster's group in every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy / layout.cgroup
        _enable_controllers(hierarchy)
        group.mkdir(exist_ok=True)
        _enable_controllers(group)
        _copy_cpuset(hierarchy, group)
    system_group(layout).mkdir(exist_ok=True)


def system_group(layout: Layout) -> Path:
    """The group of the cluster's own programs."""
    return _tracking_hierarchy() / layout.cgroup / SYSTEM


def processes_of(layout: Layout) -> set[int]:
    """The process ids of everything that runs in the cluster: programs, container shims, containers."""
    return {pid for group in groups_of(layout) for pid in _members(group)}


def groups_of(layout: Layout) -> list[Path]:
    """The groups that exist, parents before children."""
    return [
        Path(folder) for hierarchy in _hierarchies() for folder, _, _ in os.walk(hierarchy / layout.cgroup)
    ]


def kill_all(layout: Layout) -> None:
    """End every process of the cluster, and return when none is left."""

    def all_dead() -> bool:
        left = processes_of(layout)
        for pid in left:
            _kill(pid)
        return not left

    wait_until(
        all_dead,
        seconds=SECONDS_TO_DIE,
        otherwise=lambda: (
            f"The processes {sorted(processes_of(layout))} of cluster {layout.name} do not end."
        ),
    )


def remove_cgroup(layout: Layout) -> None:
    """Remove the cluster's groups, deepest first; the kernel frees dying groups a moment after their processes."""

    def all_gone() -> bool:
        for group in reversed(groups_of(layout)):
            _remove(group)
        return not groups_of(layout)

    wait_until(
        all_gone,
        seconds=SECONDS_TO_DIE,
        otherwise=lambda: f"The cgroups {groups_of(layout)} cannot be removed.",
    )


def _members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:  # gone meanwhile, or a threaded group, whose processes its parent lists
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _remove(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:  # still busy, or gone already: the caller looks again
        return


@cache
def _hierarchies() -> list[Path]:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    by_type = [(left.split()[4], right.split()[0]) for left, right in mounts]
    return [Path(point) for point, kind in by_type if kind in {"cgroup", "cgroup2"}]


@cache
def _tracking_hierarchy() -> Path:
    usable = [path for path in _hierarchies() if path.name in {"pids", "cgroup"}] or _hierarchies()
    if not usable:
        raise ClusterError("No cgroup hierarchy is mounted at /sys/fs/cgroup; the kubelet needs one.")
    return usable[0]


def _enable_controllers(group: Path) -> None:
    """Cgroup v2 only: let children of `group` limit what the kubelet limits."""
    control = group / "cgroup.subtree_control"
    if not control.exists():
        return
    offered = (group / "cgroup.controllers").read_text().split()
    for controller in {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} & set(offered):
        control.write_text(f"+{controller}")


def _copy_cpuset(parent: Path, group: Path) -> None:
    """Cgroup v1 only: a new cpuset group has no processors, and takes no process until it has."""
    if (group / "cgroup.controllers").exists():
        return
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (group / setting).exists():
            (group / setting).write_text((parent / setting).read_text())
