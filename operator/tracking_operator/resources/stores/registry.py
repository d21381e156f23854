"""Which file makes the store of a placement: the one table of the kinds that there are."""

from collections.abc import Callable
from typing import Final

from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.resources.stores.external_bucket import external_artifacts
from tracking_operator.resources.stores.external_database import external_backend
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import ArtifactStore, BackendStore
from tracking_operator.resources.stores.postgres import postgres_backend
from tracking_operator.resources.stores.s3 import s3_artifacts
from tracking_operator.resources.stores.sqlite import sqlite_backend
from tracking_operator.resources.stores.volume import volume_artifacts


def backend_store_of(inputs: StoreInputs) -> BackendStore:
    """The backend store of a placement. What it names by its place counts, whatever kind it says beside that."""
    kind = BackendStoreKind.POSTGRES if inputs.placement.database else inputs.placement.backend_store
    return BACKEND_STORES[kind](inputs)


def artifact_store_of(inputs: StoreInputs) -> ArtifactStore:
    """The artifact store of a placement. What it names by its place counts, whatever kind it says beside that."""
    kind = ArtifactStoreKind.S3 if inputs.placement.artifacts else inputs.placement.artifact_store
    return ARTIFACT_STORES[kind](inputs)


def _postgres(inputs: StoreInputs) -> BackendStore:
    """Without a database, as where the class offers none any more, the server is refused: only looked at, never built."""
    database = inputs.placement.database
    return postgres_backend(inputs, database) if database else sqlite_backend(inputs)


def _s3(inputs: StoreInputs) -> ArtifactStore:
    """Without a prefix, as where the class offers none any more, the server is refused: only looked at, never built."""
    place = inputs.placement.artifacts
    return s3_artifacts(inputs, place) if place else volume_artifacts(inputs)


BACKEND_STORES: Final[dict[BackendStoreKind, Callable[[StoreInputs], BackendStore]]] = {
    BackendStoreKind.POSTGRES: _postgres,
    BackendStoreKind.SQLITE: sqlite_backend,
    BackendStoreKind.EXTERNAL: external_backend,
}

ARTIFACT_STORES: Final[dict[ArtifactStoreKind, Callable[[StoreInputs], ArtifactStore]]] = {
    ArtifactStoreKind.S3: _s3,
    ArtifactStoreKind.VOLUME: volume_artifacts,
    ArtifactStoreKind.EXTERNAL: external_artifacts,
}
