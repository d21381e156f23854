"""The loop of the TrackingServerClient: give the namespace what is asked and granted, take it away where it is not, say how it is.

It has no finalizer. What a client that is gone had in its namespace goes with it, and its user is deleted by the server's own loop, so
that no server keeps a namespace from going.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import ConditionType, Reason, merge_conditions
from tracking_operator.api.tracking_server_client import TrackingServerClient, TrackingServerClientStatus
from tracking_operator.controllers.client.access import Access, ClientAccess, ClientMemory, MemoryOfServer
from tracking_operator.controllers.client.kubeflow import Kubeflow, integrated_result
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    result_from,
    summarise,
)
from tracking_operator.controllers.conditions.step_result import StepResult, stopped, stopped_unwatched
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLIENT
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.clients.users import ClientUsers
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.status import announce, report_unreadable, write_status
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.tracking_client import name_of_objects

TYPE: Final = ConditionType.CONNECTED
ENDS_ACCESS: Final = (Reason.NOT_GRANTED, Reason.NOT_OFFERED, Reason.LIMIT_EXCEEDED)
"""Reasons for which a namespace keeps nothing of what it had."""
SWEEP_GROWTH: Final = 64


class ClientReconciler:
    """Reconciles one client at a time."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        events: EventRecorder,
        users: ClientUsers,
        memory_of: MemoryOfServer,
        *,
        settings: ReconcileSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._access = ClientAccess(kube, cache, users, memory_of, watches_secrets=settings.watches_secrets)
        self._kubeflow = Kubeflow(kube, cache)
        self._memories: dict[tuple[str, str], ClientMemory] = {}
        self._sweep_at = SWEEP_GROWTH
        self._now = now

    async def reconcile(self, namespace: str, name: str, *, resync: bool) -> Outcome:
        """Reconcile one client. Raises ApiError."""
        live = self._cache.get(TRACKING_SERVER_CLIENT, namespace, name)
        if live is not None and self._cache.is_shortened(live):
            live = await self._kube.get(TRACKING_SERVER_CLIENT, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            self._evict(namespace, name)
            await self._kubeflow.tidy(namespace)
            return Outcome()
        try:
            client = TrackingServerClient.model_validate(live)
        except ValidationError as error:
            return await report_unreadable(
                self._kube, self._cache, live, error, events=self._events, now=self._now()
            )
        memory = self._memory(client)
        if resync:
            memory.invalidate()
        return await self._reconcile(live, client, memory)

    async def _reconcile(
        self, live: KubeObject, client: TrackingServerClient, memory: ClientMemory
    ) -> Outcome:
        report, before = Report(), client.status
        try:
            access = await self._access.ensure(client, memory)
        except Failure as failure:
            if failure.reason in ENDS_ACCESS:
                await self._access.withdraw(client, memory)
                await self._kubeflow.withdraw(client)
                report.add(result_from(failure, TYPE))  # what ends it is watched
                status = TrackingServerClientStatus()
            else:
                report.take(_stopped(failure))
                status = before
        else:
            report.add(_connected(client, access))
            report.take(await self._integrate(client, access, memory))
            status = _status_of(client, access)
        return await self._report(live, client, status, report)

    async def _report(
        self,
        live: KubeObject,
        client: TrackingServerClient,
        status: TrackingServerClientStatus,
        report: Report,
    ) -> Outcome:
        before, results = client.status.conditions, report.condition_results
        conditions = merge_conditions(
            before,
            summarise(results, results[0].message),
            observed_generation=client.metadata.generation,
            now=self._now(),
        )
        written = status.updated(observed_generation=client.metadata.generation, conditions=conditions)
        await write_status(self._kube, self._cache, live, written.as_kubernetes())
        announce(self._events, live, before, results, conditions[0])
        return report.outcome()

    async def _integrate(
        self, client: TrackingServerClient, access: Access, memory: ClientMemory
    ) -> StepResult[None]:
        """Tell Kubeflow, once for what there is to tell; no watch says whether that is still there."""
        wanted = client.spec.integrations.kubeflow, access.login
        if memory.integrated != wanted:
            try:
                await self._kubeflow.ensure(client, access.login)
            except Failure as failure:
                memory.integrated = None
                stop = stopped_unwatched(failure, ConditionType.INTEGRATED)
                return stop if isinstance(failure, Invalid) else stopped(failure, ConditionType.INTEGRATED)
            memory.integrated = wanted
        result = integrated_result(client)
        return StepResult(None, (result,) if result else ())

    def _memory(self, client: TrackingServerClient) -> ClientMemory:
        """The memory of this very client; that of an earlier one of its name is dropped."""
        metadata = client.metadata
        place = metadata.namespace, metadata.name
        known = self._memories.get(place)
        if known is not None and known.uid == metadata.uid:
            return known
        self._evict(*place)
        self._sweep()
        return self._memories.setdefault(place, ClientMemory(metadata.uid))

    def _evict(self, namespace: str, name: str) -> None:
        if known := self._memories.pop((namespace, name), None):
            known.evict()

    def _sweep(self) -> None:
        """Drop the memories of clients that went unseen; now and then, so that it costs nothing."""
        if len(self._memories) < self._sweep_at:
            return
        for place in [one for one in self._memories if self._cache.get(TRACKING_SERVER_CLIENT, *one) is None]:
            self._evict(*place)
        self._sweep_at = 2 * len(self._memories) + SWEEP_GROWTH


def _stopped(failure: Failure) -> StepResult[None]:
    """What stopped it; objects of somebody else's are not watched."""
    is_unwatched = failure.reason is Reason.CONFLICT
    return stopped_unwatched(failure, TYPE) if is_unwatched else stopped(failure, TYPE)


def _connected(client: TrackingServerClient, access: Access) -> ConditionResult:
    name, server = name_of_objects(client), client.spec.server_ref
    what = f"ConfigMap {name}" + (f" and Secret {name} have" if access.username else " has")
    message = f"{what} what pods need to use TrackingServer {server.name} in namespace {server.namespace}, by envFrom."
    return ConditionResult(TYPE, Verdict.OK, Reason.AS_EXPECTED, message)


def _status_of(client: TrackingServerClient, access: Access) -> TrackingServerClientStatus:
    name = name_of_objects(client)
    return TrackingServerClientStatus(
        config_map_name=name,
        secret_name=name if access.username else None,
        username=access.username,
    )
