"""What the loops ask of every store that the operator makes, so that none asks which store it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.managed_stores.states import StoreState
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.revocation import RevocationPart
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.interface import Store

State_co = TypeVar("State_co", bound=StoreState, covariant=True)


@dataclass(frozen=True)
class Role:
    """What a store is for in a server, which has one for each."""

    condition: ConditionType
    """Which condition says how it is."""
    part: RevocationPart
    """What of a revocation it has to do."""
    store_of: Callable[[ServerModel], Store]
    """The store that a server has for it."""
    state_of: Callable[[ReconcileContext], StoreState | None]
    """How the store was found in this reconcile, if it is one that the operator makes and could be asked."""


BACKEND: Final = Role(
    ConditionType.BACKEND_STORE_READY,
    RevocationPart.BACKEND_STORE,
    lambda server: server.backend_store,
    lambda context: context.backend_state,
)
ARTIFACTS: Final = Role(
    ConditionType.ARTIFACT_STORE_READY,
    RevocationPart.ARTIFACT_STORE,
    lambda server: server.artifact_store,
    lambda context: context.artifact_state,
)


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


class ManagedStore(ABC, Generic[State_co]):
    """A kind of store that the operator makes for servers, with logins or keys for it."""

    role: ClassVar[Role]
    kind: ClassVar[BackendStoreKind | ArtifactStoreKind]

    @abstractmethod
    def is_used_by(self, server: ServerModel) -> bool:
        """Whether the server's store of this role is of this kind."""

    @abstractmethod
    async def find(self, plan: Plan, memory: ServerMemory) -> str | None:
        """What carries the mark of a server whose placement was lost; None if nothing does. Raises Failure."""

    @abstractmethod
    async def ensure(self, context: ReconcileContext) -> StepResult[State_co | None]:
        """Make the server's part as it should be, and go one step on with a rotation; None if the store cannot be asked."""

    @abstractmethod
    async def measure(self, context: ReconcileContext) -> Measured:
        """How much the server has in it; takes as long as the store needs, with work in short parts. Raises Failure."""

    @abstractmethod
    async def finalize(self, deletion: Deletion) -> ConditionResult | None:
        """Delete the data, or take away what lets the server in; return what stands in the way of letting it go."""
