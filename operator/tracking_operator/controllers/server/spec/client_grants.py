"""Which TrackingServerClients a server's owner lets in: those that ask for what spec.access.clients grants. Pure but for the cache.

Nothing that the asking namespace can write decides: its name and UID are the API server's, its labels the platform team's, and which
namespace an entry by name means is in the server's status.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

from pydantic import ValidationError

from tracking_operator.api.conditions import Reason
from tracking_operator.api.server_access import ClientPermission
from tracking_operator.api.tracking_server import ConnectedClient, GrantedNamespace, TrackingServer
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLIENT
from tracking_operator.controllers.server.spec.permissions import selects
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import NAMESPACE, KubeObject
from tracking_operator.naming.client_users import ClientIdentity

MOST_CLIENTS: Final = 32
"""How many clients one server lets in."""
MOST_OF_A_NAMESPACE: Final = 4
"""How many of them may be of one namespace, so that none takes the places of the others."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one client asks for."""

    server: tuple[str, str]
    """Namespace and name."""
    namespace: str
    name: str
    uid: str
    permission: ClientPermission
    created: datetime

    @classmethod
    def of(cls, client: TrackingServerClient) -> Self:
        """Keep of a client what others have to know."""
        reference, metadata = client.spec.server_ref, client.metadata
        created = metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
        return cls(
            (reference.namespace, reference.name),
            metadata.namespace,
            metadata.name,
            metadata.uid,
            client.spec.permission,
            created,
        )

    @property
    def connected(self) -> ConnectedClient:
        """How the server's status tells of it, once it is let in."""
        return ConnectedClient(namespace=self.namespace, name=self.name, permission=self.permission)


@dataclass(frozen=True)
class KnownNamespace:
    """A namespace that exists, and is not about to go."""

    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)


def known_namespace(name: str, cache: ObjectCache) -> KnownNamespace | None:
    """The namespace as the watch shows it; None: there is none, or it is being deleted."""
    metadata: KubeObject = (cache.get(NAMESPACE, None, name) or {}).get("metadata") or {}
    if not metadata.get("uid") or metadata.get("deletionTimestamp"):
        return None
    return KnownNamespace(metadata["uid"], metadata.get("labels") or {})


def asks_for(namespace: str, name: str, cache: ObjectCache) -> list[Ask]:
    """Which clients ask for a server, the oldest first; not those that are being deleted, or cannot be read."""
    asks = cache.readings(TRACKING_SERVER_CLIENT, None, read_ask)
    found = [one for one in asks if one is not None and one.server == (namespace, name)]
    return sorted(found, key=lambda one: (one.created, one.uid))


def read_ask(live: KubeObject) -> Ask | None:
    """What a client asks for; None if it is being deleted, or cannot be read."""
    try:
        client = TrackingServerClient.model_validate(live)
    except ValidationError:
        return None
    return None if client.metadata.is_being_deleted else Ask.of(client)


def granted_namespaces(server: TrackingServer, cache: ObjectCache) -> tuple[GrantedNamespace, ...]:
    """Which namespace each entry by name means: the one that was first seen with the name, for as long as the entry is there."""
    recorded = {one.name: one for one in server.status.granted_namespaces}
    found = []
    for entry in server.spec.access.clients.namespaces:
        known = known_namespace(entry.name, cache)
        if entry.name in recorded:
            found.append(recorded[entry.name])
        elif known is not None:
            found.append(GrantedNamespace(name=entry.name, uid=known.uid))
    return tuple(sorted(found, key=lambda one: one.name))


def most_granted(
    server: TrackingServer,
    name: str,
    namespace: KnownNamespace | None,
    granted: Iterable[GrantedNamespace],
) -> ClientPermission | None:
    """The most that clients of a namespace may ask for; None: nothing."""
    clients = server.spec.access.clients
    if namespace is None:
        return None
    entry = next((one for one in clients.namespaces if one.name == name), None)
    if entry is not None:
        is_meant = GrantedNamespace(name=name, uid=namespace.uid) in tuple(granted)
        return entry.permission if is_meant else None
    selector = clients.namespace_selector
    is_selected = selector is not None and selects(selector, namespace.labels)
    return clients.permission if is_selected else None


