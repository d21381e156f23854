"""What a server leaves behind when it is deleted, in the cluster and outside: deleted or retained, as its policy says."""

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.context import ServerMemory
from tracking_operator.controllers.server.deletion.cluster_data import (
    delete_data,
    delete_keys,
    deletion_policy,
)
from tracking_operator.controllers.server.managed_stores.interface import Deletion
from tracking_operator.controllers.server.managed_stores.loop import ManagedStores
from tracking_operator.controllers.server.plan import ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import (
    class_of,
    classes_in,
    inputs_of,
    labels_of_namespace,
)
from tracking_operator.controllers.server.spec.permissions import CHECKS_AT_DELETION, objection_to_deletion
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.server_model import ServerModel


class Finalization:
    """Does what a server's finalizer is for."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        events: EventRecorder,
        settings: ReconcileSettings,
        stores: ManagedStores,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._settings = settings
        self._stores = stores

    async def finalize(
        self, live: KubeObject, resource: TrackingServer, memory: ServerMemory
    ) -> ConditionResult | None:
        """Delete or retain the data, as the policy says; return what that waits for."""
        children = self._cache.children(resource.metadata.namespace, resource.metadata.name)
        chosen = class_of(resource, self._cache)
        policy = self._policy(live, resource, chosen)
        if policy is DeletionPolicy.DELETE and not await delete_data(self._kube, resource, children):
            return _volumes_go()
        others = [ChosenClass(one.metadata.name, one.spec) for one in classes_in(self._cache)]
        deletion = Deletion(live, resource, memory, chosen, policy, self._model(resource), others)
        if unfinished := await self._stores.finalize(deletion):
            return unfinished
        if policy is DeletionPolicy.DELETE:
            await delete_keys(self._kube, resource, children)
        return None

    def _policy(self, live: KubeObject, resource: TrackingServer, chosen: ChosenClass) -> DeletionPolicy:
        """What is to happen to the data; it is kept where the class does not let it be deleted, and that is said."""
        labels = labels_of_namespace(resource.metadata.namespace, self._cache)
        if objection := objection_to_deletion(resource, chosen, labels):
            message = (
                f"The server's data is kept, and not deleted: {objection} Ask the platform team to delete it."
            )
            self._events.record(live, "Warning", Reason.NOT_PERMITTED.value, message)
            return DeletionPolicy.RETAIN
        return deletion_policy(resource, chosen.spec)

    def _model(self, resource: TrackingServer) -> ServerModel | None:
        """What the server's Jobs can be made from; None where its specification is refused."""
        try:
            inputs = inputs_of(resource, self._cache)
            return make_plan(resource, inputs, self._settings, CHECKS_AT_DELETION).model
        except Failure:
            return None


def _volumes_go() -> ConditionResult:
    message = "The server's pods and volumes are being deleted, as spec.deletionPolicy asks."
    return ConditionResult(ConditionType.WORKLOAD_READY, Verdict.WORKING, Reason.DELETING, message)
