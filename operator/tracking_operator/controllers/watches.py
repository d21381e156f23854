"""Which resources an event concerns. Pure: the cache is only read."""

from collections.abc import Iterator

from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL, SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS
from tracking_operator.controllers.request import Request
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
from tracking_operator.resources.labels import BACKUP_COMPONENT
from tracking_operator.resources.tools_archive import is_tools_name


def requests_for(obj: KubeObject, cache: ObjectCache) -> list[Request]:
    """The resources that have to be looked at because ``obj`` was added, changed or deleted."""
    match kind_of(obj):
        case kind if kind in (TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS):
            return _of_resource(obj, cache)
        case kind if kind == NAMESPACE:
            return list(_servers_in(name_of(obj), cache))
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
        waiting = [*_siblings_of_deleted(obj, cache), *_backups_of(obj, name_of(obj), cache)]
        return [_server_request(obj), *waiting]
    if kind == TRACKING_SERVER_BACKUP:
        return [_backup_request(obj), *_servers_that_start_from(obj, cache)]
    return [Request("TrackingServerClass", "", name_of(obj)), *_servers_of_class(obj, cache)]


def _is_of_backup(obj: KubeObject) -> bool:
    """Whether an object is there for a backup: the server's own loop has nothing to do with it."""
    return (obj["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == BACKUP_COMPONENT


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
    return bool(status.get("completedAt")) and not backup["metadata"].get("deletionTimestamp")


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
