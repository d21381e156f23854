"""The Job that removes what a team has deleted long ago from the server's own database and prefix."""

from typing import Final

from tracking_operator.pod_tools.programs import COLLECT_GARBAGE
from tracking_operator.resources.labels import GARBAGE_COMPONENT
from tracking_operator.resources.pod.job import Task, build_job
from tracking_operator.resources.pod.server_pod import both_stores_container, both_stores_volumes
from tracking_operator.resources.server_model import GarbageCollection, KubeObject, ServerModel

GARBAGE_CONTAINER: Final = "collect-garbage"
RETRIES: Final = 3


def build_garbage_job(server: ServerModel, garbage: GarbageCollection, *, is_dry_run: bool) -> KubeObject:
    """Build the Job, with the server's own login and identity. It goes on from where another attempt ended."""
    arguments = [
        f"--artifact-root={server.artifact_root}",
        *server.artifact_store.pod_parts().deletion_job_arguments,
        f"--older-than-hours={garbage.older_than_hours}",
        *(["--keep-registered"] if garbage.keeps_registered else []),
        *(["--dry-run"] if is_dry_run else []),
    ]
    return build_job(
        server,
        Task(
            name=server.names.collect_garbage,
            component=GARBAGE_COMPONENT,
            container=both_stores_container(server, GARBAGE_CONTAINER, COLLECT_GARBAGE, arguments),
            volumes=both_stores_volumes(server),
            retries=RETRIES,
        ),
    )
