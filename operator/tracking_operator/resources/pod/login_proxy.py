"""The container that logs people in before MLflow hears of them (oauth2-proxy), and what looks at the identity provider before it.

It is a sidecar by Kubernetes' own rules (1.29: an init container that goes on): it serves before MLflow starts and until MLflow has ended.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from tracking_operator.naming import CONTAINER_PORT, MLFLOW_PORT, service_url
from tracking_operator.pod_tools.programs import (
    GROUPS_HEADER,
    PASSWORD_GROUP,
    SINGLE_SIGN_ON_FOLDER,
    SINGLE_SIGN_ON_VARIABLE,
    TOKEN_HEADER,
)
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.single_sign_on import SingleSignOn
from tracking_operator.resources.stores.interface import StoreMount

PROXY_CONTAINER: Final = "login"
CHECK_PROVIDER_CONTAINER: Final = "check-identity-provider"

COOKIE_SECRET: Final = "cookieSecret"  # noqa: S105 - the names of keys
PROXY_PASSWORD: Final = "proxyPassword"  # noqa: S105
PROXY_SETTINGS: Final = "proxy.yaml"
PASSWORDS: Final = "htpasswd"
NO_CLIENT_SECRET: Final = "noClientSecret"  # noqa: S105
CA: Final = "ca.crt"
"""What is in the server's own Secret."""

PROXY_FOLDER: Final = "/etc/login"
CLIENT_FOLDER: Final = "/etc/login-client"
CLIENT_SECRET: Final = "client-secret"  # noqa: S105 - the name of a file
MLFLOW_FOLDER: Final = f"/etc/mlflow/{SINGLE_SIGN_ON_FOLDER}"

API_ROUTES: Final = "api|ajax-api|v1|gateway|graphql|get-artifact|model-versions"
"""Below the prefix, or without it: what programs ask, to whom a page to log in is of no use."""
SECONDS_TO_ANSWER: Final = "1h"
"""After which MLflow has begun to answer, or never does: an upload is answered once it is in its store."""
SECONDS_TO_START: Final = 60
LOG_FORMAT: Final = (
    '[{{.Timestamp}}] [{{.File}}] {{$file := printf "%.11s" .File}}'
    '{{if or (eq $file "basic_sessi") (eq $file "jwt_session")}}'
    "An Authorization header lets nobody in.{{else}}{{.Message}}{{end}}"
)
"""Without what pkg/middleware/basic_session.go and jwt_session.go (7.15.6) say of a header: they quote it, and the token in it."""

RESOURCES: Final = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
"""The proxy has 20 to 25 MiB in memory (7.15.6), also while large files go through it."""


