"""What all stores have in common that the operator makes for a server on what its class offers: find, ensure, finalize.

A kind of store says where its data is, which offer leads there, and what is done in the store itself; when that is done,
and what becomes of it where the store does not answer, is the same for all.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import FORCE_ORPHAN_ANNOTATION
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClassSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.managed_stores.interface import Deletion, ManagedStore
from tracking_operator.controllers.server.managed_stores.states import StoreState
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.controllers.server.spec.placement_from_marks import the_only
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.store_of_class import StoreOfClass
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.events import EventRecorder
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.interface import Store
from tracking_operator.stores.ownership_mark import Mark

SECONDS_TO_RETAIN: Final = 5.0
"""A namespace that is being deleted must not hang because a store does."""

Own = TypeVar("Own", bound=Store)
Place = TypeVar("Place")
ClassStore = TypeVar("ClassStore")
Connection = TypeVar("Connection")
State = TypeVar("State", bound=StoreState)


@dataclass(frozen=True)
class Words:
    """What sentences call a kind of store, and what servers have there."""

    store: str
    """ "PostgreSQL"."""
    data: str
    """ "the server's database"."""
    entrance: str
    """What lets the server in, and is taken away in any case: "the logins of the server's database"."""
    marked: str
    """What carries marks: "databases of the class's PostgreSQL"."""


class StoreOfServer(ManagedStore[State], Generic[Own, Place, ClassStore, Connection, State]):
    """What servers have in one kind of store that their classes offer."""

    words: ClassVar[Words]

    def __init__(
        self,
        own: type[Own],
        classes: StoreOfClass[ClassStore, Connection],
        marks: OwnerMarks,
        events: EventRecorder,
    ) -> None:
        """Take the class of which the stores of this kind are in the models of servers, and who knows the offers."""
        self._own = own
        self._classes = classes
        self._marks = marks
        self._events = events

    @abstractmethod
    def _class_store(self, spec: TrackingServerClassSpec) -> ClassStore | None:
        """What a class offers; None: no such store."""

    @abstractmethod
    def _place(self, placement: Placement) -> Place | None:
        """Where the server's data is; None if it has none in this kind of store."""

    @abstractmethod
    def _class_store_of(self, chosen: ChosenClass, place: Place) -> ClassStore:
        """The class's offer, if it is still that of this place. Raises Invalid."""

    @abstractmethod
    async def _marked(self, access: Connection, mark: Mark) -> Sequence[str]:
        """What carries a server's mark. Raises Failure."""

    @abstractmethod
    async def _ensure(
        self,
        context: ReconcileContext,
        store: Own,
        class_store: ClassStore,
        access: Connection,
        mark: Mark,
    ) -> State:
        """Make the server's part as it should be, and go one step on with a rotation. Raises Failure."""

    @abstractmethod
    async def _measure(
        self, context: ReconcileContext, store: Own, access: Connection, mark: Mark
    ) -> Measured:
        """How much the server has there; in the store, work in short parts. Raises Failure."""

    @abstractmethod
    async def _delete(self, deletion: Deletion, place: Place, access: Connection) -> ConditionResult | None:
        """Delete the data; return how it is getting on, None once all is gone. Raises Failure."""

    @abstractmethod
    async def _retain(
        self, deletion: Deletion, place: Place, reaching: ChosenClass, access: Connection
    ) -> None:
        """Take away what lets the server in, by the class that leads there. Raises Failure."""

    def store_of(self, server: ServerModel) -> Own | None:
        """The server's store of this role, if it is of this kind."""
        store = self.role.store_of(server)
        return store if isinstance(store, self._own) else None

    def is_used_by(self, server: ServerModel) -> bool:
        """Whether the server's store of this role is of this kind."""
        return self.store_of(server) is not None

    async def find(self, plan: Plan, memory: ServerMemory) -> str | None:
        """What carries the mark of a server whose placement was lost; None if nothing does. Raises Failure."""
        class_store = self._class_store(plan.chosen.spec)
        if class_store is None or self._place(plan.placement) is None:
            return None
        access = await self._classes.access(plan.chosen.name, class_store)
        mark = self._marks.of_server(plan.model, plan.chosen, memory.of_namespace)
        return the_only(await self._marked(access, mark), self.words.marked)

    async def ensure(self, context: ReconcileContext) -> StepResult[State | None]:
        """Make the server's part as it should be, and go one step on with a rotation; None if the store cannot be asked."""
        plan = context.plan
        store, class_store = self.store_of(plan.model), self._class_store(plan.chosen.spec)
        if store is None or class_store is None:
            return StepResult(None)
        try:
            access = await self._classes.access(plan.chosen.name, class_store)
            mark = self._marks.of_server(plan.model, plan.chosen, context.memory.of_namespace)
            state = await self._ensure(context, store, class_store, access, mark)
        except Failure as failure:
            return stopped_unwatched(failure, self.role.condition)
        return StepResult(state, requeue_after=state.requeue_after)

    async def measure(self, context: ReconcileContext) -> Measured:
        """How much the server has in it; takes as long as the store needs, with work in short parts. Raises Failure."""
        plan = context.plan
        store, class_store = self.store_of(plan.model), self._class_store(plan.chosen.spec)
        if store is None or class_store is None:
            return Measured()
        access = await self._classes.access(plan.chosen.name, class_store)
        mark = self._marks.of_server(plan.model, plan.chosen, context.memory.of_namespace)
        return await self._measure(context, store, access, mark)

    async def finalize(self, deletion: Deletion) -> ConditionResult | None:
        """Delete the data, or take away what lets the server in; return what stands in the way of letting it go."""
        chosen, policy = deletion.chosen, deletion.policy
        reaching = chosen
        try:
            placement = placement_of(deletion.resource)
            place = self._place(placement) if placement else None
            if place is None:
                return None
            async with asyncio.timeout(None if policy is DeletionPolicy.DELETE else SECONDS_TO_RETAIN):
                reaching = self._reaching(chosen, deletion.others, place)
                access = await self._classes.access(reaching.name, self._class_store_of(reaching, place))
                if reaching is not chosen:
                    await self._retain(deletion, place, reaching, access)
                    return self._left_to_its_class(deletion, place)
                if policy is DeletionPolicy.DELETE:
                    return await self._delete(deletion, place, access)
                await self._retain(deletion, place, chosen, access)
        except TimeoutError:
            why = f"{self.words.store} did not answer within {SECONDS_TO_RETAIN:g} s."
            return self._give_up(deletion, reaching, why)
        except Failure as failure:
            return self._give_up(deletion, reaching, failure.message)
        return None

    def _mark(self, deletion: Deletion) -> Mark:
        """The mark of a server that is deleted. Raises Waiting: nobody knows its namespace."""
        metadata = deletion.resource.metadata
        return self._marks.of(metadata.namespace, metadata.name, metadata.uid, deletion.memory.of_namespace)

    def _reaching(self, chosen: ChosenClass, others: Sequence[ChosenClass], place: Place) -> ChosenClass:
        """The server's class, or another one that leads to its data where that does not; its own if none does."""
        for one in (chosen, *sorted(others, key=lambda other: other.name)):
            with suppress(Invalid):
                self._class_store_of(one, place)
                return one
        return chosen

    def _left_to_its_class(self, deletion: Deletion, place: Place) -> ConditionResult | None:
        """What is left when access has ended by another class: nothing, unless data is to be deleted."""
        if deletion.policy is not DeletionPolicy.DELETE:
            return None
        try:
            self._class_store_of(deletion.chosen, place)
        except Invalid as failure:
            return self._give_up(deletion, deletion.chosen, failure.message)
        return None

    def _give_up(self, deletion: Deletion, chosen: ChosenClass, why: str) -> ConditionResult | None:
        """Say what became of data that was out of reach: only ``Delete`` waits, unless told not to."""
        resource, policy, words = deletion.resource, deletion.policy, self.words
        if policy is DeletionPolicy.DELETE and not resource.may_be_orphaned:
            message = f"{words.data.capitalize()} could not be deleted yet: {why} It is tried again and again{_way_out(resource)}."
            return ConditionResult(self.role.condition, Verdict.FAILING, Reason.DELETION_BLOCKED, message)
        what = (
            f"{words.data.capitalize()} is left behind, as its annotation asks"
            if policy is DeletionPolicy.DELETE
            else f"{words.entrance.capitalize()} stay until the operator looks at a class that leads there"
        )
        self._classes.leave_behind(chosen.name, resource.metadata.uid)
        self._events.record(deletion.live, "Warning", Reason.DELETION_BLOCKED.value, f"{what}: {why}")
        return None


def _way_out(resource: TrackingServer) -> str:
    """What else can be done; nothing for a server that is gone already."""
    if not resource.metadata.is_being_deleted:
        return ""
    return (
        f'; to let the server go and leave it behind, set its annotation {FORCE_ORPHAN_ANNOTATION} to "true"'
    )
