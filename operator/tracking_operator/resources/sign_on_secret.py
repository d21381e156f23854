"""The Secret of a server's proxy, which logs people in: made of the server's passwords alone, so that a lost one is made again as it was."""

import base64
import hashlib
import hmac

from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.pod.login_proxy import (
    CA,
    COOKIE_SECRET,
    NO_CLIENT_SECRET,
    PASSWORDS,
    PROXY_PASSWORD,
    PROXY_SETTINGS,
    proxy_settings,
)
from tracking_operator.resources.secret import watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.single_sign_on import SingleSignOn


def build_sign_on_secret(
    server: ServerModel, sign_on: SingleSignOn, credentials: LoginCredentials, certificates: str | None
) -> KubeObject:
    """Build ``NAME-oidc``; ``certificates`` are the CAs of the provider (PEM)."""
    contents = {
        COOKIE_SECRET: base64.urlsafe_b64encode(_derived(credentials, "cookie")).decode(),
        PROXY_PASSWORD: _derived(credentials, "proxy").hex(),
        PROXY_SETTINGS: proxy_settings(sign_on),
        PASSWORDS: _passwords(credentials),
        # A public client has none, and the proxy wants a file.
        NO_CLIENT_SECRET: "",
    }
    if certificates is not None:
        contents[CA] = certificates
    return watched_secret(owned_metadata(server, server.names.oidc, SERVER_COMPONENT), contents)


def _derived(credentials: LoginCredentials, what: str) -> bytes:
    """32 random octets for one purpose: other ones when access is revoked, as the key is that they come from."""
    return hmac.digest(credentials.secret_key.encode(), f"tracking-operator {what}".encode(), "sha256")


def _passwords(credentials: LoginCredentials) -> str:
    """The passwords as the proxy knows them (htpasswd).

    They are 32 random characters, which nobody guesses: a slow hash would cost time with each request, and protect nothing.
    """
    users = {
        credentials.admin: credentials.admin_password,
        credentials.user: credentials.user_password,
    }
    return "".join(f"{user}:{{SHA}}{_sha1(password)}\n" for user, password in users.items())


def _sha1(password: str) -> str:
    return base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()  # noqa: S324 - what htpasswd knows
