"""The same kind of store as the loops of the operator have it: a file like ``database/managed_store.py``.

The kinds that an API knows are written down in the CRD: in tests, the toy is in the place of the external stores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

from tests.unit.controllers.server.managed_stores.toy_in_pods import MadeToyArtifacts, MadeToyBackend
from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import Reason
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind, Placement
from tracking_operator.api.tracking_server_class import TrackingServerClassSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.artifacts.deletion_job import DeletionJobs
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.managed_stores.credentials_cycle import (
    CredentialsCycle,
    CycleMemory,
    Wanted,
)
from tracking_operator.controllers.server.managed_stores.interface import (
    ARTIFACTS,
    BACKEND,
    Deletion,
    ManagedStore,
)
from tracking_operator.controllers.server.managed_stores.registry import StoreParts
from tracking_operator.controllers.server.managed_stores.states import (
    ArtifactState,
    BackendState,
    StoreState,
)
from tracking_operator.controllers.server.managed_stores.store_of_server import StoreOfServer, Words
from tracking_operator.controllers.server.revocation import is_due
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.store_of_class import StoreOfClass
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.labels import BACKEND_STORE_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import rotation_annotations, rotation_in, text_in, watched_secret
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.interface import Store
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.ownership_mark import Mark

SECONDS_UNTIL_PODS_HAVE_IT = 60.0
WORDS = Words("The toy service", "the server's toys", "the keys of the server's toys", "boxes")

Own = TypeVar("Own", bound=Store)
State = TypeVar("State", bound=StoreState)


@dataclass
class ToyService:
    """Boxes, and which keys open each; and what it was asked."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failure: Failure | None = None
    is_empty: bool = True
    made: int = 0

    def ask(self, what: str) -> None:
        """Note it. Raises Failure."""
        self.asked.append(what)
        if self.failure:
            raise self.failure

    def add_key(self, box: str) -> str:
        """Make another key."""
        self.made += 1
        self.keys.setdefault(box, []).append(f"key-{self.made}")
        return f"key-{self.made}"


@dataclass(frozen=True)
class ToyKey:
    """A key in a Secret."""

    key: str
    rotated_for: str
    rotated_at: datetime


@dataclass(frozen=True)
class Opened:
    """A box that was looked into."""

    key: str
    is_rotating: bool


class BoxMemory(CycleMemory[ToyKey, Opened]):
    """What is remembered of a server's box."""


class LoginMemory(CycleMemory[ToyKey, Opened]):
    """What is remembered of a server's database."""


@dataclass(frozen=True)
class Case:
    """One server's box."""

    server: ServerModel
    box: str
    secret: str
    wanted: Wanted
    memory: CycleMemory[ToyKey, Opened]


class Boxes(CredentialsCycle[Case, ToyKey, Opened, State]):
    """Makes boxes and keys."""

    def __init__(
        self, service: ToyService, parts: StoreParts, state: Callable[[float | None], State]
    ) -> None:
        super().__init__(parts.now)
        self.service = service
        self._secrets = ManagedSecrets(parts.kube, parts.cache)
        self._state = state

    async def ensure(self, case: Case) -> State:
        """Make the box."""
        return await self._go_on(case)

    def _memory(self, case: Case) -> CycleMemory[ToyKey, Opened]:
        return case.memory

    async def _secret(self, case: Case) -> KubeObject | None:
        return await self._secrets.read(case.server, case.secret)

    def _read(self, secret: KubeObject) -> ToyKey | None:
        return ToyKey(text_in(secret, "key"), *rotation_in(secret))

    async def _revoke(self, case: Case, held: ToyKey | None) -> None:
        case.memory.invalidate()
        self.service.ask("revoke")
        self.service.keys[case.box] = []

    async def _verify(self, case: Case, held: ToyKey | None) -> tuple[Opened, ToyKey]:
        known = case.memory.verified
        if known and held and known.key == held.key:
            return known, held
        self.service.ask("provision")
        if held is None or held.key not in self.service.keys.get(case.box, []):
            held = self._new(self.service.add_key(case.box), case)
        found = Opened(held.key, is_rotating=len(self.service.keys[case.box]) > 1)
        case.memory.verified = found
        return found, held

    async def _write_secret(self, case: Case, credentials: ToyKey | None) -> None:
        if credentials is None:
            return
        rotation = rotation_annotations(credentials.rotated_for, credentials.rotated_at)
        metadata = owned_metadata(case.server, case.secret, BACKEND_STORE_COMPONENT, rotation)
        await self._secrets.write(case.server, watched_secret(metadata, {"key": credentials.key}))

    async def _rotate(self, case: Case, old: ToyKey, verified: Opened) -> State:
        self.service.ask("rotate")
        new = self._new(self.service.add_key(case.box), case)
        await self._write(case, new)
        case.memory.verified = Opened(new.key, is_rotating=True)
        return self._state(SECONDS_UNTIL_PODS_HAVE_IT)

    async def _retire(self, case: Case, credentials: ToyKey, verified: Opened) -> State:
        left = min(SECONDS_UNTIL_PODS_HAVE_IT, case.wanted.deadline) - self._age(credentials)
        if left > 0:
            return self._state(left)
        self.service.ask("retire")
        self.service.keys[case.box] = [credentials.key]
        case.memory.verified = replace(verified, is_rotating=False)
        return self._state(None)

    def _settled(self, credentials: ToyKey | None, verified: Opened) -> State:
        return self._state(None)

    def _new(self, key: str, case: Case) -> ToyKey:
        return ToyKey(key, case.wanted.rotation, self._now().replace(microsecond=0))


