"""Clusters get networks of their own, and names that fit everywhere."""

import ipaddress
from itertools import combinations
from pathlib import Path

import pytest

from dev.local_cluster import host_settings, slots
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import LONGEST_NAME, SLOTS, Layout, check_name

LONGEST_SOCKET_PATH = 107
"""Bytes, without the final NUL: unix(7), sun_path."""


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "RECORD", tmp_path / "slots.json")
    monkeypatch.setattr(slots, "LOCK", tmp_path / "slots.lock")
    monkeypatch.setattr(slots, "_networks_in_use", list)
    monkeypatch.setattr(host_settings, "REMEMBERED", tmp_path / "host-settings.json")
    monkeypatch.setattr(host_settings, "NAMESPACES", tmp_path / "netns")
    monkeypatch.setattr(host_settings, "SETTINGS", tmp_path / "sys")
    for name in (*host_settings.CHANGED_BY_KUBELET, *host_settings.RAISED):
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text("0\n")


def networks(layout: Layout) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(n) for n in (layout.link_network, layout.pod_cidr, layout.service_cidr)]


def test_each_name_keeps_its_slot() -> None:
    first, second = slots.claim_slot("first"), slots.claim_slot("second")
    assert first.slot != second.slot
    assert slots.claim_slot("first") == first == slots.recorded_layout("first")
    slots.release_slot("first")
    assert slots.recorded_layout("first") is None
    assert slots.claim_slot("third").slot == first.slot


def test_no_two_slots_share_a_network() -> None:
    every = [network for slot in SLOTS for network in networks(Layout("any", slot))]
    assert not any(one.overlaps(other) for one, other in combinations(every, 2))


def test_a_cluster_has_addresses_for_a_thousand_services() -> None:
    services = ipaddress.IPv4Network(Layout("any", SLOTS[-1]).service_cidr)
    assert services.num_addresses > 1000
    for address in (Layout("any", SLOTS[-1]).api_service_address, Layout("any", SLOTS[-1]).dns_address):
        assert ipaddress.IPv4Address(address) in services


def test_a_slot_whose_network_the_machine_uses_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_networks_in_use", lambda: [ipaddress.IPv4Network("10.202.0.0/23")])
    assert slots.claim_slot("first").slot == 2


def test_when_all_slots_are_taken_a_sentence_says_so() -> None:
    for number in SLOTS:
        slots.claim_slot(f"cluster-{number}")
    with pytest.raises(ClusterError, match="slots for local clusters are taken"):
        slots.claim_slot("one-more")


def test_the_machines_settings_come_back_after_the_last_cluster() -> None:
    setting = host_settings.SETTINGS / "vm/overcommit_memory"
    slots.claim_slot("first")
    setting.write_text("1")
    slots.claim_slot("second")
    slots.release_slot("first")
    assert setting.read_text() == "1"
    slots.release_slot("second")
    assert setting.read_text() == "0"


def test_a_limit_that_is_too_low_is_raised_while_clusters_exist() -> None:
    limit = host_settings.SETTINGS / "fs/inotify/max_user_instances"
    limit.write_text("128\n")
    slots.claim_slot("first")
    assert int(limit.read_text()) >= 1024
    slots.release_slot("first")
    assert limit.read_text() == "128"


@pytest.mark.parametrize(
    "name", ["", "Upper", "under_score", "-dash", "dash-", "a/b", "..", "x" * (LONGEST_NAME + 1)]
)
def test_a_name_that_would_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="is no name for a cluster"):
        check_name(name)


def test_with_the_longest_name_interfaces_and_sockets_still_fit() -> None:
    layout = Layout("x" * LONGEST_NAME, max(SLOTS))
    check_name(layout.name)
    assert max(len(layout.host_link), len(layout.node_link)) <= 15
    sockets = [layout.containerd_socket, layout.kubelet / "pod-resources" / "kubelet.sock"]
    assert max(len(str(socket)) for socket in sockets) <= LONGEST_SOCKET_PATH
