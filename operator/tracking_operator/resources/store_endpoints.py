"""Where a server's stores are, by host and port: as the class, a Secret, or the team's variables say it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tracking_operator.resources.destinations import Destination, Destinations, Endpoint, anywhere
from tracking_operator.resources.server_model import (
    ExternalArtifacts,
    ExternalBackend,
    PostgresBackend,
    S3Artifacts,
    ServerModel,
)

HTTPS_PORT: Final = 443
PORTS_OF_SCHEMES: Final[Mapping[str, int]] = {"https": HTTPS_PORT, "http": 80}

PORTS_OF_DATABASES: Final[Mapping[str, int]] = {
    "postgresql": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "mssql": 1433,
}
"""The ports of the databases that MLflow knows, where their URI names none."""

USUAL_PORTS_OF_OBJECT_STORES: Final = (HTTPS_PORT, 80, 9000)
"""For endpoints that are named where the operator does not look."""

ENDPOINT_VARIABLES: Final = (
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "STORAGE_EMULATOR_HOST",
)
"""Where MLflow, botocore and Google's client find the URL of an object store."""

AZURE_VARIABLE: Final = "AZURE_STORAGE_CONNECTION_STRING"
AZURE_ENDPOINT: Final = "BlobEndpoint="

POD_IDENTITY_ADDRESS: Final[Mapping[str, str]] = {"IPv4": "169.254.170.23/32", "IPv6": "fd00:ec2::23/128"}
"""The agent of EKS Pod Identity, on port 80
(https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html)."""
POD_IDENTITY_PORT: Final = 80


@dataclass(frozen=True)
class Endpoints:
    """Where a server's stores say that they are."""

    backend_store: tuple[Endpoint, ...]
    artifact_store: tuple[Endpoint, ...]


def named_endpoints(
    server: ServerModel,
    *,
    database: Sequence[Endpoint] | None = None,
    object_store: Sequence[Endpoint] | None = None,
) -> Endpoints:
    """Where the server's stores say that they are.

    ``database`` and ``object_store`` are what the Secrets of external stores name; None: these are not known.
    """
    return Endpoints(_endpoints_of_database(server, database), _endpoints_of_artifacts(server, object_store))


def unresolved(server: ServerModel) -> Destinations:
    """The destinations as long as nobody has looked at Services and Secrets: ports wherever they are."""
    named = named_endpoints(server)
    return Destinations(
        tuple(anywhere(one.port) for one in named.backend_store),
        (*(anywhere(one.port) for one in named.artifact_store), *identity_destinations(server)),
    )


def identity_destinations(server: ServerModel) -> tuple[Destination, ...]:
    """Where pods get the identity from with which they go to the server's own prefix."""
    store = server.artifact_store
    if not isinstance(store, S3Artifacts):
        return ()
    if store.uses_pod_identity:
        return (Destination((POD_IDENTITY_PORT,), addresses=POD_IDENTITY_ADDRESS),)
    return (anywhere(HTTPS_PORT),) if store.role_arn else ()  # STS, which gives a role for the token


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


def _endpoints_of_database(server: ServerModel, in_secret: Sequence[Endpoint] | None) -> tuple[Endpoint, ...]:
    store = server.backend_store
    if isinstance(store, PostgresBackend):
        return (Endpoint(store.host, store.port),)
    if not isinstance(store, ExternalBackend):
        return ()
    return tuple(in_secret) if in_secret is not None else endpoints_in_database_uri("")


def _endpoints_of_artifacts(
    server: ServerModel, in_secret: Sequence[Endpoint] | None
) -> tuple[Endpoint, ...]:
    match server.artifact_store:
        case S3Artifacts(endpoint=str(endpoint)):
            return (endpoint_of_url(endpoint),)
        case S3Artifacts():
            return (Endpoint("", HTTPS_PORT),)
        case ExternalArtifacts():
            return _endpoints_of_external_artifacts(server, in_secret or ())
        case _:
            return ()


def _endpoints_of_external_artifacts(
    server: ServerModel, in_secret: Sequence[Endpoint]
) -> tuple[Endpoint, ...]:
    """Its endpoint, and 443: there are the stores of clouds, and what they check identities with."""
    variables = {one.name: one.value or "" for one in server.pod_template.env}
    named = (*in_secret, *endpoints_in_variables(variables))
    is_hidden = bool(server.pod_template.env_from) or any(
        one.value_from for one in server.pod_template.env if one.name in (*ENDPOINT_VARIABLES, AZURE_VARIABLE)
    )
    ports = USUAL_PORTS_OF_OBJECT_STORES if is_hidden and not named else (HTTPS_PORT,)
    return tuple(dict.fromkeys((*named, *(Endpoint("", port) for port in ports))))


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
