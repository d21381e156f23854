"""A server's own database as a store that the operator makes: what the loops ask, answered for PostgreSQL."""

from collections.abc import Sequence

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import Reason
from tracking_operator.api.placement import BackendStoreKind, DatabasePlacement, Placement
from tracking_operator.api.tracking_server_class import PostgresStoreSpec, TrackingServerClassSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.database.database_work import DatabaseMemory, WantedDatabase
from tracking_operator.controllers.server.database.databases import Databases, DatabaseState
from tracking_operator.controllers.server.managed_stores.interface import BACKEND, Deletion
from tracking_operator.controllers.server.managed_stores.store_of_server import StoreOfServer, Words
from tracking_operator.controllers.server.revocation import is_due
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import Invalid
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import uid_of
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.tenant import Tenant


class DatabaseStore(
    StoreOfServer[PostgresBackend, DatabasePlacement, PostgresStoreSpec, AdminConnection, DatabaseState]
):
    """The databases of servers on the PostgreSQL of their classes."""

    role = BACKEND
    kind = BackendStoreKind.POSTGRES
    words = Words(
        store="PostgreSQL",
        data="the server's database",
        entrance="the logins of the server's database",
        marked="databases of the class's PostgreSQL",
    )

    def __init__(
        self, databases: Databases, postgres: PostgresAdmin, marks: OwnerMarks, events: EventRecorder
    ) -> None:
        super().__init__(PostgresBackend, postgres, marks, events)
        self._databases = databases
        self._postgres = postgres

    def _class_store(self, spec: TrackingServerClassSpec) -> PostgresStoreSpec | None:
        return spec.postgres

    def _place(self, placement: Placement) -> DatabasePlacement | None:
        return placement.database

    def _class_store_of(self, chosen: ChosenClass, place: DatabasePlacement) -> PostgresStoreSpec:
        class_store = chosen.spec.postgres
        if class_store is None or (class_store.host, class_store.port) != (place.host, place.port):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"The {chosen.title} is gone, or does not name PostgreSQL at {place.host}:{place.port} any more, where "
                f"database {place.name} is.",
            )
        return class_store

    async def _marked(self, access: AdminConnection, mark: Mark) -> Sequence[str]:
        return await self._postgres.databases_of(access, mark)

    async def _ensure(
        self,
        context: ReconcileContext,
        store: PostgresBackend,
        class_store: PostgresStoreSpec,
        access: AdminConnection,
        mark: Mark,
    ) -> DatabaseState:
        return await self._databases.ensure(
            context.plan.model,
            store,
            access,
            self._wanted(context, class_store),
            mark=mark,
            memory=context.memory.stores.of(DatabaseMemory),
        )

    async def _measure(
        self, context: ReconcileContext, store: PostgresBackend, access: AdminConnection, mark: Mark
    ) -> Measured:
        tenant = Tenant.named(store.database, mark)
        return await self._databases.measure(tenant, access, context.memory.stores.of(DatabaseMemory))

    def _wanted(self, context: ReconcileContext, class_store: PostgresStoreSpec) -> WantedDatabase:
        resource, migration = context.resource, context.migration
        return WantedDatabase(
            rotation=resource.asked_rotation,
            rotate_every=seconds_in(class_store.rotate_every) if class_store.rotate_every else None,
            deadline=seconds_in(context.plan.chosen.spec.rotation.deadline),
            must_exist=resource.status.schema_revision is not None and not resource.allows_empty_store,
            is_revoked=is_due(resource, self.role.part),
            migrated_by=uid_of(migration.job) or "" if migration and migration.is_done else "",
        )

    async def _delete(
        self, deletion: Deletion, place: DatabasePlacement, access: AdminConnection
    ) -> ConditionResult | None:
        await self._databases.drop(self._tenant(deletion, place), access)
        return None

    async def _retain(
        self, deletion: Deletion, place: DatabasePlacement, reaching: ChosenClass, access: AdminConnection
    ) -> None:
        await self._databases.retain(self._tenant(deletion, place), access)

    def _tenant(self, deletion: Deletion, place: DatabasePlacement) -> Tenant:
        """What the server owns in PostgreSQL. Raises Failure: the database's name cannot be used, or nobody knows the mark."""
        return Tenant.named(place.name, self._mark(deletion))
