"""What every place where a server's data lives is asked, so that nobody asks which place it is. Pure.

A kind of store is one file that answers these questions, and one entry in ``registry.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar

from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.tracking_server import AccessMode
from tracking_operator.resources.destinations import Destination, Endpoint


@dataclass(frozen=True)
class Volume:
    """A volume claim of the server's own."""

    claim: str
    size: str
    storage_class: str | None
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE
    field: str = ""
    """Where the team says its size."""
    size_is_asked: bool = True
    """Whether the team says its size; if not, a volume that exists keeps its own."""

    @property
    def class_field(self) -> str:
        """Where the team says its StorageClass."""
        return self.field.removesuffix("size") + "storageClassName"


@dataclass(frozen=True)
class StoreMount:
    """A volume that pods mount because of a store."""

    volume: str
    path: str
    source: Mapping[str, object]
    """What Kubernetes fills it from."""
    read_only: bool = True


@dataclass(frozen=True)
class StartSecret:
    """A Secret or ConfigMap that pods read when they start: they are made anew when it changes."""

    name: str
    key: str | None = None
    """What counts of it; None: all that it holds."""
    field: str = ""
    """What names it; empty for one that the operator writes itself."""
    required: tuple[str, ...] = ()
    """The keys without which it is of no use."""
    names_endpoints: bool = False
    """Whether it says where the store is."""
    is_config_map: bool = False
    certificates: tuple[str, ...] = ()
    """Those of the keys that have to hold certificates in PEM."""


class FoundBy(Enum):
    """Who finds out how a store is."""

    STEP = auto()
    """A step of the reconcile, which speaks to the store."""
    VOLUME_CLAIM = auto()
    """The status of the volume claim."""
    POD = auto()
    """The pods, when they start."""


@dataclass(frozen=True)
class Evidence:
    """From what the store's condition is read, and in which words."""

    found_by: FoundBy
    awaited: str = ""
    """Whom the condition waits for, as long as nothing is known."""
    place: str = ""
    """What the store is called in a sentence."""


@dataclass(frozen=True, kw_only=True)
class BackendParts:
    """What pods have because of their backend store."""

    program_arguments: tuple[str, ...]
    """The store, as the command lines of our programs name it."""
    server_arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[StoreMount, ...] = ()
    connection_limit: int | None = None
    """How many connections all pods may have together; None: nobody counts them."""
    needs_migration_job: bool = True
    """Whether a Job brings the schema up to date; if not, the init container does."""
    migration_variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArtifactParts:
    """What pods have because of their artifact store, and their ServiceAccount."""

    place: str
    """Where artifacts are, for MLflow in the pods."""
    place_variables: Mapping[str, str | None] = field(default_factory=dict)
    """Those of the variables that say with it where artifacts are; None: they are there where the variable is not set."""
    variables: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[StoreMount, ...] = ()
    reserved_variables: frozenset[str] = frozenset()
    """What nobody but the operator may set."""
    steering_variables: tuple[str, ...] = ()
    """Names, or beginnings with a star, of variables by which a team leads the way to a store of its own."""
    variables_of_webhooks: tuple[str, ...] = ()
    """What the cloud adds to pods for the identity."""
    account_annotations: Mapping[str, str] = field(default_factory=dict)
    check_arguments: tuple[str, ...] = ()
    """What the init container tries out before each start; empty: it does not."""
    check_job_arguments: tuple[str, ...] = ()
    """What a Job tries out; empty: none does."""
    deletion_job_arguments: tuple[str, ...] = ()
    """What a Job removes at the end; empty: none does."""
    identity_destinations: tuple[Destination, ...] = ()
    """Where pods get their identity for the store from."""


@dataclass(frozen=True)
class TriedOut:
    """What it counts for that a Job has tried the store out: with another place or identity it is to be tried out again."""

    place: tuple[str | None, ...]
    identity: str | None = None
    """As whom pods go there, beside what is in their Secrets."""


@dataclass(frozen=True, kw_only=True)
class ClientParts:
    """What clients of the server are told about its artifacts."""

    root: str
    """The place of artifacts as people should read it."""
    are_admitted: bool
    """Whether clients can reach the store themselves."""
    variables: Mapping[str, str] = field(default_factory=dict)
    get_keys: bool = False
    """Whether they then get the keys that the operator makes."""


class Store(ABC):
    """A place where data lives."""

    is_managed: ClassVar[bool] = False
    """Whether the operator itself makes it, and logins or keys for it, on what the class offers."""

    @abstractmethod
    def evidence(self) -> Evidence:
        """From what its condition is read."""

    def claims(self) -> tuple[Volume, ...]:
        """The volume claims of the server's own that it is on."""
        return ()

    def secrets(self) -> tuple[StartSecret, ...]:
        """The Secrets for which pods are made anew."""
        return ()

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """Where it says that it is. ``in_secret`` is what its Secret names; None: that is not known."""
        return ()


class BackendStore(Store):
    """Where runs, parameters and metrics are."""

    @abstractmethod
    def pod_parts(self) -> BackendParts:
        """What pods have because of it."""


class ArtifactStore(Store):
    """Where artifacts and models are."""

    @abstractmethod
    def pod_parts(self) -> ArtifactParts:
        """What pods have because of it."""

    def tried_out(self) -> TriedOut:
        """What it counts for that a Job has tried it out."""
        return TriedOut((self.pod_parts().place,))

    @abstractmethod
    def client_parts(self) -> ClientParts:
        """What clients are told about it."""
