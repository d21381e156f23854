"""The node's network: a namespace of its own with one cable to the host and no way out of the machine."""

from pathlib import Path

from dev.local_cluster.commands import run, succeeds
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import Layout


def make_network(layout: Layout) -> None:
    """Make the namespace, the cable and the routes."""
    if layout.namespace_file.exists():
        raise ClusterError(
            f"The network namespace {layout.namespace} exists, but no cluster of ours made it."
        )
    run("ip", "netns", "add", layout.namespace)
    run(
        *("ip", "link", "add", layout.host_link, "type", "veth"),
        *("peer", "name", layout.node_link, "netns", layout.namespace),
    )
    run("ip", "address", "add", f"{layout.host_address}/30", "dev", layout.host_link)
    run("ip", "link", "set", layout.host_link, "up")
    in_namespace(layout, "ip", "link", "set", "lo", "up")
    in_namespace(layout, "ip", "address", "add", f"{layout.node_address}/30", "dev", layout.node_link)
    in_namespace(layout, "ip", "link", "set", layout.node_link, "up")
    in_namespace(layout, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    # Without a route the kernel refuses connections from the node to a ClusterIP before kube-proxy's rules see them.
    in_namespace(layout, "ip", "route", "add", layout.service_cidr, "dev", layout.node_link)
    run("ip", "route", "add", layout.pod_cidr, "via", layout.node_address, "dev", layout.host_link)


def remove_network(layout: Layout) -> None:
    """Remove the cable, with it the routes, and the namespace."""
    if has_link(layout.host_link):
        run("ip", "link", "delete", layout.host_link)
    if layout.namespace_file.exists():
        run("ip", "netns", "delete", layout.namespace)


def in_namespace(layout: Layout, *command: str | Path) -> str:
    """Run a command in the node's network and return its output."""
    return run("nsenter", f"--net={layout.namespace_file}", "--", *command)


def has_link(name: str) -> bool:
    """Whether the host has a network interface of this name."""
    return succeeds("ip", "link", "show", "dev", name)
