"""The ConfigMaps of a server: the scripts that its pods run, and the settings that its clients read."""

from functools import cache
from importlib.resources import files

from tracking_operator.resources.artifact_environment import connection_environment
from tracking_operator.resources.labels import CLIENT_COMPONENT, SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, S3Artifacts, ServerModel

FIRST_SCRIPT = "in_clean_environment.py"
CHECK_SCRIPT = "check_backend_store.py"
MIGRATE_SCRIPT = "migrate_backend_store.py"
PREPARE_LOGIN_SCRIPT = "prepare_login.py"
MOVE_ENCRYPTION_SCRIPT = "move_encryption.py"
START_SCRIPT = "start_server.py"
CHECK_ARTIFACTS_SCRIPT = "check_artifact_store.py"
DELETE_ARTIFACTS_SCRIPT = "delete_artifacts.py"
S3_MODULE = "s3.py"
PLUGIN_MODULE = "artifacts_through_server.py"
LOCAL_ROUTES_MODULE = "without_local_routes.py"
SCRIPTS = (
    FIRST_SCRIPT,
    CHECK_SCRIPT,
    MIGRATE_SCRIPT,
    PREPARE_LOGIN_SCRIPT,
    MOVE_ENCRYPTION_SCRIPT,
    START_SCRIPT,
    CHECK_ARTIFACTS_SCRIPT,
    DELETE_ARTIFACTS_SCRIPT,
    S3_MODULE,
    PLUGIN_MODULE,
    LOCAL_ROUTES_MODULE,
)


def build_check_config_map(server: ServerModel) -> KubeObject:
    """Build the ConfigMap that brings our scripts into any MLflow image.

    Pods read it when they start; its content is not part of the pod template's digest, so that a new
    release of the operator rolls nobody.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned_metadata(server, server.names.check, SERVER_COMPONENT),
        "data": {name: _script(name) for name in SCRIPTS},
    }


def build_client_config_map(server: ServerModel) -> KubeObject:
    """Build what a client pod in the same namespace takes by ``envFrom``: no secrets.

    Clients that reach the object store themselves are told where it is. A CA is not among it: an environment holds no file.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned_metadata(server, server.names.client, CLIENT_COMPONENT),
        "data": {"MLFLOW_TRACKING_URI": server.service_url} | _artifact_settings(server),
    }


def _artifact_settings(server: ServerModel) -> dict[str, str]:
    store = server.artifact_store
    return connection_environment(store) if isinstance(store, S3Artifacts) and not server.proxied else {}


@cache
def _script(name: str) -> str:
    return (files("tracking_operator") / "pod_tools" / name).read_text()
