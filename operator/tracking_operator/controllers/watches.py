"""Which resources an event concerns. Pure: the cache is only read."""

from collections.abc import Iterator
from typing import Final

from tracking_operator.api.labels_and_annotations import CLIENT_LABEL, COMPONENT_LABEL, SERVER_LABEL
from tracking_operator.controllers.kinds import (
    TRACKING_SERVER,
    TRACKING_SERVER_BACKUP,
    TRACKING_SERVER_CLASS,
    TRACKING_SERVER_CLIENT,
)
from tracking_operator.controllers.request import Request
from tracking_operator.controllers.server.spec.client_grants import may_concern, read_ask
from tracking_operator.controllers.server.spec.inputs import readable_server
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    NAMESPACE,
    SECRET,
    KubeObject,
    kind_of,
    name_of,
    namespace_of,
)
from tracking_operator.resources.labels import BACKUP_COMPONENT, TRIAL_COMPONENT
from tracking_operator.resources.tools_archive import is_tools_name

_OWN: Final = (TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS, TRACKING_SERVER_CLIENT)


def requests_for(obj: KubeObject, cache: ObjectCache) -> list[Request]:
    """The resources that have to be looked at because ``obj`` was added, changed or deleted."""
    match kind_of(obj):
        case kind if kind in _OWN:
            return _of_resource(obj, cache)
        case kind if kind == NAMESPACE:
            return [*_servers_in(name_of(obj), cache), *_of_clients_in(name_of(obj), cache)]
        case kind if kind in (CONFIG_MAP, SECRET) and _client_of(obj):
            return [Request("TrackingServerClient", namespace_of(obj) or "", _client_of(obj))]
        case kind if kind == CONFIG_MAP and is_tools_name(name_of(obj)):
            # Nobody may be left: then it is a matter of the namespace alone.
            servers = list(_servers_in(namespace_of(obj), cache))
            return servers or [Request("TrackingServer", namespace_of(obj) or "", "")]
        case kind if kind == SECRET:
            return _owner(obj) or [*_classes_with_admin(obj, cache), *_servers_in(namespace_of(obj), cache)]
        case _:
            return _owner(obj) if not _is_of_backup(obj) else [*_backups_of(obj, _server_of(obj), cache)]


def _of_resource(obj: KubeObject, cache: ObjectCache) -> list[Request]:
    """The resource itself, and those that wait for it or are measured against it."""
    kind = kind_of(obj)
    if kind == TRACKING_SERVER:
        waiting = [
            *_siblings_of_deleted(obj, cache),
            *_backups_of(obj, name_of(obj), cache),
            *_clients_of(obj, cache),
        ]
        return [_server_request(obj), *waiting]
    if kind == TRACKING_SERVER_BACKUP:
        return [
            _backup_request(obj),
            *_server_backed_up_by(obj, cache),
            *_servers_that_start_from(obj, cache),
        ]
    if kind == TRACKING_SERVER_CLIENT:
        return [_client_request(obj), *_server_asked_by(obj, cache)]
    return [Request("TrackingServerClass", "", name_of(obj)), *_servers_of_class(obj, cache)]


def _client_of(obj: KubeObject) -> str:
    """The client that an object belongs to; empty: none."""
    name: str = (obj["metadata"].get("labels") or {}).get(CLIENT_LABEL, "")
    return name


def _client_request(client: KubeObject) -> Request:
    return Request("TrackingServerClient", namespace_of(client) or "", name_of(client))


