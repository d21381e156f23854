"""The operator as it is deployed: its pods, their processes on this machine, and what those occupy."""

import asyncio
import json
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev.development_cluster import DevelopmentCluster
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import LEASE, POD, KubeObject, name_of

NAMESPACE: Final = "tracking-operator-system"
NAME: Final = "tracking-operator"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"
REPLICAS: Final = 2
READY_SECONDS: Final = 120.0
IDLE_SECONDS: Final = 600.0

_KIBIBYTES = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


class OperatorError(Exception):
    """The operator is not as the measurement needs it; the text says what is wrong."""


@dataclass(frozen=True)
class OperatorProcess:
    """The process of one operator pod."""

    pod: str
    pid: int
    is_active: bool

    @property
    def memory(self) -> "Memory":
        """What the process occupies now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        shares = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return memory_in(status, shares)


@dataclass(frozen=True)
class Memory:
    """What a process occupies, in KiB."""

    resident: int
    """All pages that are in memory, shared ones too (VmRSS)."""
    proportional: int
    """Shared pages divided by the number of processes that share them (PSS)."""
    peak: int
    """The most that was ever resident (VmHWM)."""


def memory_in(status: str, smaps_rollup: str) -> Memory:
    """Read ``/proc/PID/status`` and ``/proc/PID/smaps_rollup`` (man 5 proc)."""
    of_process, of_maps = (dict(_KIBIBYTES.findall(text)) for text in (status, smaps_rollup))
    return Memory(int(of_process["VmRSS"]), int(of_maps["Pss"]), int(of_process["VmHWM"]))


class OperatorPods:
    """Finds the operator's pods, and changes them."""

    def __init__(self, cluster: DevelopmentCluster, kube: KubeClient) -> None:
        self._cluster = cluster
        self._kube = kube

    async def processes(self) -> list[OperatorProcess]:
        """The processes of all pods, the active one first. Raises OperatorError: there are not two."""
        pods = await self.wait_until_ready()
        holder = await self.holder()
        found = [_process(pod, holder) for pod in pods]
        return sorted(found, key=lambda process: not process.is_active)

    async def active_pod(self) -> str:
        """The name of the pod that holds the Lease. Raises OperatorError: none does."""
        for process in await self.processes():
            if process.is_active:
                return process.pod
        raise OperatorError("None of the operator's pods holds the Lease.")

    async def holder(self) -> str:
        """The identity in the Lease: the pod's name, an underscore, and a name of the process."""
        lease = await self._kube.get(LEASE, NAMESPACE, NAME)
        return str((lease or {}).get("spec", {}).get("holderIdentity") or "")

    async def wait_until_ready(self) -> list[KubeObject]:
        """Wait until exactly the wanted pods are there, all ready, and one of them holds the Lease."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    pods = await self._kube.list(POD, NAMESPACE, f"app.kubernetes.io/name={NAME}")
                    names = {name_of(pod) for pod in pods}
                    is_led = (await self.holder()).partition("_")[0] in names
                    if len(pods) == REPLICAS and is_led and all(map(_is_ready, pods)):
                        return pods
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise OperatorError(
                f"The operator's {REPLICAS} pods were not ready within {READY_SECONDS:g} s: "
                f"look at `kubectl get pods --namespace {NAMESPACE}`."
            ) from error

    async def reconfigure(self, **settings: str | None) -> None:
        """Set settings (``resync="2"``; None: as before) and wait until both pods were replaced."""
        words = [
            f"TRACKING_OPERATOR_{name.upper()}" + ("-" if value is None else f"={value}")
            for name, value in settings.items()
        ]
        await self._kubectl("set", "env", f"deployment/{NAME}", *words)
        await self._kubectl("rollout", "status", f"deployment/{NAME}", f"--timeout={READY_SECONDS:g}s")
        await self.wait_until_ready()

    async def stop(self, pod: str) -> None:
        """Ask a pod to end, as every roll-out and every drained node does."""
        await self._kube.delete(POD, NAMESPACE, pod)

    async def reconciles(self) -> int:
        """How often the active operator has looked at a resource, by its own metrics."""
        pod = await self.active_pod()
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics"
        return reconciles_in(await self._kubectl("get", "--raw", path))

    async def until_idle(self) -> None:
        """Wait until the active operator has nothing to do. Raises OperatorError: it goes on and on."""
        await self.until_looked_at(0)

    async def until_looked_at(self, servers: int, *, other_than: Collection[str] = ()) -> None:
        """Wait until the active operator, in another pod than these, has looked at so many servers, and has nothing to do.

        Raises OperatorError: it has not within ten minutes.
        """
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                while True:
                    pod = (await self.holder()).partition("_")[0]
                    if pod and pod not in other_than and has_looked_at(await self._metrics(pod), servers):
                        return
                    await asyncio.sleep(0.25)
        except TimeoutError as error:
            raise OperatorError(
                f"The operator has not looked at {servers} servers, or has more to do, after {IDLE_SECONDS:g} s."
            ) from error

    async def _metrics(self, pod: str) -> str:
        """The metrics of a pod; empty while it does not answer."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics"
        try:
            return await self._kubectl("get", "--raw", path)
        except subprocess.CalledProcessError:
            return ""

    async def restarts(self) -> int:
        """How often containers of the operator's pods were started again."""
        pods = await self._kube.list(POD, NAMESPACE, f"app.kubernetes.io/name={NAME}")
        return sum(
            int(container["restartCount"])
            for pod in pods
            for container in pod["status"].get("containerStatuses") or ()
        )

    async def image(self) -> str:
        """The image that the pods run."""
        found = json.loads(await self._kubectl("get", f"deployment/{NAME}", "--output=json"))
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    async def _kubectl(self, *words: str) -> str:
        return await asyncio.to_thread(self._cluster.kubectl, *words, "--namespace", NAMESPACE)


def reconciles_in(metrics: str) -> int:
    """Add up the reconciles in the operator's metrics, in Prometheus' text format."""
    counts = re.findall(
        r"^tracking_operator_reconcile_seconds_count\{[^}]*\} ([\d.e+]+)$", metrics, re.MULTILINE
    )
    return round(sum(map(float, counts)))


def has_looked_at(metrics: str, servers: int) -> bool:
    """Whether an operator has looked at so many resources, and no key waits or is worked on."""
    idle = re.findall(r"^tracking_operator_(?:queue_depth|keys_in_work) 0.0$", metrics, re.MULTILINE)
    return len(idle) == 2 and reconciles_in(metrics) >= servers


def _is_ready(pod: KubeObject) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return not pod["metadata"].get("deletionTimestamp") and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def _process(pod: KubeObject, holder: str) -> OperatorProcess:
    container = str(pod["status"]["containerStatuses"][0]["containerID"]).rpartition("/")[2]
    return OperatorProcess(
        name_of(pod), _pid_in(container, name_of(pod)), holder.startswith(f"{name_of(pod)}_")
    )


def _pid_in(container: str, pod: str) -> int:
    """The first process of a container: nodes of development clusters share this machine's kernel."""
    for cgroup in sorted(Path("/proc").glob("[0-9]*/cgroup"), key=lambda path: int(path.parent.name)):
        try:
            if container in cgroup.read_text():
                return int(cgroup.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    raise OperatorError(f"No process of pod {pod} is on this machine: its memory cannot be read.")
