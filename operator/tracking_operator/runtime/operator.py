"""The operator as a whole: what starts when, and how it stops."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NoReturn
from uuid import uuid4

from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.dispatch import Reconciler
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import (
    TRACKING_SERVER,
    TRACKING_SERVER_BACKUP,
    TRACKING_SERVER_CLASS,
    TRACKING_SERVER_CLIENT,
)
from tracking_operator.controllers.request import Request
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.watches import requests_for
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.cache_memory import MEBIBYTE, Shares
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import NoClusterError
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.lease import LeaderElection
from tracking_operator.kube.objects import NAMESPACE, uid_of
from tracking_operator.mlflow.client import MlflowApi
from tracking_operator.runtime import preflight
from tracking_operator.runtime.gateway_watch import GatewayWatch
from tracking_operator.runtime.health import HealthServer, Heartbeat
from tracking_operator.runtime.informers import Informers, InformersFailedError
from tracking_operator.runtime.lease_guard import LeaseGuard
from tracking_operator.runtime.logs import configure_logging
from tracking_operator.runtime.metrics import Metrics
from tracking_operator.runtime.refusals import Refusals
from tracking_operator.runtime.settings import OperatorSettings
from tracking_operator.runtime.watched_kinds import watched_kinds
from tracking_operator.runtime.work_queue import Lane, WorkQueue
from tracking_operator.runtime.worker import WorkerPool
from tracking_operator.shares import Shares as Places
from tracking_operator.stores.executor import StoreExecutor

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 8.0
"""How long keys in work may take to end on a shut-down."""
THREAD_SECONDS: Final = 6.0
"""How long threads may take after that. Together this is well below the pod's terminationGracePeriodSeconds."""
REQUESTS_AT_A_TIME: Final = 16
"""To the API server. Each connection takes 0.3 MiB, and more of them at a time make nothing faster."""
REQUESTS_OF_A_NAMESPACE: Final = 8
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


async def run(settings: OperatorSettings, *, version: str = "") -> int:
    """Run the operator until SIGTERM or SIGINT; return the process's exit code.

    ``version`` is the operator's own, for its metrics, its Lease and its Events. Where it cannot start, it says why in one log line and returns 1.
    """
    configure_logging(settings.log_level)
    metrics = Metrics(version=version, lease_name=settings.lease_name)
    try:
        requests = Places(REQUESTS_AT_A_TIME, REQUESTS_OF_A_NAMESPACE)
        async with await KubeClient.connect(observer=metrics.observe_call, shares=requests) as client:
            await preflight.check(
                client,
                watched_kinds(secrets=settings.watch_secrets),
                namespaces=settings.watch_namespaces,
                own_namespace=settings.namespace,
            )
            cluster_name = settings.cluster_name or await _uid_of_cluster(client)
            return await _Operator(settings, client, metrics, cluster_name, version).run()
    except (NoClusterError, PortError, preflight.PreflightError, InformersFailedError) as error:
        logger.error("%s", error)
    except ApiError as error:
        logger.error("The API server cannot be used: %s", error)
    return EXIT_FAILED


