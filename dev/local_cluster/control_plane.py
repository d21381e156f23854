"""etcd, the API server with its audit log, the controller manager and the scheduler."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from dev.local_cluster import processes
from dev.local_cluster.binaries import Binaries
from dev.local_cluster.configuration import write_yaml
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import Layout
from dev.local_cluster.processes import Process
from dev.local_cluster.waiting import wait_until

ETCD = "http://127.0.0.1:2379"  # in the node's own network namespace: nobody else is there
SECONDS_TO_START = 180

# The programs' own brakes are meant for big clusters; here they would cost seconds at every start.
UNTHROTTLED = ("--kube-api-qps=1000", "--kube-api-burst=1000")

# Who did what to which resource, as metadata only: tests and measurements count API calls from it.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
        {"level": "Metadata"},
    ],
}


# Off by default in this version: tests have a policy of the cluster change what the operator writes.
FEATURES = {"MutatingAdmissionPolicy": True}
APIS = {"admissionregistration.k8s.io/v1beta1": True}


def start_api_server(layout: Layout, binaries: Binaries) -> None:
    """Start etcd and the API server, and return when it is ready."""
    etcd = processes.start(layout, "etcd", _etcd(layout, binaries))
    api_server = processes.start(layout, "kube-apiserver", _api_server(layout, binaries))
    _wait_for_api_server(layout, etcd, api_server)


def start_controllers(layout: Layout, binaries: Binaries) -> None:
    """Start the controller manager and the scheduler."""
    processes.start(layout, "kube-controller-manager", _controller_manager(layout, binaries))
    processes.start(layout, "kube-scheduler", _scheduler(layout, binaries))


def is_ready(layout: Layout) -> bool:
    """Whether the API server says that it is ready."""
    authority = layout.certificates / "ca.crt"
    if not authority.exists():
        return False
    try:
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(layout.certificates / "admin.crt", layout.certificates / "admin.key")
        # No proxy: the address is on this machine.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"{layout.server}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _wait_for_api_server(layout: Layout, *programs: Process) -> None:
    def ready() -> bool:
        for program in programs:
            if not program.is_running:
                raise ClusterError(f"{program.name} ended: {processes.last_lines(layout, program.name)}")
        return is_ready(layout)

    wait_until(
        ready,
        seconds=SECONDS_TO_START,
        otherwise=lambda: (
            f"The API server is not ready after {SECONDS_TO_START} s:"
            f" {processes.last_lines(layout, 'kube-apiserver')}"
        ),
    )


def _etcd(layout: Layout, binaries: Binaries) -> list[str | Path]:
    return [
        binaries.etcd,
        f"--name={layout.node_name}",
        f"--data-dir={layout.state / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # The data dies with the cluster: durability would only cost time.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(layout: Layout, binaries: Binaries) -> list[str | Path]:
    folder = layout.certificates
    policy = write_yaml(layout.configuration / "audit-policy.yaml", AUDIT_POLICY)
    return [
        binaries.program("kube-apiserver"),
        f"--etcd-servers={ETCD}",
        f"--advertise-address={layout.node_address}",
        f"--bind-address={layout.node_address}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={layout.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--feature-gates={_switched(FEATURES)}",
        f"--runtime-config={_switched(APIS)}",
        "--allow-privileged=true",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--tls-cert-file={folder / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={folder / 'kube-apiserver.key'}",
        f"--kubelet-certificate-authority={folder / 'ca.crt'}",
        f"--kubelet-client-certificate={folder / 'kube-apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={folder / 'kube-apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={folder / 'service-accounts.key'}",
        f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=10000",  # MiB: never rotated, so that a reader finds every call in one file
        # On stopping, do not wait for clients to notice.
        "--shutdown-delay-duration=0s",
    ]


def _switched(switches: Mapping[str, bool]) -> str:
    return ",".join(f"{name}={str(is_on).lower()}" for name, is_on in switches.items())


def _controller_manager(layout: Layout, binaries: Binaries) -> list[str | Path]:
    folder = layout.certificates
    kubeconfig = folder / "kube-controller-manager.kubeconfig"
    return [
        binaries.program("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials=true",
        f"--root-ca-file={folder / 'ca.crt'}",
        f"--service-account-private-key-file={folder / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={folder / 'ca.crt'}",
        f"--cluster-signing-key-file={folder / 'ca.key'}",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={layout.pod_cidr}",
        f"--service-cluster-ip-range={layout.service_cidr}",
        "--node-cidr-mask-size=24",
        "--leader-elect=false",
        *UNTHROTTLED,
    ]


def _scheduler(layout: Layout, binaries: Binaries) -> list[str | Path]:
    kubeconfig = layout.certificates / "kube-scheduler.kubeconfig"
    return [
        binaries.program("kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        *UNTHROTTLED,
    ]
