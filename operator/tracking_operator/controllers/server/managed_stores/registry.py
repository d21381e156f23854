"""Which kinds of store the operator makes, and what each is made of: the one table of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tracking_operator.controllers.server.artifacts.deletion_job import DeletionJobs
from tracking_operator.controllers.server.artifacts.managed_store import PrefixStore
from tracking_operator.controllers.server.artifacts.prefixes import ArtifactPrefixes
from tracking_operator.controllers.server.children.mounted_secrets import Credentials
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.database.databases import Databases
from tracking_operator.controllers.server.database.managed_store import DatabaseStore
from tracking_operator.controllers.server.managed_stores.interface import ManagedStore
from tracking_operator.controllers.server.managed_stores.loop import ManagedStores
from tracking_operator.controllers.server.managed_stores.states import ArtifactState, BackendState
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.timings import Timings


@dataclass(frozen=True)
class StoreParts:
    """What stores are made of."""

    kube: KubeClient
    cache: ObjectCache
    events: EventRecorder
    timings: Timings
    postgres: PostgresAdmin
    s3_admin: S3Admin
    marks: OwnerMarks
    credentials: Credentials
    networks: Networks
    now: Callable[[], datetime]


def _databases(parts: StoreParts) -> ManagedStore[BackendState]:
    databases = Databases(parts.kube, parts.cache, parts.postgres, parts.timings, parts.now)
    return DatabaseStore(databases, parts.postgres, parts.marks, parts.events)


def _prefixes(parts: StoreParts) -> ManagedStore[ArtifactState]:
    return PrefixStore(
        parts.cache,
        ArtifactPrefixes(parts.kube, parts.cache, parts.s3_admin, parts.timings, parts.now),
        parts.s3_admin,
        jobs=DeletionJobs(parts.kube, parts.cache, parts.networks, parts.now),
        credentials=parts.credentials,
        marks=parts.marks,
        events=parts.events,
    )


BACKEND_STORES: Final[list[Callable[[StoreParts], ManagedStore[BackendState]]]] = [_databases]
ARTIFACT_STORES: Final[list[Callable[[StoreParts], ManagedStore[ArtifactState]]]] = [_prefixes]


def stores_of(parts: StoreParts) -> ManagedStores:
    """All kinds of store of one operator."""
    backend_stores = [make(parts) for make in BACKEND_STORES]
    return ManagedStores(backend_stores, [make(parts) for make in ARTIFACT_STORES])
