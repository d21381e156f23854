"""A SQLite file on a volume of the server's own."""

from dataclasses import dataclass
from typing import Final

from tracking_operator.api.tracking_server import SqliteStore
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    BackendParts,
    BackendStore,
    Evidence,
    FoundBy,
    StoreMount,
    Volume,
)
from tracking_operator.resources.stores.paths import BACKEND_STORE

DATABASE_FILE: Final = f"{BACKEND_STORE}/mlflow.db"


@dataclass(frozen=True)
class SqliteBackend(BackendStore):
    """A SQLite file on a volume."""

    volume: Volume

    def evidence(self) -> Evidence:
        """The claim."""
        return Evidence(FoundBy.VOLUME_CLAIM)

    def claims(self) -> tuple[Volume, ...]:
        """The volume with the file."""
        return (self.volume,)

    def pod_parts(self) -> BackendParts:
        """The file. Only the one pod that has the volume can migrate it."""
        source = {"persistentVolumeClaim": {"claimName": self.volume.claim}}
        return BackendParts(
            program_arguments=("sqlite", DATABASE_FILE),
            server_arguments=(f"--backend-store-uri=sqlite:///{DATABASE_FILE}",),
            mounts=(StoreMount("backend-store", BACKEND_STORE, source, read_only=False),),
            needs_migration_job=False,
        )


def sqlite_backend(inputs: StoreInputs) -> SqliteBackend:
    """The file of a server, on a volume as the team asks for it."""
    asked = inputs.server.spec.backend_store.sqlite or SqliteStore()
    usual = inputs.class_spec.defaults.volumes.backend_store
    is_asked = "size" in asked.model_fields_set
    return SqliteBackend(
        Volume(
            inputs.names.backend_store,
            asked.size if is_asked else usual.size or asked.size,
            asked.storage_class_name or usual.storage_class_name,
            field="spec.backendStore.sqlite.size",
            size_is_asked=is_asked,
        )
    )
