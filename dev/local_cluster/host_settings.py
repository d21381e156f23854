"""What clusters change for the whole machine: remembered before the first cluster, put back after the last."""

import json
from pathlib import Path

from dev.local_cluster.commands import run
from dev.local_cluster.layout import STATE_HOME
from dev.local_cluster.mounts import mounts_below

REMEMBERED = STATE_HOME / "host-settings.json"
SETTINGS = Path("/proc/sys")

# What the kubelet sets at its start, unconditionally (k8s.io/kubernetes/pkg/kubelet/cm, setupKernelTunables).
CHANGED_BY_KUBELET = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)

# A cluster watches files with about 15 instances; at the kernel's default of 128 the eighth cluster fails to start.
RAISED = {"fs/inotify/max_user_instances": 2048}

NAMESPACES = Path("/run/netns")
"""`ip netns` mounts this folder on itself when it makes the machine's first network namespace."""


def prepare_host() -> None:
    """Note the settings as they are, unless a cluster has changed them already, and raise limits that are too low."""
    if not REMEMBERED.exists():
        settings = {name: _read(name) for name in (*CHANGED_BY_KUBELET, *RAISED)}
        found = {"settings": settings, "namespaces": _is_mounted(NAMESPACES)}
        REMEMBERED.write_text(json.dumps(found, indent=2))
    for name, least in RAISED.items():
        if int(_read(name)) < least:
            _write(name, str(least))


def restore_host() -> None:
    """Put the settings back, after the last cluster."""
    if not REMEMBERED.exists():
        return
    found = json.loads(REMEMBERED.read_text())
    for name, value in found["settings"].items():
        if _read(name) != value:
            _write(name, value)
    if not found["namespaces"]:
        _remove_namespaces_folder()
    REMEMBERED.unlink()


def _remove_namespaces_folder() -> None:
    """Undo what `ip netns` did, unless somebody else has a network namespace there by now."""
    if _is_mounted(NAMESPACES) and not any(NAMESPACES.iterdir()):
        run("umount", NAMESPACES)
        NAMESPACES.rmdir()


def _is_mounted(folder: Path) -> bool:
    return folder in mounts_below(folder)


def _read(name: str) -> str:
    return (SETTINGS / name).read_text().strip()


def _write(name: str, value: str) -> None:
    (SETTINGS / name).write_text(value)
