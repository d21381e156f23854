"""The stores of one operator: each step of a server's loop goes through them here, and knows none by its name."""

from collections.abc import Sequence
from typing import TypeVar

from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.managed_stores.interface import Deletion, ManagedStore
from tracking_operator.controllers.server.managed_stores.states import (
    ArtifactState,
    BackendState,
    StoreState,
)
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.spec.placement_from_marks import Found
from tracking_operator.failures import Failure

State = TypeVar("State", bound=StoreState)


class ManagedStores:
    """All kinds of store that the operator makes."""

    def __init__(
        self,
        backend_stores: Sequence[ManagedStore[BackendState]],
        artifact_stores: Sequence[ManagedStore[ArtifactState]],
    ) -> None:
        self._backend_stores = backend_stores
        self._artifact_stores = artifact_stores

    async def find(self, plan: Plan, memory: ServerMemory) -> StepResult[Found | None]:
        """Where the class's stores say that the data of a server is which has no placement; None where they do not.

        A new server is looked for, too, once: nobody can tell it from one whose status was lost.
        """
        names: dict[BackendStoreKind | ArtifactStoreKind, str | None] = {}
        for store in (*self._backend_stores, *self._artifact_stores):
            try:
                names[store.kind] = await store.find(plan, memory)
            except Failure as failure:
                return stopped_unwatched(failure, store.role.condition)
        return StepResult(Found(names))

    async def ensure_backend_store(self, context: ReconcileContext) -> StepResult[BackendState | None]:
        """Make the server's backend store as it should be; None if it is not ours to make, or cannot be asked."""
        return await _ensure(self._backend_stores, context)

    async def ensure_artifact_store(self, context: ReconcileContext) -> StepResult[ArtifactState | None]:
        """Make the server's artifact store as it should be; None if it is not ours to make, or cannot be asked."""
        return await _ensure(self._artifact_stores, context)

    async def finalize(self, deletion: Deletion) -> ConditionResult | None:
        """Delete or retain what the server has in each; return what the first waits for that is not done.

        Artifacts go first: while they are being deleted, the database still says what they were.
        """
        for store in (*self._artifact_stores, *self._backend_stores):
            if unfinished := await store.finalize(deletion):
                return unfinished
        return None


async def _ensure(
    stores: Sequence[ManagedStore[State]], context: ReconcileContext
) -> StepResult[State | None]:
    for store in stores:
        if store.is_used_by(context.plan.model):
            return await store.ensure(context)
    return StepResult(None)
