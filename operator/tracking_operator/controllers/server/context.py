"""One reconcile of one server, and what is remembered of a server between two of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar

from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.api.maintenance import BackupsStatus, MaintenanceStatus
from tracking_operator.api.sleep import SleepStatus
from tracking_operator.api.tracking_server import TrackingServer, UsageStatus
from tracking_operator.controllers.conditions.busy import BusyMemory
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.address.claims import AddressMemory, ClaimsByHost
from tracking_operator.controllers.server.artifacts.checks import ArtifactCheck
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.mounted_secrets import SecretsMemory
from tracking_operator.controllers.server.clients.memory import ClientsFound, ClientsMemory
from tracking_operator.controllers.server.database.encryption import EncryptionMemory
from tracking_operator.controllers.server.database.schema_gate import Gate
from tracking_operator.controllers.server.exposure.answer import AnswerMemory
from tracking_operator.controllers.server.exposure.routes import RouteMemory
from tracking_operator.controllers.server.login.logins import LoginMemory
from tracking_operator.controllers.server.managed_stores.states import (
    ArtifactState,
    BackendState,
    StoreMemories,
)
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.sleep.idle import IdleMemory
from tracking_operator.controllers.server.spec.owner_marks import NamespaceMemory
from tracking_operator.controllers.server.usage.memory import UsageMemory
from tracking_operator.controllers.server.workload.condition_results import Observed
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import KubeObject, uid_of
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.server_model import ServerModel

Value = TypeVar("Value")

SWEEP_GROWTH: Final = 64
"""How many memories are made before those are looked for whose server has gone unseen."""


@dataclass
class ServerMemory:
    """All that is remembered of one server, a part for each step; none of it is needed after a restart."""

    namespace: str
    name: str
    uid: str
    address: AddressMemory
    of_namespace: NamespaceMemory = field(default_factory=NamespaceMemory)
    stores: StoreMemories = field(default_factory=StoreMemories)
    encryption: EncryptionMemory = field(default_factory=EncryptionMemory)
    secrets: SecretsMemory = field(default_factory=SecretsMemory)
    login: LoginMemory = field(default_factory=LoginMemory)
    route: RouteMemory = field(default_factory=RouteMemory)
    answer: AnswerMemory = field(default_factory=AnswerMemory)
    busy: BusyMemory = field(default_factory=BusyMemory)
    usage: UsageMemory = field(default_factory=UsageMemory)
    clients: ClientsMemory = field(default_factory=ClientsMemory)
    idle: IdleMemory = field(default_factory=IdleMemory)

    def invalidate(self) -> None:
        """Have everything asked again that no watch tells of."""
        for part in (self.stores, self.secrets, self.login, self.route, self.answer, self.clients, self.idle):
            part.invalidate()

    def evict(self) -> None:
        """End what is under way for the server, and what keeps others from its addresses."""
        for part in (self.address, self.login, self.answer, self.usage, self.clients, self.idle):
            part.evict()


class ServerMemories:
    """One memory for each server, made when it is asked for, and dropped as a whole."""

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache
        self._claims = ClaimsByHost()
        self._memories: dict[tuple[str, str], ServerMemory] = {}
        self._sweep_at = SWEEP_GROWTH

    def __iter__(self) -> Iterator[ServerMemory]:
        return iter(self._memories.values())

    def of(self, metadata: ObjectMeta) -> ServerMemory:
        """The memory of this very server; that of an earlier one of its name is dropped."""
        namespace, name, uid = metadata.namespace, metadata.name, metadata.uid
        known = self._memories.get((namespace, name))
        if known is not None and known.uid == uid:
            return known
        self.evict(namespace, name)
        self._sweep()
        made = ServerMemory(namespace, name, uid, AddressMemory(self._claims))
        self._memories[namespace, name] = made
        return made

    def known(self, namespace: str, name: str, uid: str) -> ServerMemory | None:
        """The memory of this very server, if there is one."""
        found = self._memories.get((namespace, name))
        return found if found is not None and found.uid == uid else None

    def address_of(self, metadata: ObjectMeta) -> AddressMemory:
        """What this very server claims."""
        return self.of(metadata).address

    def evict(self, namespace: str, name: str) -> None:
        """Drop all that is known of a server that is gone."""
        if memory := self._memories.pop((namespace, name), None):
            memory.evict()

    def _sweep(self) -> None:
        """Drop the memories of servers that went unseen; now and then, so that it costs nothing."""
        if len(self._memories) < self._sweep_at:
            return
        for memory in [one for one in self if self._has_vanished(one)]:
            self.evict(memory.namespace, memory.name)
        self._sweep_at = 2 * len(self._memories) + SWEEP_GROWTH

    def _has_vanished(self, memory: ServerMemory) -> bool:
        place = TRACKING_SERVER, memory.namespace, memory.name
        known = self._cache.get(*place) or self._cache.removed_before_finalized(*place)
        return known is None or uid_of(known) != memory.uid


class Once(Generic[Value]):
    """An attribute that is set once, and read only afterwards: what is decided is never replaced half-way."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Value:
        if self._name not in vars(instance):
            raise AttributeError(f"{self._name} is read before a step has set it")
        value: Value = vars(instance)[self._name]
        return value

    def __set__(self, instance: object, value: Value) -> None:
        if self._name in vars(instance):
            raise AttributeError(f"{self._name} is set once")
        vars(instance)[self._name] = value


@dataclass
class ReconcileContext:
    """One reconcile of one server: what was decided, which is set once, and what each step found for those after it."""

    live: KubeObject
    """The resource as it was read, or written last."""
    resource: TrackingServer
    """The same, parsed."""
    memory: ServerMemory
    now: datetime
    is_resync: bool = False
    """Whether what no watch tells of is asked afresh; what ``memory`` had of that is dropped already."""
    migration: LiveJob | None = None
    backend_state: BackendState | None = None
    """How a backend store that the operator makes was found; None with another one, and while it could not be asked."""
    artifact_state: ArtifactState | None = None
    """The same of the artifact store."""
    passwords: LoginCredentials | None = None
    gate: Gate | None = None
    artifact_check: ArtifactCheck | None = None
    usage: UsageStatus | None = None
    """How much the server has in the stores that the operator made for it, as it was measured last."""
    maintenance: MaintenanceStatus | None = None
    """What was done to the server at planned times."""
    clients: ClientsFound | None = None
    sleep: SleepStatus | None = None
    """What there is to tell of ``spec.sleep``."""
    beside: ConditionResult | None = None
    """A condition that Ready does not depend on: how the server is backed up."""
    backups: BackupsStatus | None = None
    """What was planned, and which backup is the newest."""
    may_apply: bool = True
    """Whether all is there that the objects are made from."""

    plan = Once[Plan]()
    """What was decided, with a model that lacks what only the stores and Secrets tell."""
    model = Once[ServerModel]()
    """The complete model: what objects are made from, and what is reported on."""
    observed = Once[Observed]()
    """The live objects, once everything has been applied."""
