"""On which addresses the programs of a pod listen.

A pod has addresses of IPv4, of IPv6, or of both, and clients and the kubelet come by any of them. Where there is none of IPv6, nothing
is different from a cluster that knows only IPv4.
"""

from pathlib import Path
from typing import Final

ALL_OF_IPV4: Final = "0.0.0.0"  # noqa: S104 - who may connect is the NetworkPolicy's business
ALL: Final = "::"
"""Every address of both families, by one socket: Linux hands connections by IPv4 to it, too (net.ipv6.bindv6only)."""

IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")
"""A line for each address: the address, and numbers of the interface, of bits, of the scope and of flags (Linux, net/ipv6/addrconf.c)."""
GLOBAL_SCOPE: Final = "00"
"""Neither of the host alone nor of one link; addresses that are unique only in an organisation (fd00::/8) are global ones."""


def every_address(known: Path = IPV6_ADDRESSES) -> str:
    """The address to listen at for everybody who can reach the pod."""
    return ALL if has_ipv6(known) else ALL_OF_IPV4


def has_ipv6(known: Path = IPV6_ADDRESSES) -> bool:
    """Whether others can reach the pod by IPv6."""
    try:
        lines = known.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return False
    return any(line.split()[3:4] == [GLOBAL_SCOPE] for line in lines)
