"""The stores of one operator: each step of a server's loop goes through them here, and knows none by its name."""

from collections.abc import Iterator, Sequence
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
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.failures import Failure
from tracking_operator.resources.server_model import ServerModel

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
        for store in self._all:
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

    def are_used_by(self, server: ServerModel) -> bool:
        """Whether the server has data in a store that the operator makes."""
        return any(store.is_used_by(server) for store in self._all)

    def are_found(self, context: ReconcileContext) -> bool:
        """Whether this reconcile has found all of the server's part of these stores as it should be."""
        return all(store.role.state_of(context) for store in self._used_by(context))

    async def measure(self, context: ReconcileContext) -> Measured:
        """How much the server has in them. Raises Failure."""
        measured = Measured()
        for store in self._used_by(context):
            measured = measured.and_also(await store.measure(context))
        return measured

    async def finalize(self, deletion: Deletion) -> ConditionResult | None:
        """Delete or retain what the server has in each; return what the first waits for that is not done.

        Artifacts go first: while they are being deleted, the database still says what they were.
        """
        for store in (*self._artifact_stores, *self._backend_stores):
            if unfinished := await store.finalize(deletion):
                return unfinished
        return None

    @property
    def _all(self) -> Sequence[ManagedStore[StoreState]]:
        return (*self._backend_stores, *self._artifact_stores)

    def _used_by(self, context: ReconcileContext) -> Iterator[ManagedStore[StoreState]]:
        return (store for store in self._all if store.is_used_by(context.plan.model))


async def _ensure(
    stores: Sequence[ManagedStore[State]], context: ReconcileContext
) -> StepResult[State | None]:
    for store in stores:
        if store.is_used_by(context.plan.model):
            return await store.ensure(context)
    return StepResult(None)
