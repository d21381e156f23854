"""The step that ends a server: its data as its policy says, its access in any case; then the resource may go."""

import logging
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.labels_and_annotations import FINALIZER
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.children.tools import Tools
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemories
from tracking_operator.controllers.server.deletion.finalize import Finalization
from tracking_operator.controllers.server.records import ServerRecords
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.reporting import Reporting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import describe

logger = logging.getLogger(__name__)

FINALIZE_RETRY_SECONDS: Final = 5.0


class DeletionStep:
    """Finalizes servers that are being deleted, or that are gone already, and drops what is remembered of them."""

    def __init__(
        self,
        cache: ObjectCache,
        memories: ServerMemories,
        finalization: Finalization,
        records: ServerRecords,
        reporting: Reporting,
        *,
        tools: Tools,
    ) -> None:
        self._cache = cache
        self._memories = memories
        self._finalization = finalization
        self._records = records
        self._reporting = reporting
        self._tools = tools

    async def finalize(self, context: ReconcileContext) -> Outcome:
        """Delete the data if that is wanted, then let the resource go.

        Somebody may have taken our finalizer off, and have put one of their own on: access ends all the same.
        """
        live, resource = context.live, context.resource
        is_held = FINALIZER in resource.metadata.finalizers
        if not is_held and self._cache.is_finalized(live):
            return Outcome()
        if unfinished := await self._finalization.finalize(live, _as_held(resource), context.memory):
            # Every volume that goes brings the server up again.
            report = Report(condition_results=[unfinished], requeue_after=FINALIZE_RETRY_SECONDS)
            report.look_again(unfinished.look_again_after)
            return await self._reporting.report_only(context, report)
        self._cache.note_finalized(live)
        if is_held:
            await self._records.set_finalizer(resource, present=False)
        self._memories.evict(resource.metadata.namespace, resource.metadata.name)
        logger.info("Let %s go.", describe(live))
        return Outcome()

    async def finalize_removed(self, namespace: str, name: str) -> Outcome:
        """Do what the finalizer was for, if a server has gone in spite of it or without it."""
        gone = self._cache.removed_before_finalized(TRACKING_SERVER, namespace, name)
        if gone is None:
            self._memories.evict(namespace, name)
            return await self.collect_tools(namespace)
        try:
            resource = _as_held(TrackingServer.model_validate(gone))
        except ValidationError as error:
            # The next look at its class takes away what lets it in.
            logger.error(
                "%s is gone, and cannot be read by this version of the operator: %s", describe(gone), error
            )
        else:
            memory = self._memories.of(resource.metadata)
            if unfinished := await self._finalization.finalize(gone, resource, memory):
                logger.warning("%s is gone, and its data not yet: %s", describe(gone), unfinished.message)
                return Outcome(failed=True, reason=unfinished.reason.value)
            logger.info("Saw to it that nothing lets anybody in after %s, which is gone.", describe(gone))
        self._memories.evict(namespace, name)
        self._cache.note_finalized_after_removal(gone)
        return await self.collect_tools(namespace)

    async def collect_tools(self, namespace: str) -> Outcome:
        """Remove what the pods of a namespace had in common, if nobody needs it any more."""
        collected = await self._tools.collect(namespace)
        for deleted in collected.deleted:
            logger.info("Deleted %s %s/%s because %s.", deleted.kind, namespace, deleted.name, deleted.why)
        for obj, error in collected.failures:
            logger.warning("Could not delete %s, trying again: %s", describe(obj), error)
        return Outcome(failed=bool(collected.failures))


def _as_held(resource: TrackingServer) -> TrackingServer:
    """The resource; one that our finalizer does not hold leaves its data behind, as nothing waits for that to be deleted."""
    if FINALIZER in resource.metadata.finalizers:
        return resource
    spec = resource.spec.model_copy(update={"deletion_policy": DeletionPolicy.RETAIN})
    return resource.model_copy(update={"spec": spec})
