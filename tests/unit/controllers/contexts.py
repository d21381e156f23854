"""One reconcile of an example server, for tests of single steps."""

from datetime import UTC, datetime

from tests.unit.examples import Manifest, plan_of, server
from tracking_operator.controllers.server.address.claims import AddressMemory
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.plan import Plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_memory() -> ServerMemory:
    """What is remembered of the server `team-a/mlflow`: nothing yet."""
    metadata = server().metadata
    return ServerMemory(metadata.namespace, metadata.name, metadata.uid, AddressMemory())


def a_context(spec: Manifest | None = None, plan: Plan | None = None) -> ReconcileContext:
    """A reconcile of the server `team-a/mlflow` that has been planned."""
    resource = server(spec)
    context = ReconcileContext({}, resource, a_memory(), NOW)
    context.plan = plan or plan_of(resource)
    return context
