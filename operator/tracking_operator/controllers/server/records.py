"""What is written into a server's own resource before its objects: where it is, what ends with it, what access has ended."""

from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import FINALIZER, RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.deletion.cluster_data import needs_finalizer
from tracking_operator.controllers.server.revocation import (
    RevocationPart,
    is_due,
    news,
    revoked_parts,
    with_done,
)
from tracking_operator.controllers.server.status import write_status
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.finalizers import Held, set_finalizer
from tracking_operator.kube.json_patch import JsonPatchOperation, pointer_token
from tracking_operator.kube.objects import DEPLOYMENT, KubeObject


class ServerRecords:
    """Writes down what must not be lost, and only what differs. Raises ApiError."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, events: EventRecorder) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events

    async def place(self, context: ReconcileContext) -> None:
        """Write down where everything is, and that there is something to clean up, before anything is created."""
        resource, plan = context.resource, context.plan
        # By meaning: what is only written in other words could be somebody's correction that a write of ours would undo.
        # Which namespaces are meant is decided before any of them is let in.
        is_recorded = resource.status.granted_namespaces == plan.granted_namespaces
        if resource.status.placement != plan.placement or not is_recorded:
            status = resource.status.updated(
                placement=plan.placement, granted_namespaces=plan.granted_namespaces
            ).as_kubernetes()
            context.live = await write_status(self._kube, self._cache, context.live, status)
        if RESOLVED_ANNOTATION in resource.metadata.annotations:
            context.live = await self._drop_former_record(resource)
        wants_finalizer = needs_finalizer(resource, plan.model, plan.chosen.spec)
        if wants_finalizer != (FINALIZER in resource.metadata.finalizers):
            context.live = await self.set_finalizer(resource, present=wants_finalizer)
        if plan.news:
            self._events.record(context.live, "Normal", Reason.ADDRESS_CHANGING.value, plan.news)

    async def note_revoked_stores(self, context: ReconcileContext) -> None:
        """Write down what access has ended before pods are made, so that nothing new is taken for old and ended again."""
        done = revoked_parts(
            context.resource,
            context.plan.model,
            context.backend_state,
            context.artifact_state,
            context.passwords,
        )
        await self._note_revoked(context, *done)

    async def note_revoked_login(self, context: ReconcileContext) -> None:
        """Write down that earlier passwords of MLflow let nobody in any more, once that is so."""
        if self._is_login_revoked(context):
            await self._note_revoked(context, RevocationPart.LOGIN)

    async def set_finalizer(self, resource: TrackingServer, *, present: bool) -> KubeObject:
        """Add or remove our finalizer, and nothing else. Raises ApiError."""
        metadata = resource.metadata
        held = Held(TRACKING_SERVER, metadata.namespace, metadata.name, metadata.uid, metadata.finalizers)
        return await set_finalizer(self._kube, self._cache, held, FINALIZER, present=present)

    async def _note_revoked(self, context: ReconcileContext, *parts: RevocationPart) -> None:
        after = with_done(context.resource, *parts)
        done = after.status.revocation
        if done and (said := news(context.resource, after)):
            # Onto what is recorded by now, which may be more than there was at the beginning: the placement of a new server.
            status = (context.live.get("status") or {}) | {"revocation": done.as_kubernetes()}
            context.live = await write_status(self._kube, self._cache, context.live, status)
            reason, message = said
            self._events.record(context.live, "Normal", reason.value, message)
        context.resource = after

    def _is_login_revoked(self, context: ReconcileContext) -> bool:
        """Whether MLflow knows other passwords only, and no pod is left that signs with the earlier key."""
        resource, server = context.resource, context.model
        if is_due(resource, RevocationPart.PODS) or not is_due(resource, RevocationPart.LOGIN):
            return False
        if server.login is None:
            return True
        has_new_users = context.memory.login.has_revoked(resource.asked_revocation)
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        return has_new_users and deployment is not None and is_rolled_out(deployment, server.replicas)

    async def _drop_former_record(self, resource: TrackingServer) -> KubeObject:
        """Remove the annotation in which earlier operators kept the placement; nobody reads it any more."""
        path = f"/metadata/annotations/{pointer_token(RESOLVED_ANNOTATION)}"
        return await self._patch(resource, {"op": "remove", "path": path})

    async def _patch(self, resource: TrackingServer, *operations: JsonPatchOperation) -> KubeObject:
        """Change this very server, and no successor of the same name."""
        metadata = resource.metadata
        is_itself: JsonPatchOperation = {"op": "test", "path": "/metadata/uid", "value": metadata.uid}
        answer = await self._kube.json_patch(
            TRACKING_SERVER, metadata.namespace, metadata.name, [is_itself, *operations]
        )
        self._cache.upsert(answer)
        return answer
