"""The Secret by which a server's pods log in to its own database: written here, read here.

The service file is libpq's (https://www.postgresql.org/docs/current/libpq-pgservice.html): it is read anew
for each connection, so that other credentials need no restart.
"""

from configparser import ConfigParser, Error
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tracking_operator.resources.labels import BACKEND_STORE_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import rotation_annotations, rotation_in, text_in, watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.stores.paths import BACKEND_STORE_CREDENTIALS
from tracking_operator.resources.stores.postgres import PostgresBackend

SERVICE = "mlflow"
SERVICE_KEY = "pg_service.conf"
CA_KEY = "ca.crt"
LONGEST_PASSWORD: Final = 128
"""Characters. Ours have 43; a team may write its Secret, and libpq prepares each one for SCRAM while nothing else runs."""
CAS_OF_IMAGE = "/etc/ssl/certs/ca-certificates.crt"


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
    rotation = rotation_annotations(credentials.rotated_for, credentials.rotated_at)
    return watched_secret(owned_metadata(server, store.secret, BACKEND_STORE_COMPONENT, rotation), contents)


def credentials_in(secret: KubeObject | None) -> DatabaseCredentials | None:
    """Read what ``build_database_secret`` wrote; None if there is nothing, or nothing usable.

    libpq normalises a password that is not ASCII (RFC 4013), in time that grows with the square of its length. Ours are ASCII.
    """
    if secret is None:
        return None
    file = ConfigParser(interpolation=None, default_section="")
    try:
        file.read_string(text_in(secret, SERVICE_KEY))
        rotated_for, rotated_at = rotation_in(secret)
        found = DatabaseCredentials(
            login=file[SERVICE]["user"],
            password=file[SERVICE]["password"],
            rotated_for=rotated_for,
            rotated_at=rotated_at,
        )
    except (Error, KeyError, ValueError):
        return None
    is_ours = file.sections() == [SERVICE] and found.login and _could_be_ours(found.password)
    return found if is_ours else None


def _could_be_ours(password: str) -> bool:
    return password.isascii() and 0 < len(password) <= LONGEST_PASSWORD


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