def _clients_of(server: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """The clients that ask for a server."""
    place = namespace_of(server), name_of(server)
    for ask in cache.readings(TRACKING_SERVER_CLIENT, None, read_ask):
        if ask is not None and ask.server == place:
            yield Request("TrackingServerClient", ask.namespace, ask.name)


def _server_asked_by(client: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """The server that a client asks for, unless it grants its namespace nothing, and the clients to whom one that goes leaves its place."""
    reference = (client.get("spec") or {}).get("serverRef") or {}
    place = str(reference.get("namespace") or ""), str(reference.get("name") or "")
    live = cache.get(TRACKING_SERVER, *place)
    server = readable_server(live) if live is not None else None
    if server is not None and may_concern(server, namespace_of(client) or "", cache):
        yield Request("TrackingServer", *place)
        is_gone = cache.get(TRACKING_SERVER_CLIENT, namespace_of(client), name_of(client)) is None
        if is_gone or client["metadata"].get("deletionTimestamp"):
            yield from (one for one in _clients_of(live or {}, cache) if one != _client_request(client))


def _of_clients_in(namespace: str, cache: ObjectCache) -> Iterator[Request]:
    """The clients of a namespace, whose labels decide about them, and the servers that they ask for."""
    for ask in cache.readings(TRACKING_SERVER_CLIENT, namespace, read_ask):
        if ask is not None:
            yield Request("TrackingServerClient", ask.namespace, ask.name)
            if cache.get(TRACKING_SERVER, *ask.server) is not None:
                yield Request("TrackingServer", *ask.server)


def _is_of_backup(obj: KubeObject) -> bool:
    """Whether an object is there for a backup: the server's own loop has nothing to do with it."""
    return (obj["metadata"].get("labels") or {}).get(COMPONENT_LABEL) in (BACKUP_COMPONENT, TRIAL_COMPONENT)


def _server_of(obj: KubeObject) -> str | None:
    name: str | None = (obj["metadata"].get("labels") or {}).get(SERVER_LABEL)
    return name


def _backup_request(backup: KubeObject) -> Request:
    return Request("TrackingServerBackup", namespace_of(backup) or "", name_of(backup))


def _backups_of(obj: KubeObject, server: str | None, cache: ObjectCache) -> Iterator[Request]:
    """The backups of a server that are not over yet, of which ``obj`` tells something."""
    for backup in cache.list(TRACKING_SERVER_BACKUP, namespace_of(obj)):
        if ((backup.get("spec") or {}).get("serverRef") or {}).get("name") == server and not _is_over(backup):
            yield _backup_request(backup)


def _is_over(backup: KubeObject) -> bool:
    status = backup.get("status") or {}
    is_tried = bool(status.get("scratchDatabase"))
    return (
        bool(status.get("completedAt")) and not is_tried and not backup["metadata"].get("deletionTimestamp")
    )


def _server_backed_up_by(backup: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """The server that says how it is backed up."""
    name = ((backup.get("spec") or {}).get("serverRef") or {}).get("name") or ""
    if server := cache.get(TRACKING_SERVER, namespace_of(backup), name):
        yield _server_request(server)


def _servers_that_start_from(backup: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """Servers that wait for a backup to be complete, or had its stores."""
    for server in cache.list(TRACKING_SERVER, namespace_of(backup)):
        bootstrap = (server.get("spec") or {}).get("bootstrap") or {}
        is_named = (bootstrap.get("fromBackup") or {}).get("name") == name_of(backup)
        if is_named and not (server.get("status") or {}).get("restoredFrom"):
            yield _server_request(server)


def _classes_with_admin(secret: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """Classes that name a Secret of this name; that it is in the operator's namespace is not looked at here."""
    for one in cache.list(TRACKING_SERVER_CLASS):
        spec = one.get("spec") or {}
        references = [(spec.get(store) or {}).get("adminSecretRef") or {} for store in ("postgres", "s3")]
        if name_of(secret) in [reference.get("name") for reference in references]:
            yield Request("TrackingServerClass", "", name_of(one))


def _servers_in(namespace: str | None, cache: ObjectCache) -> Iterator[Request]:
    for _, name in cache.names(TRACKING_SERVER, namespace):
        yield Request("TrackingServer", namespace or "", name)


def _owner(obj: KubeObject) -> list[Request]:
    name = _server_of(obj)
    return [Request("TrackingServer", namespace_of(obj) or "", name)] if name else []


def _siblings_of_deleted(obj: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """A server that goes, or is gone, makes room for one that was over the namespace's limit."""
    is_gone = cache.get(TRACKING_SERVER, namespace_of(obj), name_of(obj)) is None
    if is_gone or obj["metadata"].get("deletionTimestamp"):
        for key in _servers_in(namespace_of(obj), cache):
            if key.name != name_of(obj):
                yield key


def _servers_of_class(obj: KubeObject, cache: ObjectCache) -> Iterator[Request]:
    """Servers that name the class, and, as it may be or have been the default, those that name none."""
    for server in cache.list(TRACKING_SERVER):
        named = (server.get("spec") or {}).get("className")
        if named in (None, name_of(obj)):
            yield _server_request(server)


def _server_request(server: KubeObject) -> Request:
    return Request("TrackingServer", namespace_of(server) or "", name_of(server))
