"""What every measurement works with: the cluster, the operator in it, and the eyes and hands to measure with."""

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.calls import OperatorCalls
from bench.operator_pods import USER, OperatorPods
from bench.samples import Samples
from bench.servers import CHILD_KINDS
from bench.stranger import Stranger
from bench.watching import Watcher, watching
from dev.audit import AuditLog
from dev.classes import generous
from dev.development_cluster import DevelopmentCluster
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import open_session
from tracking_operator.kube.objects import POD, Kind, KubeObject

MEASURING_NICENESS: Final = -10
WATCHED: Final[tuple[Kind, ...]] = (TRACKING_SERVER, *CHILD_KINDS, POD)


@dataclass(frozen=True)
class Floor:
    """What the API server itself takes, measured in the same run."""

    apply: Samples
    """One server-side apply of a new ConfigMap, one after the other."""
    applies_per_second: dict[int, float]
    """By concurrency."""
    all_objects: Samples
    """All objects of one tracking server, applied side by side by this client."""


@dataclass
class Stage:
    """A running cluster with the operator, and how often to repeat."""

    cluster: DevelopmentCluster
    kube: KubeClient
    stranger: Stranger
    watcher: Watcher
    calls: OperatorCalls
    operator: OperatorPods
    repeat: int
    run: str
    """Part of every namespace's name: a kept cluster has those of earlier runs."""

    async def offer(self, what: str, spec: KubeObject) -> str:
        """Make a class, which permits what it does not forbid; return its name."""
        name = f"bench-{what}-{self.run}"
        kind = TRACKING_SERVER_CLASS.kind
        await self.kube.apply(
            {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": generous(spec)}
        )
        return name

    async def remove_servers(self, namespace: str, names: Sequence[str], *, patience: float) -> None:
        """Delete servers, and return when they are gone; ``patience`` is in seconds."""
        since = self.watcher.mark()
        for name in names:
            await self.kube.delete(TRACKING_SERVER, namespace, name)
        for name in names:
            await self.watcher.first(
                lambda sighting, name=name: (  # type: ignore[misc]
                    sighting.change == "DELETED" and sighting.place == (TRACKING_SERVER, namespace, name)
                ),
                f"server {name} in namespace {namespace} is gone",
                since=since,
                patience=patience,
            )

    async def make_namespaces(self, prefix: str, count: int) -> Sequence[str]:
        """Make empty namespaces, and return when their controllers are done with them."""
        names = [f"{prefix}-{self.run}-{number:02}" for number in range(count)]
        since = self.watcher.mark()
        for name in names:
            await self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in names:
            await self.watcher.first(
                lambda sighting, name=name: (  # type: ignore[misc]
                    sighting.obj["metadata"]["name"] == "default"
                    and sighting.obj["metadata"].get("namespace") == name
                ),
                f"namespace {name} has its ServiceAccount",
                since=since,
            )
        await self.calls.settled()
        return names


@contextlib.asynccontextmanager
async def stage(cluster: DevelopmentCluster, repeat: int) -> AsyncIterator[Stage]:
    """Connect to a cluster in which the operator runs."""
    _come_first()
    async with (
        await KubeClient.connect(cluster.kubeconfig_path) as kube,
        open_session(kube.configuration) as session,
        watching(kube, WATCHED) as watcher,
    ):
        yield Stage(
            cluster=cluster,
            kube=kube,
            stranger=Stranger(kube, session),
            watcher=watcher,
            calls=OperatorCalls(AuditLog(cluster.audit_log), USER),
            operator=OperatorPods(cluster, kube),
            repeat=repeat,
            run=secrets.token_hex(2),
        )


def _come_first() -> None:
    """Have this process read the clock when an event arrives, not when a busy machine gets round to it."""
    with contextlib.suppress(PermissionError):
        os.nice(MEASURING_NICENESS)