def may_concern(server: TrackingServer, namespace: str, cache: ObjectCache) -> bool:
    """Whether clients of a namespace matter to the server's own loop: who is not granted anything cannot keep it busy.

    A namespace that is gone counts, because users of its clients may be left.
    """
    clients, known = server.spec.access.clients, known_namespace(namespace, cache)
    if known is None or any(one.name == namespace for one in clients.namespaces):
        return bool(clients.namespaces or clients.namespace_selector)
    return clients.namespace_selector is not None and selects(clients.namespace_selector, known.labels)


def admitted(
    server: TrackingServer, cache: ObjectCache, granted: Sequence[GrantedNamespace] | None = None
) -> list[Ask]:
    """The clients that the server lets in, the oldest first. Asked and granted, and within the shares."""
    if not grants_anything(server):
        return []
    means = server.status.granted_namespaces if granted is None else granted
    found: list[Ask] = []
    of_namespace: dict[str, int] = {}
    for ask in asks_for(server.metadata.namespace, server.metadata.name, cache):
        most = most_granted(server, ask.namespace, known_namespace(ask.namespace, cache), means)
        if most is None or not most.covers(ask.permission):
            continue
        if len(found) < MOST_CLIENTS and of_namespace.get(ask.namespace, 0) < MOST_OF_A_NAMESPACE:
            found.append(ask)
            of_namespace[ask.namespace] = of_namespace.get(ask.namespace, 0) + 1
    return found


def require_admitted(
    client: TrackingServerClient, server: TrackingServer | None, cache: ObjectCache
) -> TrackingServer:
    """Require that the client is one of those that the server lets in; return the server.

    Raises Invalid or Waiting. Whether there is a server in a namespace that grants nothing is not told: the same sentence is said of both.
    """
    ask, reference = Ask.of(client), client.spec.server_ref
    granted = server.status.granted_namespaces if server else ()
    most = (
        None
        if server is None
        else most_granted(server, ask.namespace, known_namespace(ask.namespace, cache), granted)
    )
    if server is None or most is None:
        raise Waiting(
            Reason.NOT_GRANTED,
            f"No TrackingServer {reference.name} in namespace {reference.namespace} grants anything to namespace {ask.namespace}. "
            "If there is one, its owner does so by an entry in spec.access.clients; where the namespace has been made again since, "
            "the owner removes the entry and adds it again.",
        )
    if not most.covers(ask.permission):
        raise Waiting(
            Reason.NOT_GRANTED,
            f"The owner of TrackingServer {reference.name} grants {most} to namespace {ask.namespace}, and not {ask.permission}: ask "
            f"for {most}, or ask the owner for {ask.permission}.",
        )
    if all(one.uid != ask.uid for one in admitted(server, cache)):
        raise Invalid(
            Reason.LIMIT_EXCEEDED,
            f"A TrackingServer lets {MOST_CLIENTS} TrackingServerClients in, {MOST_OF_A_NAMESPACE} of a namespace, the oldest first. "
            "Delete one that is not needed.",
        )
    return server


def identity_of(server: TrackingServer, ask: Ask, cache: ObjectCache) -> ClientIdentity | None:
    """For whom MLflow's user is; None while the namespace is not known."""
    known = known_namespace(ask.namespace, cache)
    if known is None:
        return None
    return ClientIdentity(
        server.metadata.uid, ask.namespace, known.uid, ask.name, ask.uid, ask.permission.value
    )


def grants_anything(server: TrackingServer) -> bool:
    """Whether the owner grants the use of the server to anybody elsewhere."""
    clients = server.spec.access.clients
    return bool(clients.namespaces or clients.namespace_selector)