@dataclass(frozen=True)
class ClassStore:
    """What a class says of its toys."""


class ToyAdmin(StoreOfClass[ClassStore, ToyService]):
    """The toy service of all classes."""

    def __init__(self, service: ToyService, parts: StoreParts) -> None:
        super().__init__(parts.kube, parts.cache, StoreExecutor(), "system")
        self._service = service

    async def _ask(self, class_store: ClassStore, well: ToyService | None, *, fresh: bool) -> ToyService:
        return self._service


class Toys(StoreOfServer[Own, str, ClassStore, ToyService, State], Generic[Own, State]):
    """What servers have in the toy service."""

    memory: type[CycleMemory[ToyKey, Opened]]
    measured: Measured

    def __init__(self, own: type[Own], service: ToyService, parts: StoreParts, boxes: Boxes[State]) -> None:
        super().__init__(own, ToyAdmin(service, parts), parts.marks, parts.events)
        self._boxes = boxes
        self._jobs = DeletionJobs(parts.kube, parts.cache, parts.networks, parts.now)

    def _class_store(self, spec: TrackingServerClassSpec) -> ClassStore | None:
        return ClassStore() if spec.permissions.external_stores else None

    def _class_store_of(self, chosen: ChosenClass, place: str) -> ClassStore:
        if class_store := self._class_store(chosen.spec):
            return class_store
        raise Invalid(Reason.CLASS_NOT_FOUND, f"The {chosen.title} has no toys any more.")

    async def _marked(self, access: ToyService, mark: Mark) -> Sequence[str]:
        access.ask("find")
        return ()

    async def _ensure(
        self, context: ReconcileContext, store: Own, class_store: ClassStore, access: ToyService, mark: Mark
    ) -> State:
        resource, server = context.resource, context.plan.model
        wanted = Wanted(
            resource.asked_rotation,
            None,
            must_exist=False,
            deadline=seconds_in(context.plan.chosen.spec.rotation.deadline),
            is_revoked=is_due(resource, self.role.part),
        )
        (secret,) = store.secrets()
        memory = context.memory.stores.of(self.memory)
        return await self._boxes.ensure(Case(server, mark.name, secret.name, wanted, memory))

    async def _measure(
        self, context: ReconcileContext, store: Own, access: ToyService, mark: Mark
    ) -> Measured:
        access.ask("measure")
        return self.measured

    async def _delete(self, deletion: Deletion, place: str, access: ToyService) -> ConditionResult | None:
        access.ask("drop")
        access.keys.clear()
        return None

    async def _retain(
        self, deletion: Deletion, place: str, reaching: ChosenClass, access: ToyService
    ) -> None:
        access.ask("retain")
        access.keys.clear()


class ToyBackends(Toys[MadeToyBackend, BackendState]):
    """The toy as a backend store."""

    role = BACKEND
    kind = BackendStoreKind.EXTERNAL
    words = WORDS
    memory = LoginMemory
    measured = Measured(database_bytes=1000, runs=0)

    def _place(self, placement: Placement) -> str | None:
        return "toy://" if placement.backend_store is self.kind else None


class ToyBuckets(Toys[MadeToyArtifacts, ArtifactState]):
    """The toy as an artifact store."""

    role = ARTIFACTS
    kind = ArtifactStoreKind.EXTERNAL
    words = WORDS
    memory = BoxMemory
    measured = Measured(artifact_bytes=2000, artifact_objects=3)

    def _place(self, placement: Placement) -> str | None:
        return "toy://box" if placement.artifact_store is self.kind else None

    async def _delete(self, deletion: Deletion, place: str, access: ToyService) -> ConditionResult | None:
        access.ask("is_empty")
        if deletion.server and not access.is_empty:
            return await self._jobs.empty(deletion.server, place, deletion.memory.secrets, self._let_delete)
        return await super()._delete(deletion, place, access)

    async def _let_delete(self) -> None:
        """Any key lets delete."""


@dataclass(frozen=True)
class RotatingBackend(BackendState):
    """A database, which says when its rotation goes on."""

    def result(self, place: str) -> ConditionResult:
        result = super().result(place)
        return replace(result, reason=Reason.ROTATING_CREDENTIALS) if self.requeue_after else result


@dataclass(frozen=True)
class RotatingBox(ArtifactState):
    """A box, which says when its rotation goes on."""

    def result(self, place: str) -> ConditionResult:
        result = super().result(place)
        return replace(result, reason=Reason.ROTATING_CREDENTIALS) if self.requeue_after else result


def toy_backends(service: ToyService) -> Callable[[StoreParts], ManagedStore[BackendState]]:
    """The toy as a line of the registry's backend stores."""

    def state(seconds: float | None) -> BackendState:
        return RotatingBackend("toy", "abc", requeue_after=seconds)

    return lambda parts: ToyBackends(MadeToyBackend, service, parts, Boxes(service, parts, state))


def toy_buckets(service: ToyService) -> Callable[[StoreParts], ManagedStore[ArtifactState]]:
    """The toy as a line of the registry's artifact stores."""

    def state(seconds: float | None) -> ArtifactState:
        return RotatingBox(requeue_after=seconds)

    return lambda parts: ToyBuckets(MadeToyArtifacts, service, parts, Boxes(service, parts, state))
