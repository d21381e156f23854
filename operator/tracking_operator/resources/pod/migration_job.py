"""The Job that brings a database schema up to the MLflow version of a server, before its pods start."""

from tracking_operator.pod_tools.programs import MIGRATE_BACKEND_STORE
from tracking_operator.resources.labels import MIGRATION_COMPONENT
from tracking_operator.resources.pod.job import Task, build_job
from tracking_operator.resources.pod.server_pod import backend_store_container, backend_store_volumes
from tracking_operator.resources.server_model import KubeObject, ServerModel

MIGRATE_CONTAINER = "migrate"

RETRIES = 6


def build_migration_job(server: ServerModel) -> KubeObject:
    """Build the Job. It may run again at any time: what is done already is not done twice."""
    variables = server.backend_store.pod_parts().migration_variables
    container = backend_store_container(server, MIGRATE_CONTAINER, MIGRATE_BACKEND_STORE, variables)
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
