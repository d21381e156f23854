"""On which addresses a pod's programs listen, as the kernel lists those that it has."""

from pathlib import Path

import pytest

from tests.unit.examples import model
from tracking_operator.pod_tools.addresses import ALL, ALL_OF_IPV4, every_address
from tracking_operator.pod_tools.start_server import on_every_address
from tracking_operator.resources.pod.server_pod import server_arguments

LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"
OF_THE_LINK = "fe80000000000000a8aabbfffeccddee 02 40 20 80     eth0\n"
OF_THE_CLUSTER = "fd00000000100000000000000000004f 02 40 00 80     eth0\n"


@pytest.mark.parametrize(
    ("known", "address"),
    [
        ("", ALL_OF_IPV4),
        (LOOPBACK + OF_THE_LINK, ALL_OF_IPV4),
        (LOOPBACK + OF_THE_LINK + OF_THE_CLUSTER, ALL),
    ],
    ids=["no IPv6", "none that others reach", "IPv6"],
)
def test_a_pod_listens_by_ipv6_where_others_reach_it_so(tmp_path: Path, known: str, address: str) -> None:
    (tmp_path / "if_inet6").write_text(known)
    assert every_address(tmp_path / "if_inet6") == address


def test_a_kernel_without_ipv6_lists_nothing(tmp_path: Path) -> None:
    assert every_address(tmp_path / "if_inet6") == ALL_OF_IPV4


def test_the_default_is_what_the_deployment_says() -> None:
    assert f"--host={ALL_OF_IPV4}" in server_arguments(model())


def test_only_a_server_on_all_addresses_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking_operator.pod_tools.start_server.every_address", lambda: "::")
    assert on_every_address(["server", f"--host={ALL_OF_IPV4}", "--port=5000"]) == [
        "server",
        "--host=::",
        "--port=5000",
    ]
    assert on_every_address(["server", "--host=127.0.0.1"]) == ["server", "--host=127.0.0.1"]
