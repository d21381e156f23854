"""The step that sees to a server's own database, and finds the one of a server whose placement was lost."""

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server_class import PostgresStoreSpec
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.database.databases import Databases, DatabaseState, Wanted
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.revocation import RevocationPart, is_due
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.spec.placement_from_marks import the_database
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.failures import Failure
from tracking_operator.kube.objects import uid_of
from tracking_operator.resources.stores.postgres import PostgresBackend


class DatabaseStep:
    """Makes what servers have on their class's PostgreSQL as it should be."""

    def __init__(self, databases: Databases, postgres: PostgresAdmin, marks: OwnerMarks) -> None:
        self._databases = databases
        self._postgres = postgres
        self._marks = marks

    async def find(self, plan: Plan, memory: ServerMemory) -> str | None:
        """The database that carries the server's mark; None if none does, or the server gets none. Raises Failure."""
        offer = plan.chosen.spec.postgres
        if offer is None or plan.placement.database is None:
            return None
        access = await self._postgres.access(plan.chosen.name, offer)
        mark = self._marks.of_server(plan.model, plan.chosen, memory.of_namespace)
        return the_database(await self._postgres.databases_of(access, mark))

    async def ensure(self, context: ReconcileContext) -> StepResult[DatabaseState | None]:
        """Make the server's own database as it should be; None if it has none, or PostgreSQL cannot be asked."""
        store, offer = context.plan.model.backend_store, context.plan.chosen.spec.postgres
        if not isinstance(store, PostgresBackend) or offer is None:
            return StepResult(None)
        try:
            state = await self._ensure(context, store, offer)
        except Failure as failure:
            return stopped_unwatched(failure, ConditionType.BACKEND_STORE_READY)
        return StepResult(state, requeue_after=state.requeue_after)

    async def _ensure(
        self, context: ReconcileContext, store: PostgresBackend, offer: PostgresStoreSpec
    ) -> DatabaseState:
        plan, memory = context.plan, context.memory
        access = await self._postgres.access(plan.chosen.name, offer)
        return await self._databases.ensure(
            plan.model,
            store,
            access,
            _wanted(context, offer),
            mark=self._marks.of_server(plan.model, plan.chosen, memory.of_namespace),
            memory=memory.database,
        )


def _wanted(context: ReconcileContext, offer: PostgresStoreSpec) -> Wanted:
    resource, migration = context.resource, context.migration
    return Wanted(
        rotation=resource.asked_rotation,
        rotate_every=seconds_in(offer.rotate_every) if offer.rotate_every else None,
        deadline=seconds_in(context.plan.chosen.spec.rotation.deadline),
        must_exist=resource.status.schema_revision is not None and not resource.allows_empty_store,
        is_revoked=is_due(resource, RevocationPart.BACKEND_STORE),
        migrated_by=uid_of(migration.job) or "" if migration and migration.is_done else "",
    )
