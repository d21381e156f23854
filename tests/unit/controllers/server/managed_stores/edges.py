"""What stands behind each kind of store that the operator makes, in the contract that all of them keep."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from tests.unit.controllers.server.artifacts import test_prefixes
from tests.unit.controllers.server.database import test_databases
from tests.unit.controllers.server.managed_stores.toy_in_pods import made_toy_artifacts, made_toy_backend
from tests.unit.controllers.server.managed_stores.toy_of_servers import (
    ToyService,
    toy_backends,
    toy_buckets,
)
from tests.unit.examples import EXTERNAL_BUCKET, EXTERNAL_DATABASE, POSTGRES, S3, Manifest
from tests.unit.resources.stores.toy import DATABASE_PORT, OBJECT_PORT
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.controllers.server.managed_stores import registry
from tracking_operator.failures import Failure
from tracking_operator.resources.stores import registry as stores_in_pods
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.postgres.usage import RowCounts
from tracking_operator.stores.s3.usage import PrefixUsage

if TYPE_CHECKING:
    from tests.unit.controllers.server.managed_stores.test_contract import World


class Edge(ABC):
    """A store, as a list of what it was asked, in the contract's words."""

    spec: ClassVar[Manifest] = {}
    """What the server asks for."""
    class_spec: ClassVar[Manifest] = {}
    """What its class offers."""
    condition: str
    usage: ClassVar[Manifest]
    """What a measurement finds."""
    secret: str
    part: str
    """What of a revocation it does."""
    port: int
    executor: StoreExecutor = StoreExecutor()
    is_emptied_by_a_job: bool = False

    WORDS: ClassVar[dict[str, str]] = {}
    """What the contract calls by another word than the store."""

    @property
    def asked(self) -> list[str]:
        """What it was asked: find, provision, rotate, retire, revoke, retain, drop; anything else by another name."""
        names = [one.split(" ")[0] for one in self.calls()]
        return [self.WORDS.get(name, name) for name in names]

    @abstractmethod
    def calls(self) -> list[str]:
        """What it was asked in its own words; whoever clears it forgets that."""

    @abstractmethod
    def fail(self, failure: Failure | None) -> None:
        """Answer so from now on; None: well."""

    @abstractmethod
    def fill(self, *, is_empty: bool) -> None:
        """Hold data, or none."""


class OfBackend(Edge):
    """A backend store."""

    condition = "BackendStoreReady"
    usage: ClassVar[Manifest] = {"databaseBytes": 1000, "runs": 0}
    secret = "mlflow-database"
    part = "backendStore"

    def fill(self, *, is_empty: bool) -> None:
        """What it holds goes with it."""


class OfArtifacts(Edge):
    """An artifact store."""

    condition = "ArtifactStoreReady"
    usage: ClassVar[Manifest] = {"artifactBytes": 2000, "artifactObjects": 3}
    secret = "mlflow-artifacts"
    part = "artifactStore"
    is_emptied_by_a_job = True


class PostgresEdge(OfBackend):
    """A class's PostgreSQL."""

    class_spec: ClassVar[Manifest] = {"postgres": POSTGRES}
    port = 5432
    WORDS: ClassVar[dict[str, str]] = {
        "databases_of": "find",
        "begin_rotation": "rotate",
        "size": "measure",
    }

    def __init__(self, world: "World", monkeypatch: pytest.MonkeyPatch) -> None:
        self.postgres = _Postgres(cast(test_databases.World, world))
        self.executor = cast(StoreExecutor, self.postgres)

    def calls(self) -> list[str]:
        return self.postgres.asked

    def fail(self, failure: Failure | None) -> None:
        self.postgres.failure = failure  # type: ignore[assignment]


class S3Edge(OfArtifacts):
    """A class's bucket."""

    class_spec: ClassVar[Manifest] = {"s3": S3}
    port = 7070
    WORDS: ClassVar[dict[str, str]] = {
        "prefixes_of": "find",
        "list_part": "measure",
        "issue_keys": "rotate",
        "retire_keys": "retire",
        "revoke_keys": "revoke",
    }

    def __init__(self, world: "World", monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects = _ObjectStore(cast(test_prefixes.World, world))
        self.executor = cast(StoreExecutor, self.objects)

    def calls(self) -> list[str]:
        return self.objects.asked

    def fail(self, failure: Failure | None) -> None:
        self.objects.failure = failure  # type: ignore[assignment]

    def fill(self, *, is_empty: bool) -> None:
        self.objects.is_empty = is_empty


class ToyEdge(Edge):
    """A toy: one line in each of the two registries."""

    service: ToyService

    def calls(self) -> list[str]:
        return self.service.asked

    def fail(self, failure: Failure | None) -> None:
        self.service.failure = failure

    def fill(self, *, is_empty: bool) -> None:
        self.service.is_empty = is_empty


class ToyBackendEdge(ToyEdge, OfBackend):
    """The toy as a backend store."""

    spec: ClassVar[Manifest] = {"backendStore": EXTERNAL_DATABASE}
    port = DATABASE_PORT

    def __init__(self, world: "World", monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = ToyService()
        monkeypatch.setitem(stores_in_pods.BACKEND_STORES, BackendStoreKind.EXTERNAL, made_toy_backend)
        makers = [*registry.BACKEND_STORES, toy_backends(self.service)]
        monkeypatch.setattr(registry, "BACKEND_STORES", makers)


class ToyArtifactsEdge(ToyEdge, OfArtifacts):
    """The toy as an artifact store."""

    spec: ClassVar[Manifest] = {"artifactStore": EXTERNAL_BUCKET}
    port = OBJECT_PORT

    def __init__(self, world: "World", monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = ToyService()
        monkeypatch.setitem(stores_in_pods.ARTIFACT_STORES, ArtifactStoreKind.EXTERNAL, made_toy_artifacts)
        makers = [*registry.ARTIFACT_STORES, toy_buckets(self.service)]
        monkeypatch.setattr(registry, "ARTIFACT_STORES", makers)


EDGES: tuple[Callable[["World", pytest.MonkeyPatch], Edge], ...] = (
    PostgresEdge,
    S3Edge,
    ToyBackendEdge,
    ToyArtifactsEdge,
)


class _Postgres(test_databases.Postgres):
    """PostgreSQL that a class's look finds well, and where no database carries a mark."""

    async def run_for_class(self, *_: object, **__: object) -> tuple[str, ...]:
        return ()

    async def run_for(
        self, namespace: str, server: object, work: Callable[..., object], *rest: object, **words: object
    ) -> object:
        found = await super().run_for(namespace, server, work, *rest, **words)  # type: ignore[arg-type]
        answers = {"_databases_of": (), "size": 1000, "count_rows": RowCounts(runs=0)}
        return answers.get(work.__name__, found)


class _ObjectStore(test_prefixes.ObjectStore):
    """An object store that a class's look finds well, and where no prefix carries a mark."""

    is_empty = True

    async def run_for_class(self, *_: object, **__: object) -> tuple[str, ...]:
        return ()

    async def run_for(
        self, namespace: str, bucket: object, work: Callable[..., object], *rest: object, **_: object
    ) -> object:
        found = await super().run_for(namespace, bucket, work, *rest)  # type: ignore[arg-type]
        answers = {"prefixes_of": (), "is_empty": self.is_empty, "list_part": PrefixUsage(2000, 3, None)}
        return answers.get(work.__name__, found)
