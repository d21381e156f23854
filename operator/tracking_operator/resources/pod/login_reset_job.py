"""The Job that gives MLflow's admin the password of the Secret, where MLflow knows none of those in it."""

from typing import Final

from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.pod_tools.programs import RESET_LOGIN
from tracking_operator.resources.labels import MIGRATION_COMPONENT, pod_selector
from tracking_operator.resources.pod.job import Task, build_job
from tracking_operator.resources.pod.server_pod import backend_store_container, backend_store_volumes
from tracking_operator.resources.server_model import KubeObject, ServerModel

RESET_CONTAINER: Final = "reset-login"
RETRIES: Final = 3

SECRET_VERSION_ANNOTATION: Final = f"{GROUP}/login-secret-version"
"""Of which version of the Secret the Job is about: another one needs another Job."""


def build_login_reset_job(server: ServerModel, secret_version: int) -> KubeObject:
    """Build the Job. Its pods go where those of migrations may, and on a volume of one node to the pod that serves."""
    job = build_job(
        server,
        Task(
            name=server.names.reset_login,
            component=MIGRATION_COMPONENT,
            container=backend_store_container(server, RESET_CONTAINER, RESET_LOGIN),
            volumes=backend_store_volumes(server),
            retries=RETRIES,
        ),
    )
    template = job["spec"]["template"]
    template["metadata"]["annotations"] |= {SECRET_VERSION_ANNOTATION: str(secret_version)}
    if not server.is_probed:
        # That it succeeded is all that is known of the login: it stays as the record of that.
        del job["spec"]["ttlSecondsAfterFinished"]
    if server.backend_store.claims():
        template["spec"]["affinity"] = _beside_the_server(server)
    return job


def _beside_the_server(server: ServerModel) -> KubeObject:
    """A volume may be of one node only, and the locks of SQLite hold between processes of one node."""
    term = {
        "labelSelector": {"matchLabels": pod_selector(server.name)},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
