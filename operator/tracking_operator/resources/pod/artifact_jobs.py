"""The Jobs that touch a server's prefix with its own identity: one tries it out, one empties it."""

from tracking_operator.pod_tools.programs import CHECK_ARTIFACT_STORE, DELETE_ARTIFACTS
from tracking_operator.resources.labels import ARTIFACT_CHECK_COMPONENT, ARTIFACT_DELETION_COMPONENT
from tracking_operator.resources.pod.job import Task, build_job
from tracking_operator.resources.pod.server_pod import (
    CHECK_ARTIFACTS_CONTAINER,
    artifact_store_container,
    artifact_store_volumes,
)
from tracking_operator.resources.server_model import KubeObject, ServerModel

DELETE_ARTIFACTS_CONTAINER = "delete-artifacts"

RETRIES = 3
"""Each pause is twice as long as the one before. Few, so that what somebody has mended is noticed within a minute."""


def build_artifact_check_job(server: ServerModel) -> KubeObject:
    """Build the Job that tries out what the server's identity may do within its prefix, and what beyond."""
    arguments = _required(server, server.artifact_store.pod_parts().check_job_arguments)
    return build_job(
        server,
        Task(
            name=server.names.check_artifacts,
            component=ARTIFACT_CHECK_COMPONENT,
            container=artifact_store_container(
                server, CHECK_ARTIFACTS_CONTAINER, CHECK_ARTIFACT_STORE, arguments
            ),
            volumes=artifact_store_volumes(server),
            retries=RETRIES,
        ),
    )


def build_artifact_deletion_job(server: ServerModel) -> KubeObject:
    """Build the Job that removes all that lies under the server's prefix. It goes on from where another one ended."""
    arguments = _required(server, server.artifact_store.pod_parts().deletion_job_arguments)
    return build_job(
        server,
        Task(
            name=server.names.delete_artifacts,
            component=ARTIFACT_DELETION_COMPONENT,
            container=artifact_store_container(
                server, DELETE_ARTIFACTS_CONTAINER, DELETE_ARTIFACTS, arguments
            ),
            volumes=artifact_store_volumes(server),
            retries=RETRIES,
        ),
    )


def _required(server: ServerModel, arguments: tuple[str, ...]) -> tuple[str, ...]:
    if not arguments:
        raise TypeError(f"{server.namespace}/{server.name} has no prefix of its own that such a Job goes to")
    return arguments
