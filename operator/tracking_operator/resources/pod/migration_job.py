"""The Job that brings a database schema up to the MLflow version of a server, before its pods start."""

from tracking_operator.pod_tools.programs import MIGRATE_BACKEND_STORE
from tracking_operator.resources.labels import MIGRATION_COMPONENT
from tracking_operator.resources.pod.job import Task, build_job
from tracking_operator.resources.pod.server_pod import backend_store_container, backend_store_volumes
from tracking_operator.resources.server_model import KubeObject, PostgresBackend, ServerModel

MIGRATE_CONTAINER = "migrate"

RETRIES = 6

PG_OPTIONS = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
"""The defaults of the server's role would cancel a long migration, and the wait for the lock."""


def build_migration_job(server: ServerModel) -> KubeObject:
    """Build the Job. It may run again at any time: what is done already is not done twice."""
    is_own = isinstance(server.backend_store, PostgresBackend)
    # A pooler before somebody else's would refuse the options.
    options = {"PGOPTIONS": PG_OPTIONS} if is_own else {}
    container = backend_store_container(server, MIGRATE_CONTAINER, MIGRATE_BACKEND_STORE, options)
    return build_job(
        server,
        Task(
            name=server.names.migration(server.version),
            component=MIGRATION_COMPONENT,
            container=container,
            volumes=backend_store_volumes(server),
            retries=RETRIES,
        ),
    )
