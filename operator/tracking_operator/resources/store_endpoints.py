"""Where a server's stores are, by host and port: as the class, a Secret, or the team's variables say it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracking_operator.resources.destinations import Destination, Destinations, Endpoint, anywhere
from tracking_operator.resources.server_model import ServerModel


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
    return Endpoints(
        server.backend_store.endpoints(database, server.pod_template),
        server.artifact_store.endpoints(object_store, server.pod_template),
    )


def unresolved(server: ServerModel) -> Destinations:
    """The destinations as long as nobody has looked at Services and Secrets: ports wherever they are."""
    named = named_endpoints(server)
    return Destinations(
        tuple(anywhere(one.port) for one in named.backend_store),
        (*(anywhere(one.port) for one in named.artifact_store), *identity_destinations(server)),
        tuple(anywhere(one.port) for one in provider_endpoints(server)),
    )


def provider_endpoints(server: ServerModel) -> tuple[Endpoint, ...]:
    """Where the identity provider is; nowhere without one."""
    return (server.single_sign_on.endpoint,) if server.single_sign_on else ()


def identity_destinations(server: ServerModel) -> tuple[Destination, ...]:
    """Where pods get the identity from with which they go to the server's own prefix."""
    return server.artifact_store.pod_parts().identity_destinations
