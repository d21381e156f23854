"""The PostgreSQL servers of the classes: how each is reached as its admin, and whether it can be used."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tracking_operator.api.tracking_server_class import PostgresStoreSpec
from tracking_operator.controllers.server_class.store_of_class import StoreOfClass
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer, Timeouts
from tracking_operator.stores.postgres.finalize import MarkedAccess, access_of_cluster, take_access
from tracking_operator.stores.postgres.kept_sessions import KeptSessions
from tracking_operator.stores.postgres.marked_databases import databases_of
from tracking_operator.stores.postgres.preflight import preflight
from tracking_operator.stores.postgres.sessions import Sessions

SECONDS_TO_ANSWER: Final = 8.0
PROBE_TIMEOUTS: Final = Timeouts(connect=3.0, statement=3.0)


@dataclass(frozen=True)
class AdminConnection:
    """A PostgreSQL server that can be used, and its admin.

    ``remarks`` say what could be safer there. They are for people: no server is verified again because they change, as they
    do with each server that is added.
    """

    server: PostgresServer
    admin: Login
    remarks: tuple[str, ...] = field(default=(), compare=False)
    kept: KeptSessions = field(default_factory=KeptSessions, compare=False, repr=False)

    def sessions(self) -> Sessions:
        """The admin's sessions for one piece of work."""
        return Sessions(self.server, self.admin, kept=self.kept)


class PostgresAdmin(StoreOfClass[PostgresStoreSpec, AdminConnection]):
    """The PostgreSQL servers of all classes."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, executor: StoreExecutor, own_namespace: str
    ) -> None:
        super().__init__(kube, cache, executor, own_namespace)
        self._kept = KeptSessions()

    async def databases_of(self, access: AdminConnection, mark: Mark) -> tuple[str, ...]:
        """The databases whose marks name exactly this server. Raises Failure."""
        return await self.executor.run_for(mark.namespace, access.server, _databases_of, access, mark)

    async def access_of_cluster(self, access: AdminConnection, cluster_name: str) -> tuple[MarkedAccess, ...]:
        """All by which servers of this cluster get in or are in, by their marks. Raises Failure."""
        return await self.executor.run_for_class(
            access.server, partial(_access_of_cluster, access, cluster_name)
        )

    async def take_access(self, access: AdminConnection, left: MarkedAccess) -> None:
        """Let nobody in any more by what one server has left, and end the sessions. Raises Failure."""
        await self.executor.run_for(left.mark.namespace, access.server, _take_access, access, left)

    async def _ask(
        self, class_store: PostgresStoreSpec, well: AdminConnection | None, *, fresh: bool
    ) -> AdminConnection:
        server = PostgresServer(
            host=class_store.host,
            port=class_store.port,
            maintenance_database=class_store.maintenance_database,
            ssl_mode=class_store.ssl_mode,
            ca_certificates=await self._objects.ca_certificates(
                class_store.ca_config_map_ref, "postgres.caConfigMapRef", fresh=fresh
            ),
        )
        admin = await self._admin(class_store, fresh=fresh)
        look = partial(_preflight, server, admin, allow_superuser=class_store.allow_superuser)
        remarks = await self.executor.run_for_class(server, look, seconds=SECONDS_TO_ANSWER)
        return AdminConnection(server, admin, remarks, self._kept)

    async def _admin(self, class_store: PostgresStoreSpec, *, fresh: bool) -> Login:
        reference = class_store.admin_secret_ref
        found = await self._objects.secret(
            reference, "postgres.adminSecretRef", "username", "password", fresh=fresh
        )
        source = f"Secret {self._objects.namespace}/{reference.name}"
        return Login(found["username"], found["password"], source)


def _access_of_cluster(access: AdminConnection, cluster_name: str) -> tuple[MarkedAccess, ...]:
    with access.sessions() as sessions:
        return access_of_cluster(sessions, cluster_name)


def _databases_of(access: AdminConnection, mark: Mark) -> tuple[str, ...]:
    with access.sessions() as sessions:
        return databases_of(sessions, mark)


def _take_access(access: AdminConnection, left: MarkedAccess) -> None:
    with access.sessions() as sessions:
        take_access(sessions, left)


def _preflight(server: PostgresServer, admin: Login, *, allow_superuser: bool) -> tuple[str, ...]:
    with Sessions(server, admin, PROBE_TIMEOUTS) as sessions:
        return preflight(sessions, allow_superuser=allow_superuser)
