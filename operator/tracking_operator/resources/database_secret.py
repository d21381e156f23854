"""The Secret by which a server's pods log in to its own database: written here, read here.

The service file is libpq's (https://www.postgresql.org/docs/current/libpq-pgservice.html): it is read anew
for each connection, so that other credentials need no restart.
"""

import base64
from configparser import ConfigParser, Error
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tracking_operator.api.marks import GROUP, WATCH_LABEL
from tracking_operator.resources.labels import BACKEND_STORE_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.pod import BACKEND_STORE_CREDENTIALS
from tracking_operator.resources.server import KubeObject, PostgresBackend, ServerModel

SERVICE = "mlflow"
SERVICE_KEY = "pg_service.conf"
CA_KEY = "ca.crt"
CAS_OF_IMAGE = "/etc/ssl/certs/ca-certificates.crt"

ROTATED_FOR_ANNOTATION = f"{GROUP}/rotated-for"
"""The value of the server's rotate-credentials annotation that the credentials were made for."""
ROTATED_AT_ANNOTATION = f"{GROUP}/rotated-at"
"""When the credentials were made, in UTC and whole seconds."""


@dataclass(frozen=True)
class DatabaseCredentials:
    """The login that a server's pods use, and why and when it was chosen."""

    login: str
    password: str = field(repr=False)
    rotated_for: str
    rotated_at: datetime


def build_database_secret(
    server: ServerModel, store: PostgresBackend, credentials: DatabaseCredentials, ca_certificates: str | None
) -> KubeObject:
    """Build the Secret; ``ca_certificates`` is PEM text."""
    contents = {SERVICE_KEY: _service_file(store, credentials)}
    if ca_certificates is not None:
        contents[CA_KEY] = ca_certificates
    metadata = owned_metadata(
        server,
        store.secret,
        BACKEND_STORE_COMPONENT,
        {
            ROTATED_FOR_ANNOTATION: credentials.rotated_for,
            ROTATED_AT_ANNOTATION: credentials.rotated_at.isoformat(),
        },
    )
    metadata["labels"][WATCH_LABEL] = "true"  # so that the operator sees a change at once
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in contents.items()},
    }


def credentials_in(secret: KubeObject | None) -> DatabaseCredentials | None:
    """Read what ``build_database_secret`` wrote; None if there is nothing, or nothing usable."""
    if secret is None:
        return None
    file = ConfigParser(interpolation=None, default_section="")
    annotations = secret["metadata"].get("annotations") or {}
    try:
        file.read_string(base64.b64decode((secret.get("data") or {}).get(SERVICE_KEY, "")).decode())
        rotated_at = datetime.fromisoformat(annotations[ROTATED_AT_ANNOTATION])
        found = DatabaseCredentials(
            login=file[SERVICE]["user"],
            password=file[SERVICE]["password"],
            rotated_for=annotations.get(ROTATED_FOR_ANNOTATION, ""),
            rotated_at=rotated_at if rotated_at.tzinfo else rotated_at.replace(tzinfo=UTC),
        )
    except (Error, KeyError, ValueError):
        return None
    is_ours = file.sections() == [SERVICE] and found.login and found.password
    return found if is_ours else None


def _service_file(store: PostgresBackend, credentials: DatabaseCredentials) -> str:
    settings = {
        "host": store.host,
        "port": str(store.port),
        "dbname": store.database,
        "user": credentials.login,
        "password": credentials.password,
        "sslmode": store.ssl_mode.value,
        "connect_timeout": "10",
        "application_name": SERVICE,
    }
    if store.ssl_mode.verifies:
        settings["sslrootcert"] = (
            f"{BACKEND_STORE_CREDENTIALS}/{CA_KEY}" if store.has_own_ca else CAS_OF_IMAGE
        )
    return "".join([f"[{SERVICE}]\n", *(f"{key}={value}\n" for key, value in settings.items())])
