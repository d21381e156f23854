"""Which slot, and with it which addresses, each cluster has; recorded on disk so that clusters never collide."""

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from dev.local_cluster.cache import locked
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.host_settings import prepare_host, restore_host
from dev.local_cluster.layout import SLOTS, STATE_HOME, Layout, check_name

RECORD = STATE_HOME / "slots.json"
LOCK = STATE_HOME / "slots.lock"


def claim_slot(name: str) -> Layout:
    """The layout of cluster `name`, in the slot that it has already or else in a free one."""
    check_name(name)
    with locked(LOCK):
        prepare_host()
        slots = _read()
        if name not in slots:
            slots[name] = _free_slot(slots)
            _write(slots)
        return Layout(name, slots[name])


def recorded_layout(name: str) -> Layout | None:
    """The layout of cluster `name` if it has a slot: that is, if it was made and not yet fully removed."""
    check_name(name)
    if not RECORD.exists():
        return None
    with locked(LOCK):
        slots = _read()
    return Layout(name, slots[name]) if name in slots else None


def release_slot(name: str) -> None:
    """Give the slot back, when nothing of the cluster is left."""
    with locked(LOCK):
        slots = _read()
        slots.pop(name, None)
        _write(slots)
        if not slots:
            restore_host()


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Make and remove a cluster only in one process at a time."""
    check_name(name)
    with locked(STATE_HOME / "locks" / name):
        yield


def _free_slot(slots: dict[str, int]) -> int:
    used = _networks_in_use()
    for slot in SLOTS:
        if slot not in slots.values() and not _overlaps(Layout("any", slot), used):
            return slot
    raise ClusterError(
        f"All {len(SLOTS)} slots for local clusters are taken; remove one with `cluster down`."
    )


def _overlaps(layout: Layout, used: list[ipaddress.IPv4Network]) -> bool:
    wanted = (layout.link_network, layout.pod_cidr, layout.service_cidr)
    return any(ipaddress.IPv4Network(network).overlaps(other) for network in wanted for other in used)


def _networks_in_use() -> list[ipaddress.IPv4Network]:
    listed = subprocess.run(["ip", "-json", "-4", "route"], capture_output=True, text=True, check=True).stdout
    destinations = [str(route["dst"]) for route in json.loads(listed)]
    return [ipaddress.IPv4Network(destination) for destination in destinations if destination != "default"]


def _read() -> dict[str, int]:
    if not RECORD.exists():
        return {}
    return {str(name): int(slot) for name, slot in json.loads(RECORD.read_text()).items()}


def _write(slots: dict[str, int]) -> None:
    aside = RECORD.with_suffix(".new")
    aside.write_text(json.dumps(slots, indent=2, sort_keys=True))
    aside.replace(RECORD)