def proxy_container(server: ServerModel, sign_on: SingleSignOn, security: KubeObject) -> KubeObject:
    """The sidecar."""
    probe = {"httpGet": {"path": "/ping", "port": CONTAINER_PORT, "scheme": "HTTP"}, "successThreshold": 1}
    return {
        "name": PROXY_CONTAINER,
        "image": sign_on.image,
        "restartPolicy": "Always",
        "args": proxy_arguments(server, sign_on),
        "ports": [{"name": "http", "containerPort": CONTAINER_PORT, "protocol": "TCP"}],
        "resources": _resources(server),
        "startupProbe": probe
        | {"periodSeconds": 1, "failureThreshold": SECONDS_TO_START, "timeoutSeconds": 2},
        "readinessProbe": probe | {"periodSeconds": 5, "failureThreshold": 3, "timeoutSeconds": 5},
        "livenessProbe": probe | {"periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 10},
        "securityContext": security,
        "volumeMounts": [
            {"name": one.volume, "mountPath": one.path, "readOnly": True}
            for one in proxy_mounts(server, sign_on)
        ],
    }


def proxy_arguments(server: ServerModel, sign_on: SingleSignOn) -> list[str]:
    """The proxy's command line; what is secret is in files, and what has no option in its settings."""
    prefix, url = server.access.wanted.prefix, _url(server)
    beginning = f"^({re.escape(prefix)})?" if prefix else "^"
    return [
        f"--alpha-config={PROXY_FOLDER}/{PROXY_SETTINGS}",
        f"--proxy-prefix={prefix}/oauth2",
        f"--redirect-url={url}/oauth2/callback",
        "--skip-provider-button=true",
        # Who is let in, beside the groups of the settings.
        "--email-domain=*",
        f"--htpasswd-file={PROXY_FOLDER}/{PASSWORDS}",
        f"--htpasswd-user-group={PASSWORD_GROUP}",
        "--display-htpasswd-form=false",
        f"--skip-jwt-bearer-tokens={str(sign_on.accepts_tokens).lower()}",
        f"--skip-auth-route=GET=^{re.escape(prefix)}/health$",
        f"--api-route={beginning}/({API_ROUTES})(/|$)",
        # The session is in a cookie of this server's own, also beside others on its host.
        f"--cookie-name=_mlflow_{server.namespace}_{server.name}",
        f"--cookie-path={server.access.wanted.path}",
        f"--cookie-secret-file={PROXY_FOLDER}/{COOKIE_SECRET}",
        f"--cookie-secure={str(url.startswith('https:')).lower()}",
        "--cookie-httponly=true",
        "--cookie-samesite=lax",
        f"--cookie-expire={sign_on.session_hours}h",
        f"--cookie-refresh={sign_on.recheck_minutes}m",
        "--request-logging=false",
        "--silence-ping-logging=true",
        f"--standard-logging-format={LOG_FORMAT}",
    ]


def proxy_settings(sign_on: SingleSignOn) -> str:
    """The proxy's settings (its "alpha" configuration, 7.15.6), which are YAML as all JSON is."""
    provider: KubeObject = {
        "id": "oidc",
        "provider": "oidc",
        "clientID": sign_on.client_id,
        "clientSecretFile": f"{CLIENT_FOLDER}/{CLIENT_SECRET}",
        "scope": " ".join(sign_on.scopes),
        "code_challenge_method": "S256",
        "allowedGroups": [PASSWORD_GROUP, *sign_on.groups],
        "oidcConfig": {
            "issuerURL": sign_on.issuer,
            "audienceClaims": ["aud"],
            "emailClaim": sign_on.username_claim,
            "groupsClaim": sign_on.groups_claim,
            # No userIDClaim: any word of it goes before emailClaim, and nobody looks at email_verified (providers/oidc.go).
            "insecureSkipNonce": False,
        },
    }
    if sign_on.ca_config_map:
        provider |= {"caFiles": [f"{PROXY_FOLDER}/{CA}"], "useSystemTrustStore": True}
    password = {"fromFile": f"{PROXY_FOLDER}/{PROXY_PASSWORD}"}
    by_password = {"claim": "user", "prefix": "Basic ", "basicAuthPassword": password}
    headers = {
        "Authorization": by_password,
        TOKEN_HEADER: {"claim": "id_token"},
        GROUPS_HEADER: {"claim": "groups"},
        # Sessions are no business of MLflow's: there is no such claim, so that cookies end here.
        "Cookie": {"claim": "none"},
    }
    upstream = {
        "id": "mlflow",
        "path": "/",
        "uri": f"http://127.0.0.1:{MLFLOW_PORT}",
        "timeout": SECONDS_TO_ANSWER,
        "proxyWebSockets": False,
    }
    settings = {
        "server": {"bindAddress": f":{CONTAINER_PORT}"},
        "upstreamConfig": {"upstreams": [upstream]},
        "providers": [provider],
        # What comes under these names from outside is taken away, and so is what only looks like them.
        "injectRequestHeaders": [
            {"name": name, "preserveRequestValue": False, "values": [{"claimSource": value}]}
            for name, value in headers.items()
        ],
    }
    return json.dumps(settings, indent=1, ensure_ascii=False) + "\n"


def sign_on_settings(sign_on: SingleSignOn) -> dict[str, str]:
    """The variable from which MLflow's side knows who may do what."""
    said = {
        "groups": dict(sorted(sign_on.permissions.items())),
        "groupsClaim": sign_on.groups_claim,
        "usernameClaim": sign_on.username_claim,
    }
    return {SINGLE_SIGN_ON_VARIABLE: json.dumps(said, ensure_ascii=False)}


def check_arguments(sign_on: SingleSignOn) -> list[str]:
    """The arguments of the program that looks at the provider before the proxy does."""
    arguments = [
        f"--issuer={sign_on.issuer}",
        f"--client-id={sign_on.client_id}",
        f"--client-secret-file={CLIENT_FOLDER}/{CLIENT_SECRET}",
    ]
    return [*arguments, f"--ca-file={PROXY_FOLDER}/{CA}"] if sign_on.ca_config_map else arguments


def proxy_mounts(server: ServerModel, sign_on: SingleSignOn) -> list[StoreMount]:
    """What the proxy reads: the server's own Secret, and the one with the client's."""
    keys = [
        COOKIE_SECRET,
        PROXY_PASSWORD,
        PROXY_SETTINGS,
        PASSWORDS,
        *([CA] if sign_on.ca_config_map else []),
    ]
    client, key = server.names.oidc, NO_CLIENT_SECRET
    if sign_on.client_secret:
        client, key = sign_on.client_secret.name, sign_on.client_secret.key
    return [
        StoreMount("login", PROXY_FOLDER, _items(server.names.oidc, {one: one for one in keys})),
        StoreMount("login-client", CLIENT_FOLDER, _items(client, {key: CLIENT_SECRET})),
    ]


def mlflow_mount(server: ServerModel) -> StoreMount:
    """What MLflow's side reads: the password by which it knows the proxy."""
    return StoreMount("login-proxy", MLFLOW_FOLDER, _items(server.names.oidc, {PROXY_PASSWORD: "password"}))


def _items(secret: str, paths: dict[str, str]) -> dict[str, object]:
    items: Sequence[KubeObject] = [{"key": key, "path": path} for key, path in paths.items()]
    return {"secret": {"secretName": secret, "items": items}}


def _url(server: ServerModel) -> str:
    """Where people are while they log in, without a slash at its end: the provider has to know it."""
    wanted = server.access.wanted
    return wanted.url or service_url(server.name, server.namespace, wanted.path)


def _resources(server: ServerModel) -> KubeObject:
    """A limit for whatever the class bounds, as the other containers have them."""
    limits = (server.resources.limits or {}) | RESOURCES["limits"]
    return {"requests": RESOURCES["requests"], "limits": limits}
