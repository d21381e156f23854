"""The Secret with the passwords of a server's own login: written here, read here. Generated once, and never rewritten.

Pods read three of its keys when they start (``start_server.py``): the admin's name and password, of which MLflow makes a user
once, and the key by which all replicas sign forms. Other passwords need no restart: MLflow has them in its database.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import (
    REVOKED_FOR_ANNOTATION,
    rotation_annotations,
    rotation_in,
    text_in,
    watched_secret,
)
from tracking_operator.resources.server_model import KubeObject, ServerModel

ADMIN: Final = "admin"
USER: Final = "team"
"""The ordinary user, with whose name and password the team's programs log in."""


@dataclass(frozen=True)
class LoginCredentials:
    """Who can log in to a server, by what the operator knows; and why and when the passwords were made."""

    admin: str
    admin_password: str = field(repr=False)
    user: str
    user_password: str = field(repr=False)
    secret_key: str = field(repr=False)
    rotated_for: str
    rotated_at: datetime
    next_admin_password: str = field(default="", repr=False)
    """The password that takes the place of the admin's, which MLflow may know already; empty while nothing rotates."""
    next_user_password: str = field(default="", repr=False)
    revoked_for: str = ""
    """The value of the annotation revoke-now for which passwords and the key to sign with were replaced last."""

    @property
    def is_rotating(self) -> bool:
        """Whether there are passwords that MLflow may know or not."""
        return bool(self.next_admin_password or self.next_user_password)

    def settled(self) -> "LoginCredentials":
        """These credentials, once MLflow knows the next passwords."""
        return replace(
            self,
            admin_password=self.next_admin_password or self.admin_password,
            user_password=self.next_user_password or self.user_password,
            next_admin_password="",
            next_user_password="",
        )


def build_auth_secret(server: ServerModel, credentials: LoginCredentials) -> KubeObject:
    """Build ``NAME-auth``."""
    contents = {
        "username": credentials.admin,
        "password": credentials.admin_password,
        "clientUsername": credentials.user,
        "clientPassword": credentials.user_password,
        "secretKey": credentials.secret_key,
        "nextPassword": credentials.next_admin_password,
        "nextClientPassword": credentials.next_user_password,
    }
    rotation = rotation_annotations(credentials.rotated_for, credentials.rotated_at)
    if credentials.revoked_for:
        rotation[REVOKED_FOR_ANNOTATION] = credentials.revoked_for
    metadata = owned_metadata(server, server.names.auth, SERVER_COMPONENT, rotation)
    return watched_secret(metadata, {key: text for key, text in contents.items() if text})


def login_credentials_in(secret: KubeObject | None, new: LoginCredentials) -> LoginCredentials:
    """Read what ``build_auth_secret`` wrote, or a person has changed; what is missing or unusable is taken from ``new``."""
    if secret is None:
        return new
    try:
        rotated_for, rotated_at = rotation_in(secret)
    except (KeyError, ValueError):
        rotated_for, rotated_at = new.rotated_for, new.rotated_at
    found = LoginCredentials(
        admin=_word(secret, "username") or new.admin,
        admin_password=_word(secret, "password") or new.admin_password,
        user=_word(secret, "clientUsername") or new.user,
        user_password=_word(secret, "clientPassword") or new.user_password,
        secret_key=_word(secret, "secretKey") or new.secret_key,
        rotated_for=rotated_for,
        rotated_at=rotated_at,
        next_admin_password=_word(secret, "nextPassword"),
        next_user_password=_word(secret, "nextClientPassword"),
        revoked_for=(secret["metadata"].get("annotations") or {}).get(REVOKED_FOR_ANNOTATION, ""),
    )
    return found.settled() if _is_settled(found) else found


def has_client_login(secret: KubeObject) -> bool:
    """Whether the ordinary user's name and password are there."""
    return bool(_word(secret, "clientUsername") and _word(secret, "clientPassword"))


def _is_settled(credentials: LoginCredentials) -> bool:
    """Whether the next passwords are the present ones."""
    present = (credentials.admin_password, credentials.user_password)
    return (credentials.next_admin_password, credentials.next_user_password) == present


def _word(secret: KubeObject, key: str) -> str:
    """What is under a key, without the line break that an editor may have added; empty for what is no text."""
    try:
        return text_in(secret, key).strip()
    except ValueError:
        return ""
