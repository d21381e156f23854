"""The Jobs that copy what a server has in both its stores: one to a backup, one from a backup into a new server."""

from dataclasses import dataclass
from typing import Final

from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.pod_tools.programs import BACK_UP, BACKUP_FOLDER, RESTORE_BACKUP
from tracking_operator.resources.labels import BACKUP_COMPONENT, RESTORE_COMPONENT, TRIAL_COMPONENT
from tracking_operator.resources.pod.job import Task, build_job
from tracking_operator.resources.pod.server_pod import both_stores_container, both_stores_volumes
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.stores.interface import StoreMount
from tracking_operator.resources.stores.paths import CREDENTIALS as CREDENTIALS_PATH

FOLDER_ANNOTATION: Final = f"{GROUP}/backup-folder"
"""Where the pod stores the backup: a Job for another folder is another one."""

BACKUP_CONTAINER: Final = "back-up"
RESTORE_CONTAINER: Final = "restore-backup"

RETRIES_OF_BACKUP: Final = 0
"""What a pod has stored is not replaced by another one: another attempt is another Job, with another folder."""
RETRIES_OF_RESTORE: Final = 3


@dataclass(frozen=True)
class _Copy:
    """One of the two Jobs. Its Secret with URLs is called like it."""

    name: str
    component: str
    container: str
    program: str
    retries: int


def build_backup_job(server: ServerModel, folder: str, *, with_artifacts: bool) -> KubeObject:
    """Build the Job that stores a backup in ``folder``; it does not try again."""
    place = server.artifact_store.pod_parts().deletion_job_arguments if with_artifacts else ()
    copy = _Copy(server.names.backup, BACKUP_COMPONENT, BACKUP_CONTAINER, BACK_UP, RETRIES_OF_BACKUP)
    job = _build(server, copy, (f"--artifact-root={server.artifact_root}", *place))
    job["spec"]["template"]["metadata"]["annotations"] |= {FOLDER_ANNOTATION: folder}
    # A pod that a node's end takes along counts, too: another one would find its objects in the way.
    del job["spec"]["podFailurePolicy"]
    return job


def build_restore_job(server: ServerModel, manifest_sha256: str) -> KubeObject:
    """Build the Job that fills a new server's stores; it may run again at any time."""
    place = server.artifact_store.pod_parts().deletion_job_arguments
    copy = _Copy(
        server.names.restore, RESTORE_COMPONENT, RESTORE_CONTAINER, RESTORE_BACKUP, RETRIES_OF_RESTORE
    )
    arguments = (f"--manifest-sha256={manifest_sha256}", f"--artifact-root={server.artifact_root}", *place)
    return _build(server, copy, arguments)


def build_trial_job(server: ServerModel, manifest_sha256: str) -> KubeObject:
    """Build the Job that restores a backup for a trial, into the database that ``server`` has here; no artifact is stored."""
    place = server.artifact_store.pod_parts().deletion_job_arguments
    copy = _Copy(server.names.trial, TRIAL_COMPONENT, RESTORE_CONTAINER, RESTORE_BACKUP, RETRIES_OF_RESTORE)
    arguments = (
        "--trial",
        f"--manifest-sha256={manifest_sha256}",
        f"--artifact-root={server.artifact_root}",
        *place,
    )
    return _build(server, copy, arguments)


def _build(server: ServerModel, copy: _Copy, arguments: tuple[str, ...]) -> KubeObject:
    urls = StoreMount(
        "backup-urls", f"{CREDENTIALS_PATH}/{BACKUP_FOLDER}", {"secret": {"secretName": copy.name}}
    )
    return build_job(
        server,
        Task(
            name=copy.name,
            component=copy.component,
            container=both_stores_container(server, copy.container, copy.program, arguments, urls),
            volumes=both_stores_volumes(server, urls),
            retries=copy.retries,
        ),
    )
