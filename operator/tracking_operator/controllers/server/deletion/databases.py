"""What becomes of a server's own database when the server is deleted."""

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.placement import DatabasePlacement, Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import PostgresStoreSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.database.databases import Databases
from tracking_operator.controllers.server.deletion.finalize_store import StoreFinalization
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.postgres_admin import Access, PostgresAdmin
from tracking_operator.failures import Invalid
from tracking_operator.kube.events import EventRecorder
from tracking_operator.resources.server_model import ServerModel


class DatabaseFinalization(StoreFinalization[DatabasePlacement, PostgresStoreSpec, Access]):
    """Retains or drops the databases of servers that are being deleted."""

    type = ConditionType.BACKEND_STORE_READY
    data = "the server's database"
    entrance = "the logins of the server's database"
    store = "PostgreSQL"

    def __init__(self, databases: Databases, postgres: PostgresAdmin, events: EventRecorder) -> None:
        super().__init__(postgres, events)
        self._databases = databases

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
        self,
        resource: TrackingServer,
        place: DatabasePlacement,
        chosen: ChosenClass,
        access: Access,
        server: ServerModel | None,
    ) -> ConditionResult | None:
        await self._databases.drop(self._databases.tenant_of(resource.metadata, place), access)
        return None

    async def _retain(
        self, resource: TrackingServer, place: DatabasePlacement, chosen: ChosenClass, access: Access
    ) -> None:
        await self._databases.retain(self._databases.tenant_of(resource.metadata, place), access)
