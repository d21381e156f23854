"""What a server leaves behind when it is deleted, in the cluster and outside: deleted or retained, as its policy says."""

from collections.abc import Sequence
from typing import Protocol

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import KubeObject
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.findings import Finding, Verdict
from tracking_operator.reconcile.plan import ReconcileSettings, make_plan
from tracking_operator.reconcile.surroundings import class_of, surroundings_of
from tracking_operator.reconcile.teardown import delete_data, deletion_policy
from tracking_operator.resources.server import ServerModel


class LeftStore(Protocol):
    """What a server has in one kind of store outside of the cluster."""

    async def leave(
        self,
        live: KubeObject,
        resource: TrackingServer,
        chosen: ChosenClass,
        policy: DeletionPolicy,
        server: ServerModel | None,
    ) -> Finding | None:
        """Drop or retain it; return what stands in the way of letting the server go."""


class Cleanup:
    """Does what a server's finalizer is for."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, settings: ReconcileSettings, stores: Sequence[LeftStore]
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._settings = settings
        self._stores = stores

    async def clean_up(self, live: KubeObject, resource: TrackingServer) -> Finding | None:
        """Delete or retain the data, as the policy says; return what that waits for."""
        children = self._cache.children(resource.metadata.namespace, resource.metadata.name)
        chosen = class_of(resource, self._cache)
        policy = deletion_policy(resource, chosen.spec)
        if policy is DeletionPolicy.DELETE and not await delete_data(self._kube, resource, children):
            return _volumes_go()
        server = self._model(resource)
        for store in self._stores:
            if unfinished := await store.leave(live, resource, chosen, policy, server):
                return unfinished
        return None

    def _model(self, resource: TrackingServer) -> ServerModel | None:
        """What the server's Jobs can be made from; None where its specification is refused."""
        try:
            return make_plan(resource, surroundings_of(resource, self._cache), self._settings).model
        except Failure:
            return None


def _volumes_go() -> Finding:
    message = "The server's pods and volumes are being deleted, as spec.deletionPolicy asks."
    return Finding(ConditionType.WORKLOAD_READY, Verdict.WORKING, Reason.DELETING, message)
