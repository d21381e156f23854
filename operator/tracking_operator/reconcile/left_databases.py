"""What becomes of a server's own database when the server is deleted, whether PostgreSQL answers or not."""

import asyncio
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.decision import DecidedDatabase
from tracking_operator.api.marks import FORCE_ORPHAN_ANNOTATION
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.databases import Databases
from tracking_operator.reconcile.decide import recorded_decision
from tracking_operator.reconcile.findings import Finding, Verdict
from tracking_operator.reconcile.postgres_servers import Access, PostgresServers

SECONDS_TO_RETAIN: Final = 5.0
"""A namespace that is being deleted must not hang because a PostgreSQL does."""


class LeftDatabases:
    """Retains or drops the databases of servers that are being deleted."""

    def __init__(self, databases: Databases, postgres: PostgresServers, events: EventRecorder) -> None:
        self._databases = databases
        self._postgres = postgres
        self._events = events

    async def leave(
        self, live: KubeObject, resource: TrackingServer, chosen: ChosenClass, policy: DeletionPolicy
    ) -> Finding | None:
        """Drop the server's database, or take its logins away; return what stands in the way of letting it go."""
        try:
            database = _own_database(resource)
            if database is None:
                return None
            async with asyncio.timeout(None if policy is DeletionPolicy.DELETE else SECONDS_TO_RETAIN):
                access = await self._access(chosen, database)
                tenant = self._databases.tenant_of(resource.metadata, database)
                if policy is DeletionPolicy.DELETE:
                    await self._databases.drop(tenant, access)
                else:
                    await self._databases.retain(tenant, access)
        except TimeoutError:
            why = f"PostgreSQL did not answer within {SECONDS_TO_RETAIN:g} s."
            return self._give_up(live, resource, chosen, policy, why)
        except Failure as failure:
            return self._give_up(live, resource, chosen, policy, failure.message)
        return None

    async def _access(self, chosen: ChosenClass, database: DecidedDatabase) -> Access:
        offer = chosen.spec.postgres
        if offer is None or (offer.host, offer.port) != (database.host, database.port):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"The {chosen.title} is gone, or does not name PostgreSQL at {database.host}:{database.port} any more, where "
                f"database {database.name} is.",
            )
        return await self._postgres.access(chosen.name, offer)

    def _give_up(
        self,
        live: KubeObject,
        resource: TrackingServer,
        chosen: ChosenClass,
        policy: DeletionPolicy,
        why: str,
    ) -> Finding | None:
        """Say what became of a database that was out of reach: only ``Delete`` waits, unless told not to."""
        if policy is DeletionPolicy.DELETE and not resource.may_be_orphaned:
            message = f"The server's database could not be deleted yet: {why} It is tried again and again{_way_out(resource)}."
            type_ = ConditionType.BACKEND_STORE_READY
            return Finding(type_, Verdict.FAILING, Reason.DELETION_BLOCKED, message)
        what = (
            "The server's database is left behind, as its annotation asks"
            if policy is DeletionPolicy.DELETE
            else "The logins of the server's database stay until the operator looks at the class again"
        )
        self._postgres.leave_behind(chosen.name, resource.metadata.uid)
        self._events.record(live, "Warning", Reason.DELETION_BLOCKED.value, f"{what}: {why}")
        return None


def _way_out(resource: TrackingServer) -> str:
    """What else can be done; nothing for a server that is gone already."""
    if not resource.metadata.is_being_deleted:
        return ""
    return (
        "; to let the server go and leave the database behind, "
        f'set its annotation {FORCE_ORPHAN_ANNOTATION} to "true"'
    )


def _own_database(resource: TrackingServer) -> DecidedDatabase | None:
    decision = recorded_decision(resource)
    return decision.database if decision else None
