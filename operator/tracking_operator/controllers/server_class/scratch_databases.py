"""Databases that are there for the trial of a backup only: beside those of servers, marked as the backup's, and dropped afterwards."""

from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.api.tracking_server_class import PostgresStoreSpec, TrackingServerClass
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres import finalize, provision
from tracking_operator.stores.postgres.tenant import Desired, Tenant

CONNECTION_LIMIT: Final = 10


def scratch_owner(backup: str) -> str:
    """What stands for a backup in the mark of its database: no server is called like that."""
    return f"backups/{backup}"


def scratch_name(uid: str) -> str:
    """What the database is called, by the UID of the backup: no template has to keep it from names of servers."""
    return f"trial_{uid.replace('-', '')}"


class ScratchDatabases:
    """Makes them and drops them."""

    def __init__(self, cache: ObjectCache, postgres: PostgresAdmin, cluster_name: str) -> None:
        self._cache = cache
        self._postgres = postgres
        self._cluster_name = cluster_name

    async def make(
        self, backup: TrackingServerBackup, namespace_uid: str, store: PostgresBackend, password: str
    ) -> tuple[str, str | None]:
        """Make the database where the server's own is; return its login, and the CA of its server. Raises Failure."""
        tenant = self._tenant(backup, namespace_uid)
        access = await self._access(backup, store.host, store.port)
        # One more than servers may have: a namespace that has all of them can try a backup out, too.
        most = store.most_databases + 1
        desired = Desired(tenant, tenant.logins[0], password, CONNECTION_LIMIT)
        await self._postgres.executor.run_for(
            backup.metadata.namespace, access.server, make_database, access, desired, most
        )
        return tenant.logins[0], access.server.ca_certificates

    async def drop(self, backup: TrackingServerBackup, namespace_uid: str) -> None:
        """Drop the database and its roles. Raises Failure; calling again goes on from what is left."""
        access = await self._access(backup)
        tenant = self._tenant(backup, namespace_uid)
        await self._postgres.executor.run_for(
            backup.metadata.namespace, access.server, drop_database, access, tenant
        )

    def _tenant(self, backup: TrackingServerBackup, namespace_uid: str) -> Tenant:
        metadata = backup.metadata
        mark = Mark(
            self._cluster_name,
            metadata.namespace,
            scratch_owner(metadata.name),
            metadata.uid,
            namespace_uid,
        )
        return Tenant.named(scratch_name(metadata.uid), mark)

    async def _access(
        self, backup: TrackingServerBackup, host: str | None = None, port: int | None = None
    ) -> AdminConnection:
        """The PostgreSQL of the class that the backup is of. Raises Failure."""
        class_name = backup.status.class_name or ""
        class_store = self._class_store(class_name)
        if class_store is None or (host is not None and (class_store.host, class_store.port) != (host, port)):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"Class {class_name!r} is gone, or does not name the PostgreSQL any more where the server's database is: ask the "
                "platform team to have it do so again.",
            )
        return await self._postgres.access(class_name, class_store)

    def _class_store(self, class_name: str) -> PostgresStoreSpec | None:
        live = self._cache.get(TRACKING_SERVER_CLASS, None, class_name)
        found = self._cache.read_once(live, _class) if live else None
        return found.spec.postgres if found else None


def make_database(access: AdminConnection, desired: Desired, most: int) -> None:
    """Make the database, with this password, if its namespace has fewer than so many. Raises Failure."""
    with access.sessions() as sessions:
        # Another attempt has another password.
        provision.provision(sessions, replace(desired, set_password=True), most_databases=most)


def drop_database(access: AdminConnection, tenant: Tenant) -> None:
    """Drop the database and its roles, if they are there. Raises Failure."""
    with access.sessions() as sessions:
        finalize.drop(sessions, tenant)


def _class(live: KubeObject) -> TrackingServerClass | None:
    try:
        return TrackingServerClass.model_validate(live)
    except ValidationError:
        return None
