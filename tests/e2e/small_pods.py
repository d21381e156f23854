"""Small pods that try to connect to something, and say what came of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dev.development_cluster import DevelopmentCluster
from tests.operator_fixtures import Team
from tracking_operator.kube.objects import POD, KubeObject, KubeObjects

IMAGE = "tracking-operator/busybox:1"
USER = 10001
SECONDS_TO_START = 60.0
SECONDS_TO_CONNECT = 2
LISTEN = "mkdir /tmp/www; for port in {ports}; do httpd -p $port -h /tmp/www; done; sleep 100000"

Target = tuple[str, int]
"""A host or address, and a port."""


@dataclass(frozen=True)
class SmallPod:
    """A pod that sleeps until it is told to connect to something; it may listen itself."""

    cluster: DevelopmentCluster
    team: Team
    name: str
    address: str = ""
    """Its own; empty before it runs."""

    def running(self) -> "SmallPod":
        """Wait until it runs."""
        live = self.team.wait_until_so(POD, self.name, _is_ready, f"pod {self.name} runs", SECONDS_TO_START)
        return replace(self, address=live["status"]["podIP"])

    def reaches(self, targets: Iterable[Target]) -> set[Target]:
        """Those of the targets that accept a connection."""
        wanted = list(targets)
        tries = [
            f"nc -w {SECONDS_TO_CONNECT} {host} {port} </dev/null >/dev/null 2>&1" for host, port in wanted
        ]
        script = "; ".join(f"{one} && echo {number}" for number, one in enumerate(tries))
        words = ("exec", self.name, "--namespace", self.team.namespace, "--", "sh", "-c", f"{script}; true")
        return {wanted[int(line)] for line in self.cluster.kubectl(*words).split()}


def start_pod(
    cluster: DevelopmentCluster,
    team: Team,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
) -> SmallPod:
    """Start a pod that the ``restricted`` standard admits, with HTTP servers on ports above 1024."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", LISTEN.format(ports=" ".join(map(str, ports)))],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}}
    return _started(cluster, team, name, labels, {"securityContext": security, "containers": [container]})


def start_pod_with_metadata_address(
    cluster: DevelopmentCluster, team: Team, name: str, address: str, ports: Iterable[int]
) -> SmallPod:
    """Start a pod that stands for a cloud's metadata service: it gives its node a link-local address and listens there."""
    busybox = "/bin/busybox"
    remove = f"{busybox} ip address del {address}/32 dev lo"
    listen = "; ".join(f"httpd -p {address}:{port} -h /tmp" for port in ports)
    script = f"trap '{remove}; exit' TERM; {busybox} ip address add {address}/32 dev lo; {listen}; sleep 100000 & wait"
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
    }
    return _started(cluster, team, name, None, {"hostNetwork": True, "containers": [container]})


def _started(
    cluster: DevelopmentCluster, team: Team, name: str, labels: Mapping[str, str] | None, spec: KubeObject
) -> SmallPod:
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": team.namespace, "labels": dict(labels or {})},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 5,
                **spec,
            },
        }
    )
    return SmallPod(cluster, team, name)


def _is_ready(pod: KubeObject) -> bool:
    conditions: KubeObjects = pod["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
