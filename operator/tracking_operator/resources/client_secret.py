"""The Secret that a client pod takes by ``envFrom``: its login, and its keys where it reaches the object store itself."""

from tracking_operator.resources.artifacts_secret import ArtifactKeys
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.labels import CLIENT_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_client_secret(
    server: ServerModel, keys: ArtifactKeys | None, credentials: LoginCredentials | None = None
) -> KubeObject | None:
    """Build ``NAME-client``; None where clients need nothing, or while something that they need is not known."""
    contents: dict[str, str] = {}
    if _hands_out_keys(server):
        if keys is None:
            return None
        contents |= {"AWS_ACCESS_KEY_ID": keys.access_key_id, "AWS_SECRET_ACCESS_KEY": keys.secret_access_key}
    if server.login is not None:
        if credentials is None:
            return None
        contents |= {
            "MLFLOW_TRACKING_USERNAME": credentials.user,
            "MLFLOW_TRACKING_PASSWORD": credentials.user_password,
        }
    if not contents:
        return None
    return watched_secret(owned_metadata(server, server.names.client, CLIENT_COMPONENT), contents)


def has_client_secret(server: ServerModel) -> bool:
    """Whether clients need something that only they may know."""
    return server.login is not None or _hands_out_keys(server)


def _hands_out_keys(server: ServerModel) -> bool:
    """Whether clients reach the store themselves, with the keys that the operator makes."""
    return not server.proxied and server.artifact_store.client_parts().get_keys