class _Operator:
    """One running operator: the parts, wired."""

    def __init__(
        self,
        settings: OperatorSettings,
        client: KubeClient,
        metrics: Metrics,
        cluster_name: str,
        version: str = "",
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._events = EventRecorder(client, version=version, on_dropped=metrics.count_dropped_event)
        self._refusals = Refusals(self._events)
        shares = Shares(most_bytes_in_all=settings.cache_mebibytes * MEBIBYTE)
        self._cache = ObjectCache(owner_label=SERVER_LABEL, shares=shares, on_refused=self._refusals.note)
        self._queue: WorkQueue[Request] = WorkQueue(
            workers=settings.workers,
            group=lambda key: key.namespace or None,
            lane=self._lane_of,
            on_added=lambda key: metrics.count_add(key.kind),
        )
        self._heartbeat = Heartbeat()
        self._informers = Informers(
            client,
            self._cache,
            self._queue,
            requests_for,
            namespaces=settings.watch_namespaces,
            watched=watched_kinds(secrets=settings.watch_secrets),
            on_seen=metrics.resources.note,
            on_gone=metrics.resources.note_gone,
        )
        reconcile_settings = ReconcileSettings(
            cluster_name=cluster_name,
            image_repository=settings.image_repository,
            namespace=settings.namespace,
            namespaces=settings.watch_namespaces,
            ip_families=settings.ip_families,
            has_built_in_class=settings.built_in_class,
            watches_secrets=settings.watch_secrets,
            timings=settings.timings,
        )
        self._stores = StoreExecutor()
        self._mlflow = MlflowApi(proxy=settings.service_proxy or None)
        gateway_api = GatewayApi()
        self._gateways = GatewayWatch(
            client,
            self._cache,
            self._queue,
            gateway_api,
            namespaces=settings.watch_namespaces,
            look_every=settings.resync,
            on_started=self._listen_for_signals,
        )
        self._workers = WorkerPool(
            self._queue,
            Reconciler(
                kube=client,
                cache=self._cache,
                events=self._events,
                settings=reconcile_settings,
                executor=self._stores,
                mlflow=self._mlflow,
                gateway_api=gateway_api,
                now=_now,
            ),
            metrics,
            size=settings.workers,
            resync_seconds=settings.resync,
            exists=self._exists,
        )
        self._own_client = client.alone()
        self._election = LeaderElection(
            self._own_client,
            settings.namespace,
            settings.lease_name,
            f"{socket.gethostname()}_{uuid4()}",
            on_started=self._become_active,
            on_lost=self._exit_at_once,
            version=version,
        )
        self._stop = asyncio.Event()

    async def run(self) -> int:
        async with self._own_client:
            return await self._run()

    async def _run(self) -> int:
        with contextlib.ExitStack() as servers:
            self._serve(servers)
            guard = LeaseGuard(lambda: self._election.runs_out_at, self._exit_at_once)
            guard.start()
            servers.callback(guard.stop)
            async with contextlib.AsyncExitStack() as background:
                for part in (self._heartbeat.run(), self._events.run()):
                    background.push_async_callback(_cancel, asyncio.create_task(part))
                await self._informers.start()
                self._listen_for_signals()
                informers = asyncio.create_task(self._informers.run(), name="informers")
                background.push_async_callback(_cancel, informers)
                return await self._work(informers)

    async def _work(self, informers: "asyncio.Task[None]") -> int:
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        synced = asyncio.create_task(self._informers.wait_until_synced(), name="synced")
        await _first_of(synced, stopped, informers)
        gateways = asyncio.create_task(self._gateways.run(), name="Gateway API")
        known = asyncio.create_task(self._gateways.wait_until_known(), name="Gateway API known")
        await _first_of(known, stopped, informers, gateways)
        election = asyncio.create_task(self._election.run(), name="leader election")
        try:
            await _first_of(stopped, informers, election, gateways)
        finally:
            await self._shut_down(election)
            for task in (stopped, synced, known, gateways):
                await _cancel(task)
        return EXIT_OK

    def _serve(self, servers: contextlib.ExitStack) -> None:
        self._metrics.watch_queue(self._kinds_that_wait, lambda: self._queue.in_work)
        self._metrics.watch_work(self._workers.in_work)
        self._metrics.watch_cache(lambda: len(self._cache))
        if port := self._settings.metrics_port:
            with _saying_which(port, "metrics"):
                servers.callback(self._metrics.serve(port))
        if port := self._settings.health_port:
            with _saying_which(port, "health"):
                health = HealthServer(
                    port,
                    alive={
                        "event loop": self._heartbeat.problem,
                        "watches": self._informers.traffic.problem,
                        "workers": self._workers.problem,
                    },
                    ready={"informers": self._not_ready},
                )
            health.start()
            servers.callback(health.stop)

    def _become_active(self) -> None:
        self._metrics.set_leader(is_leader=True)
        self._refusals.begin()
        self._workers.start()

    def _exit_at_once(self) -> NoReturn:
        """Another operator is at work, or will be: not even a clean-up may run, and no thread may go on."""
        logging.shutdown()
        os._exit(EXIT_FAILED)

    async def _shut_down(self, election: "asyncio.Task[None]") -> None:
        started = time.monotonic()
        await self._workers.stop(DRAIN_SECONDS)
        has_ended = await self._stores.stop(THREAD_SECONDS)
        await self._mlflow.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._events.drain()
        if not has_ended:
            # Who takes over may not meet a thread of ours: it dies now, and the Lease runs out by itself.
            logger.error("A store still does not answer: the Lease is not released, and runs out by itself.")
            self._exit_at_once()
        await _cancel(election)
        await self._election.release()
        self._metrics.set_leader(is_leader=False)
        logger.info("Stopped after %.1f s.", time.monotonic() - started)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _not_ready(self) -> str | None:
        return None if self._informers.is_synced else "The first lists are not complete."

    def _kinds_that_wait(self) -> list[str]:
        return [key.kind for key in self._queue.waiting()]

    def _lane_of(self, key: Request) -> Lane:
        if key.kind == TRACKING_SERVER_CLASS.kind:
            return Lane.CLASSES
        live = self._cache.get(_KINDS[key.kind], key.namespace, key.name)
        is_going = live is None or "deletionTimestamp" in live["metadata"]
        return Lane.DELETIONS if is_going else Lane.SERVERS

    def _exists(self, key: Request) -> bool:
        return self._cache.get(_KINDS[key.kind], key.namespace or None, key.name) is not None


_KINDS: Final = {
    kind.kind: kind
    for kind in (TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS, TRACKING_SERVER_CLIENT)
}


class PortError(Exception):
    """A port cannot be listened on; the message names it."""


@contextlib.contextmanager
def _saying_which(port: int, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PortError(
            f"Port {port} for {what} cannot be used ({error.strerror}): "
            f"set TRACKING_OPERATOR_{what.upper()}_PORT to a free one."
        ) from error


async def _uid_of_cluster(client: KubeClient) -> str:
    """Return what tells this cluster from all others: kube-system is never deleted and re-created."""
    namespace = await client.get(NAMESPACE, None, "kube-system")
    if namespace is None:
        raise preflight.PreflightError(
            "Namespace kube-system is not there to name the cluster by: set TRACKING_OPERATOR_CLUSTER_NAME."
        )
    return uid_of(namespace) or ""


async def _first_of(*tasks: "asyncio.Task[object]") -> None:
    """Wait until one of the tasks has ended, and raise what it raised."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()


async def _cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _now() -> datetime:
    return datetime.now(UTC)
