"""A database of the server's own on its class's PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from tracking_operator.api.placement import DatabasePlacement
from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    BackendParts,
    BackendStore,
    Evidence,
    FoundBy,
    StoreMount,
)
from tracking_operator.resources.stores.paths import BACKEND_STORE_CREDENTIALS

SERVICE_FILE: Final = f"{BACKEND_STORE_CREDENTIALS}/pg_service.conf"
DATABASE_URI: Final = "postgresql+psycopg2:///?service=mlflow"
"""No password in it: libpq reads the rest from the service file, anew for each connection."""

PG_OPTIONS: Final = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
"""The defaults of the server's role would cancel a long migration, and the wait for the lock."""


@dataclass(frozen=True)
class PostgresBackend(BackendStore):
    """A database and roles of the server's own on the class's PostgreSQL."""

    is_managed: ClassVar[bool] = True

    host: str
    port: int
    database: str
    secret: str
    """The Secret that the operator writes: a service file, and the CA where the class names one."""
    ssl_mode: SslMode
    has_own_ca: bool
    """Whether the CA comes from the class; if not, the CAs of the image count."""
    connection_limit: int
    most_databases: int
    """How many databases the server's namespace may have there, with those of deleted servers."""

    def evidence(self) -> Evidence:
        """The operator is logged in there itself."""
        return Evidence(
            FoundBy.STEP,
            awaited="PostgreSQL",
            place=f"Database {self.database} on {self.host}:{self.port}",
        )

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """The class's server."""
        return (Endpoint(self.host, self.port),)

    def pod_parts(self) -> BackendParts:
        """A service file: libpq reads it for each connection, so that pods need not be made anew for a new login."""
        source = {"secret": {"secretName": self.secret}}
        return BackendParts(
            program_arguments=("postgres", SERVICE_FILE),
            server_arguments=(f"--backend-store-uri={DATABASE_URI}",),
            variables={"PGSERVICEFILE": SERVICE_FILE},
            mounts=(StoreMount("backend-store-credentials", BACKEND_STORE_CREDENTIALS, source),),
            connection_limit=self.connection_limit,
            migration_variables={"PGOPTIONS": PG_OPTIONS},
        )


def beside(
    store: BackendStore, *, database: str, secret: str, connection_limit: int
) -> PostgresBackend | None:
    """Another database on the PostgreSQL of a server's own; None where the server has none there."""
    if not isinstance(store, PostgresBackend):
        return None
    return replace(store, database=database, secret=secret, connection_limit=connection_limit)


def postgres_backend(inputs: StoreInputs, database: DatabasePlacement) -> PostgresBackend:
    """The database that the server was given."""
    class_store = inputs.class_spec.postgres
    return PostgresBackend(
        host=database.host,
        port=database.port,
        database=database.name,
        secret=inputs.names.database,
        ssl_mode=class_store.ssl_mode if class_store else SslMode.VERIFY_FULL,
        has_own_ca=bool(class_store and class_store.ca_config_map_ref),
        connection_limit=inputs.connection_limit,
        most_databases=inputs.class_spec.most_databases,
    )
