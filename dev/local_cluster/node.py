"""The node: containerd, the kubelet, kube-proxy for Services and kube-router for NetworkPolicies."""

import json
import sys
from pathlib import Path

from dev.local_cluster import processes
from dev.local_cluster.binaries import Binaries
from dev.local_cluster.commands import plain_environment, succeeds
from dev.local_cluster.configuration import write_yaml
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import Layout
from dev.local_cluster.small_images import PAUSE_IMAGE
from dev.local_cluster.waiting import wait_until

ROOT = Path(__file__).parents[2]
CNI_PLUGINS = Path("/usr/lib/cni")
KUBE_ROUTER = "kube-router"
MOST_PODS = 200
SECONDS_TO_START = 180


def start_containerd(layout: Layout) -> None:
    """Start containerd, and return when it answers."""
    for folder in (layout.containerd, layout.containerd_run, layout.pod_logs, layout.volumes):
        folder.mkdir(parents=True, exist_ok=True)
    _write_cni_configuration(layout)
    _refuse_all_registries(layout)
    configuration = layout.configuration / "containerd.toml"
    configuration.write_text(_containerd_configuration(layout))
    containerd = processes.start(layout, "containerd", ["containerd", "--config", configuration])

    def answers() -> bool:
        if not containerd.is_running:
            raise ClusterError(f"containerd ended: {processes.last_lines(layout, 'containerd')}")
        address = f"--address={layout.containerd_socket}"
        return layout.containerd_socket.exists() and succeeds(
            "ctr", address, "version", env=plain_environment()
        )

    wait_until(
        answers,
        seconds=SECONDS_TO_START,
        otherwise=lambda: f"containerd does not answer: {processes.last_lines(layout, 'containerd')}",
    )


def start_kubelet(layout: Layout, binaries: Binaries) -> None:
    """Start the kubelet; it registers the node by itself."""
    layout.kubelet.mkdir(parents=True, exist_ok=True)
    nowhere = layout.configuration / "resolv.conf"
    nowhere.write_text("")
    configuration = write_yaml(layout.configuration / "kubelet.yaml", _kubelet_configuration(layout, nowhere))
    processes.start(
        layout,
        "kubelet",
        [
            binaries.program("kubelet"),
            f"--config={configuration}",
            f"--kubeconfig={layout.certificates / 'kubelet.kubeconfig'}",
            f"--root-dir={layout.kubelet}",
            f"--hostname-override={layout.node_name}",
            f"--node-ip={layout.node_address}",
        ],
    )


def start_proxies(layout: Layout, binaries: Binaries) -> None:
    """Start kube-proxy and kube-router; they need the node to be registered."""
    configuration = write_yaml(layout.configuration / "kube-proxy.yaml", _proxy_configuration(layout))
    processes.start(layout, "kube-proxy", [binaries.program("kube-proxy"), f"--config={configuration}"])
    processes.start(
        layout,
        KUBE_ROUTER,
        [
            binaries.kube_router,
            f"--kubeconfig={layout.certificates / 'kube-router.kubeconfig'}",
            f"--hostname-override={layout.node_name}",
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            f"--service-cluster-ip-range={layout.service_cidr}",
        ],
        NODE_NAME=layout.node_name,
    )


def start_provisioner(layout: Layout) -> None:
    """Start what makes the volumes of the default StorageClass."""
    processes.start(
        layout,
        "provisioner",
        [
            *(sys.executable, "-m", "dev.local_cluster.provisioner"),
            f"--kubeconfig={layout.admin_kubeconfig}",
            f"--folder={layout.volumes}",
        ],
        PYTHONPATH=f"{ROOT}:{ROOT / 'operator'}",
    )


def _containerd_configuration(layout: Layout) -> str:
    return f"""\
version = 2
root = "{layout.containerd}"
state = "{layout.containerd_run}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{layout.run / "runc"}"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{layout.configuration / "registries"}"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{layout.configuration / "cni"}"
"""


def _refuse_all_registries(layout: Layout) -> None:
    """Send every pull to a closed port of the node: a missing image fails at once, and nothing leaves the machine."""
    folder = layout.configuration / "registries" / "_default"
    folder.mkdir(parents=True, exist_ok=True)
    closed = "http://127.0.0.1:1"
    (folder / "hosts.toml").write_text(
        f'server = "{closed}"\n\n[host."{closed}"]\n  capabilities = ["pull", "resolve"]\n'
    )


def _write_cni_configuration(layout: Layout) -> None:
    """A routed cable per pod: no bridge, so every packet passes the node's rules for Services and policies."""
    addresses = {
        "type": "host-local",
        "dataDir": str(layout.run / "addresses"),
        "ranges": [[{"subnet": layout.pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    network = {
        "cniVersion": "0.4.0",
        "name": layout.pod_network,
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    folder = layout.configuration / "cni"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "10-pods.conflist").write_text(json.dumps(network, indent=2))


def _kubelet_configuration(layout: Layout, resolv_conf: Path) -> dict[str, object]:
    folder = layout.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(folder / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(folder / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "imageServiceEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "failSwapOn": False,
        "clusterDNS": [layout.dns_address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolv_conf),
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(layout.kubelet / "volume-plugins"),
        "maxPods": MOST_PODS,
        "syncFrequency": "5s",
        # The machine's disk is the developer's business: pods are not evicted before it is really full.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
    }


def _proxy_configuration(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": layout.node_name,
        "clusterCIDR": layout.pod_cidr,
        "clientConnection": {"kubeconfig": str(layout.certificates / "kube-proxy.kubeconfig")},
        "conntrack": {"maxPerCore": 0, "min": 0},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
