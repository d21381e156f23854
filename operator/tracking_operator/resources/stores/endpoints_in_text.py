"""Where texts lead that a class, a Secret or a team's variables hold: URIs of databases, and URLs. Pure."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tracking_operator.resources.destinations import Endpoint

HTTPS_PORT: Final = 443
PORTS_OF_SCHEMES: Final[Mapping[str, int]] = {"https": HTTPS_PORT, "http": 80}

PORTS_OF_DATABASES: Final[Mapping[str, int]] = {
    "postgresql": 5432,
    "postgres": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "mssql": 1433,
}
"""The ports of the databases that MLflow knows, where their URI names none."""

ENDPOINT_VARIABLES: Final = (
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "STORAGE_EMULATOR_HOST",
)
"""Where MLflow, botocore and Google's client find the URL of an object store."""

AZURE_VARIABLE: Final = "AZURE_STORAGE_CONNECTION_STRING"
AZURE_ENDPOINT: Final = "BlobEndpoint="

VARIABLES_WITH_ENDPOINTS: Final = (*ENDPOINT_VARIABLES, AZURE_VARIABLE)


def endpoints_in_database_uri(uri: str) -> tuple[Endpoint, ...]:
    """Where an SQLAlchemy URI leads, as SQLAlchemy reads it; nowhere for SQLite. A host that it hides is left out."""
    scheme, separator, rest = uri.strip().partition("://")
    dialect = scheme.partition("+")[0]
    if dialect == "sqlite":
        return ()
    default = PORTS_OF_DATABASES.get(dialect)
    authority, _, query = _without_login(rest).partition("?")
    # What is left of a password with an at sign in it is taken for no host: hosts may be asked for, and told.
    if not separator or default is None or "@" in authority:
        return tuple(Endpoint("", port) for port in sorted(set(PORTS_OF_DATABASES.values())))
    options = parse_qsl(query)
    hosts = [value for key, value in options if key == "host" and not value.startswith("/")]
    port = next((_number(value) for key, value in options if key == "port"), None) or default
    places = hosts or [authority.partition("/")[0]]
    return tuple(dict.fromkeys(_endpoint(place, port) for place in places))


def endpoints_in_variables(variables: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The endpoints of object stores that variables name."""
    urls = [variables[name] for name in ENDPOINT_VARIABLES if variables.get(name)]
    parts = variables.get(AZURE_VARIABLE, "").split(";")
    urls += [part.removeprefix(AZURE_ENDPOINT) for part in parts if part.startswith(AZURE_ENDPOINT)]
    return tuple(dict.fromkeys(endpoint_of_url(url) for url in urls))


def endpoint_of_url(url: str) -> Endpoint:
    """Where an HTTP URL leads; one without a scheme is taken for HTTPS. What cannot be read leads to port 443."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port or PORTS_OF_SCHEMES.get(parts.scheme.lower(), HTTPS_PORT)
    except ValueError:
        return Endpoint("", HTTPS_PORT)
    return Endpoint(parts.hostname or "", port)


def _without_login(rest: str) -> str:
    """Take user and password off what follows the scheme: SQLAlchemy lets a password hold all but an at sign."""
    login, at, place = rest.partition("@")
    return place if at and "/" not in login.partition(":")[0] else rest


def _endpoint(place: str, default_port: int) -> Endpoint:
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return Endpoint(host, _number(rest.removeprefix(":")) or default_port)
    host, _, port = place.partition(":")
    return Endpoint(host, _number(port) or default_port)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16 else None
