"""The Secret that a client pod takes by ``envFrom``: its login, and its keys where it reaches the object store itself."""

from dataclasses import dataclass, field
from typing import Final

from tracking_operator.resources.artifacts_secret import ArtifactKeys
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.labels import CLIENT_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import text_in, watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel

USERNAME_KEY: Final = "MLFLOW_TRACKING_USERNAME"
PASSWORD_KEY: Final = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - the name of a key


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
            USERNAME_KEY: credentials.user,
            PASSWORD_KEY: credentials.user_password,
        }
    if not contents:
        return None
    return watched_secret(owned_metadata(server, server.names.client, CLIENT_COMPONENT), contents)


@dataclass(frozen=True)
class ClientLogin:
    """With what clients log in."""

    username: str
    password: str = field(repr=False)


def client_login_in(secret: KubeObject | None) -> ClientLogin | None:
    """Read the login that ``build_client_secret`` wrote; None if there is none, or none that can be used."""
    if secret is None:
        return None
    try:
        username, password = text_in(secret, USERNAME_KEY), text_in(secret, PASSWORD_KEY)
    except ValueError:
        return None
    return ClientLogin(username, password) if username and password else None


def has_client_secret(server: ServerModel) -> bool:
    """Whether clients need something that only they may know."""
    return server.login is not None or _hands_out_keys(server)


def _hands_out_keys(server: ServerModel) -> bool:
    """Whether clients reach the store themselves, with the keys that the operator makes."""
    return not server.proxied and server.artifact_store.client_parts().get_keys
