"""What becomes of a deleted server's data outside of Kubernetes, whether the store answers or not."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import FORCE_ORPHAN_ANNOTATION
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.context import ServerMemory
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.store_of_class import StoreOfClass
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.server_model import ServerModel

SECONDS_TO_RETAIN: Final = 5.0
"""A namespace that is being deleted must not hang because a store does."""

Place = TypeVar("Place")
Offer = TypeVar("Offer")
Access = TypeVar("Access")


@dataclass(frozen=True)
class Deletion:
    """One server that is deleted, and what is to become of its data."""

    live: KubeObject
    resource: TrackingServer
    memory: ServerMemory
    chosen: ChosenClass
    policy: DeletionPolicy
    server: ServerModel | None
    """The model of a server that could still be built; None where its specification is refused."""
    others: Sequence[ChosenClass] = ()
    """All classes: where the server's own does not lead to its data any more, one that does ends the access. It deletes
    nothing: what may be deleted is its own class's to say."""


class StoreFinalization(ABC, Generic[Place, Offer, Access]):
    """Retains or drops what servers that are being deleted have in one kind of store."""

    type: ClassVar[ConditionType]
    data: ClassVar[str]
    """What the server has there, as a sentence calls it: "the server's database"."""
    entrance: ClassVar[str]
    """What lets the server in, and is taken away in any case: "the logins of the server's database"."""
    store: ClassVar[str]
    """What the store is called: "PostgreSQL"."""

    def __init__(self, stores: StoreOfClass[Offer, Access], events: EventRecorder) -> None:
        self._stores = stores
        self._events = events

    async def finalize(self, deletion: Deletion) -> ConditionResult | None:
        """Drop the data, or take away what lets the server in; return what stands in the way of letting it go."""
        chosen, policy = deletion.chosen, deletion.policy
        reaching = chosen
        try:
            placement = placement_of(deletion.resource)
            place = self._place(placement) if placement else None
            if place is None:
                return None
            async with asyncio.timeout(None if policy is DeletionPolicy.DELETE else SECONDS_TO_RETAIN):
                reaching = self._reaching(chosen, deletion.others, place)
                access = await self._stores.access(reaching.name, self._offer(reaching, place))
                if reaching is not chosen:
                    await self._retain(deletion, place, reaching, access)
                    return self._left_to_its_class(deletion, place)
                if policy is DeletionPolicy.DELETE:
                    return await self._drop(deletion, place, access)
                await self._retain(deletion, place, chosen, access)
        except TimeoutError:
            why = f"{self.store} did not answer within {SECONDS_TO_RETAIN:g} s."
            return self._give_up(deletion, reaching, why)
        except Failure as failure:
            return self._give_up(deletion, reaching, failure.message)
        return None

    def _reaching(self, chosen: ChosenClass, others: Sequence[ChosenClass], place: Place) -> ChosenClass:
        """The server's class, or another one that leads to its data where that does not; its own if none does."""
        for one in (chosen, *sorted(others, key=lambda other: other.name)):
            with suppress(Invalid):
                self._offer(one, place)
                return one
        return chosen

    def _left_to_its_class(self, deletion: Deletion, place: Place) -> ConditionResult | None:
        """What is left when access has ended by another class: nothing, unless data is to be deleted."""
        if deletion.policy is not DeletionPolicy.DELETE:
            return None
        try:
            self._offer(deletion.chosen, place)
        except Invalid as failure:
            return self._give_up(deletion, deletion.chosen, failure.message)
        return None

    @abstractmethod
    def _place(self, placement: Placement) -> Place | None:
        """Where the server's data is; None if it has none in this kind of store."""

    @abstractmethod
    def _offer(self, chosen: ChosenClass, place: Place) -> Offer:
        """The class's offer, if it is still that of this place. Raises Invalid."""

    @abstractmethod
    async def _drop(self, deletion: Deletion, place: Place, access: Access) -> ConditionResult | None:
        """Drop the data; return how it is getting on, None once all is gone. Raises Failure."""

    @abstractmethod
    async def _retain(self, deletion: Deletion, place: Place, reaching: ChosenClass, access: Access) -> None:
        """Take away what lets the server in, by the class that leads there. Raises Failure."""

    def _give_up(self, deletion: Deletion, chosen: ChosenClass, why: str) -> ConditionResult | None:
        """Say what became of data that was out of reach: only ``Delete`` waits, unless told not to."""
        resource, policy = deletion.resource, deletion.policy
        if policy is DeletionPolicy.DELETE and not resource.may_be_orphaned:
            message = f"{self.data.capitalize()} could not be deleted yet: {why} It is tried again and again{_way_out(resource)}."
            return ConditionResult(self.type, Verdict.FAILING, Reason.DELETION_BLOCKED, message)
        what = (
            f"{self.data.capitalize()} is left behind, as its annotation asks"
            if policy is DeletionPolicy.DELETE
            else f"{self.entrance.capitalize()} stay until the operator looks at a class that leads there"
        )
        self._stores.leave_behind(chosen.name, resource.metadata.uid)
        self._events.record(deletion.live, "Warning", Reason.DELETION_BLOCKED.value, f"{what}: {why}")
        return None


def _way_out(resource: TrackingServer) -> str:
    """What else can be done; nothing for a server that is gone already."""
    if not resource.metadata.is_being_deleted:
        return ""
    return (
        f'; to let the server go and leave it behind, set its annotation {FORCE_ORPHAN_ANNOTATION} to "true"'
    )
