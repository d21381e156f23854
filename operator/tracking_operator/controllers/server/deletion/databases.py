"""What becomes of a server's own database when the server is deleted."""

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.placement import DatabasePlacement, Placement
from tracking_operator.api.tracking_server_class import PostgresStoreSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.database.databases import Databases
from tracking_operator.controllers.server.deletion.finalize_store import Deletion, StoreFinalization
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.postgres_admin import Access, PostgresAdmin
from tracking_operator.failures import Invalid
from tracking_operator.kube.events import EventRecorder
from tracking_operator.stores.postgres.tenant import Tenant


class DatabaseFinalization(StoreFinalization[DatabasePlacement, PostgresStoreSpec, Access]):
    """Retains or drops the databases of servers that are being deleted."""

    type = ConditionType.BACKEND_STORE_READY
    data = "the server's database"
    entrance = "the logins of the server's database"
    store = "PostgreSQL"

    def __init__(
        self, databases: Databases, postgres: PostgresAdmin, marks: OwnerMarks, events: EventRecorder
    ) -> None:
        super().__init__(postgres, events)
        self._databases = databases
        self._marks = marks

    def _place(self, placement: Placement) -> DatabasePlacement | None:
        return placement.database

    def _offer(self, chosen: ChosenClass, place: DatabasePlacement) -> PostgresStoreSpec:
        offer = chosen.spec.postgres
        if offer is None or (offer.host, offer.port) != (place.host, place.port):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"The {chosen.title} is gone, or does not name PostgreSQL at {place.host}:{place.port} any more, where "
                f"database {place.name} is.",
            )
        return offer

    async def _drop(
        self, deletion: Deletion, place: DatabasePlacement, access: Access
    ) -> ConditionResult | None:
        await self._databases.drop(self._tenant(deletion, place), access)
        return None

    async def _retain(
        self, deletion: Deletion, place: DatabasePlacement, reaching: ChosenClass, access: Access
    ) -> None:
        await self._databases.retain(self._tenant(deletion, place), access)

    def _tenant(self, deletion: Deletion, place: DatabasePlacement) -> Tenant:
        """What the server owns in PostgreSQL. Raises Failure: the database's name cannot be used, or nobody knows the mark."""
        metadata = deletion.resource.metadata
        mark = self._marks.of(metadata.namespace, metadata.name, metadata.uid, deletion.memory.of_namespace)
        return Tenant.named(place.name, mark)
