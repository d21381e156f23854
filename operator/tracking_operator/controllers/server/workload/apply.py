"""The step that makes a server's objects what they should be, as far as its gates let them through."""

import logging

from tracking_operator.api.conditions import ConditionType
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server.children.ownership import owner_check, prunable
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import Tools, failures_of_tools
from tracking_operator.controllers.server.children.volumes import keep_existing_claims
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.workload.gates import Gates
from tracking_operator.kube.apply import apply_all, prune
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import failure_from
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    HTTP_ROUTE,
    PERSISTENT_VOLUME_CLAIM,
    KubeObject,
    KubeObjects,
    describe,
    kind_of,
)
from tracking_operator.resources import build_objects
from tracking_operator.resources.pod.tools import needs_archive
from tracking_operator.resources.server_model import ServerModel

logger = logging.getLogger(__name__)


class ApplyStep:
    """Writes the objects of servers that differ from what they should be, and deletes those that should not be."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        networks: Networks,
        tools: Tools,
        gateway_api: GatewayApi,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._networks = networks
        self._tools = tools
        self._gateway_api = gateway_api

    async def apply(self, context: ReconcileContext) -> StepResult[None]:
        """Make the live objects what they should be; whatever cannot be is a condition result."""
        if not context.may_apply:
            return StepResult(None)
        server, report = context.model, Report()
        desired = keep_existing_claims(
            build_objects(server),
            lambda name: self._claim(server, name),
            of_no_size=[volume.claim for volume in server.volumes if not volume.size_is_asked],
        )
        wanted = await self._let_through(context, desired)
        await self._write(server, wanted, report, asks_again=context.is_resync)
        await self._prune(server, desired, report)
        return report.as_result(None)

    async def _let_through(self, context: ReconcileContext, desired: KubeObjects) -> KubeObjects:
        """What may be written now, and what the gates want beside it."""
        server = context.model
        gates = Gates(context.gate, context.artifact_state, context.artifact_check, context.passwords)
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        changeable = [
            obj
            for obj in desired
            if self._is_known_kind(obj) and not self._networks.leaves_alone(obj, server)
        ]
        now = [
            await self._tools.keep(obj, deployment, server) if kind_of(obj) == DEPLOYMENT else obj
            for obj in changeable
            if gates.let_through(obj, server, deployment)
        ]
        return [*now, *gates.objects(server)]

    async def _write(
        self, server: ServerModel, wanted: KubeObjects, report: Report, *, asks_again: bool
    ) -> None:
        tools = await self._tools.ensure(server.namespace, [*wanted, *self._children(server)])
        if failures := failures_of_tools(tools):
            report.add_failures_of_tools(failures)
            wanted = [obj for obj in wanted if not needs_archive(obj)]
        applied = await apply_all(
            self._kube, self._cache, wanted, owner=owner_check(server), asks_again=asks_again
        )
        for written in applied.written:
            logger.info("Wrote %s %s because %s.", written.kind, written.name, written.why)
        report.add_applied(applied, server)

    async def _prune(self, server: ServerModel, desired: KubeObjects, report: Report) -> None:
        own = self._cache.controlled_children(server.namespace, server.name, server.uid)
        children = [one for one in prunable(own, server) if self._tools.may_go(one, server)]
        pruned = await prune(self._kube, self._cache, children, desired)
        collected = await self._tools.collect(server.namespace)
        for deleted in (*pruned.deleted, *collected.deleted):
            logger.info("Deleted %s %s because %s.", deleted.kind, deleted.name, deleted.why)
        for obj, error in (*pruned.failures, *collected.failures):
            report.add_failure(failure_from(error, f"delete {describe(obj)}"), ConditionType.WORKLOAD_READY)

    def _is_known_kind(self, obj: KubeObject) -> bool:
        return self._gateway_api.is_served or kind_of(obj) != HTTP_ROUTE

    def _children(self, server: ServerModel) -> KubeObjects:
        return telling_children(server, self._cache)

    def _claim(self, server: ServerModel, name: str) -> KubeObject | None:
        return self._cache.get(PERSISTENT_VOLUME_CLAIM, server.namespace, name)
