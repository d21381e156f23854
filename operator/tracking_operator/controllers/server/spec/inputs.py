"""What is around a server, as the watches have shown it: classes, its namespace, its siblings. Nothing is asked."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pydantic import ValidationError

from tracking_operator.api.tracking_server import ConnectedClient, GrantedNamespace, TrackingServer
from tracking_operator.api.tracking_server_class import (
    BUILT_IN_CLASS,
    TrackingServerClass,
    TrackingServerClassSpec,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.controllers.server.children.pods import server_pods
from tracking_operator.controllers.server.spec.client_grants import admitted, granted_namespaces
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.controllers.server_class.class_of_server import ChosenClass, default_class_name
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import DEPLOYMENT, NAMESPACE, POD, KubeObject, describe, name_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sibling:
    """What another server of the namespace is to one: whether it comes first, and in which class."""

    uid: str
    is_placed: bool
    created: datetime
    class_name: str | None
    """None: that of servers that name none."""

    @classmethod
    def of(cls, server: TrackingServer) -> Self:
        """Keep of a server what others have to know."""
        placed = placement_of(server)
        named = (placed and placed.class_name) or server.spec.class_name
        created = server.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
        return cls(server.metadata.uid, placed is not None, created, named or ("" if placed else None))

    def comes_before(self, other: "Sibling") -> bool:
        """Whether it has a place before the other one: who is placed, then the older, then by UID."""
        return (not self.is_placed, self.created, self.uid) < (not other.is_placed, other.created, other.uid)


@dataclass(frozen=True)
class Inputs:
    """What a server is measured against, besides its own specification."""

    classes: Sequence[TrackingServerClass]
    namespace_labels: dict[str, str]
    namespace_is_terminating: bool
    siblings: Sequence[Sibling]
    """The other servers in the namespace."""
    deployment: KubeObject | None = None
    """The server's own, as it runs now."""
    pods: Sequence[KubeObject] = ()
    """The server's own that exist, those that are about to stop among them."""
    unreadable_classes: frozenset[str] = frozenset()
    """The names of classes that this version of the operator cannot read."""
    granted_namespaces: Sequence[GrantedNamespace] = ()
    """Which namespaces are meant to whom the owner grants the use of the server by name."""
    clients: Sequence[ConnectedClient] = ()
    """The clients that are let in."""


def inputs_of(resource: TrackingServer, cache: ObjectCache) -> Inputs:
    """What the server is measured against, besides its own specification."""
    metadata = resource.metadata
    namespace = _namespace(metadata.namespace, cache)
    siblings = cache.readings(TRACKING_SERVER, metadata.namespace, _sibling)
    classes = classes_in(cache)
    granted = granted_namespaces(resource, cache)
    return Inputs(
        classes=classes,
        unreadable_classes=_unreadable_classes(classes, cache),
        namespace_labels=namespace.get("labels") or {},
        namespace_is_terminating=bool(namespace.get("deletionTimestamp")),
        siblings=[one for one in siblings if one is not None and one.uid != metadata.uid],
        deployment=cache.get(DEPLOYMENT, metadata.namespace, metadata.name),
        pods=server_pods(cache.children(metadata.namespace, metadata.name, POD)),
        granted_namespaces=granted,
        clients=[one.connected for one in admitted(resource, cache, granted)],
    )


def classes_in(cache: ObjectCache) -> list[TrackingServerClass]:
    """All classes that can be read."""
    return _readable_classes(cache.list(TRACKING_SERVER_CLASS), cache)


def _unreadable_classes(readable: Sequence[TrackingServerClass], cache: ObjectCache) -> frozenset[str]:
    everybody = {name_of(live) for live in cache.list(TRACKING_SERVER_CLASS)}
    return frozenset(everybody - {one.metadata.name for one in readable})


def labels_of_namespace(name: str, cache: ObjectCache) -> dict[str, str]:
    """The labels of a namespace."""
    return _namespace(name, cache).get("labels") or {}


def readable_server(live: KubeObject) -> TrackingServer | None:
    """A server, if it can be read; what cannot be read is reported when its own turn comes."""
    try:
        return TrackingServer.model_validate(live)
    except ValidationError as error:
        _note_unreadable(live, error)
        return None


def class_of(resource: TrackingServer, cache: ObjectCache) -> ChosenClass:
    """The class as it is now; one that is gone or unreadable asks for nothing, so that data is kept."""
    placement = placement_of(resource)
    name = placement.class_name if placement else _class_asked_for(resource, cache)
    if not name:
        return ChosenClass(name, BUILT_IN_CLASS)
    live = cache.get(TRACKING_SERVER_CLASS, None, name)
    found = _readable_classes([live] if live else [], cache)
    if not found:
        return ChosenClass(name, TrackingServerClassSpec(), is_gone=True)
    return ChosenClass(name, found[0].spec)


def _class_asked_for(resource: TrackingServer, cache: ObjectCache) -> str:
    """The class that a server without a placement would get; without a name while several claim to be the default."""
    if resource.spec.class_name is not None:
        return resource.spec.class_name
    try:
        return default_class_name({one.metadata.name: one for one in classes_in(cache)})
    except Invalid:
        return ""


def _namespace(name: str, cache: ObjectCache) -> KubeObject:
    metadata: KubeObject = (cache.get(NAMESPACE, None, name) or {}).get("metadata", {})
    return metadata


def _readable_classes(objects: Iterable[KubeObject], cache: ObjectCache) -> list[TrackingServerClass]:
    """Read classes, each version once; what cannot be read is reported when its own turn comes."""
    found = (cache.read_once(obj, _class) for obj in objects)
    return [one for one in found if one is not None]


def _class(live: KubeObject) -> TrackingServerClass | None:
    try:
        return TrackingServerClass.model_validate(live)
    except ValidationError as error:
        _note_unreadable(live, error)
        return None


def _sibling(live: KubeObject) -> Sibling | None:
    server = readable_server(live)
    return Sibling.of(server) if server else None


def _note_unreadable(live: KubeObject, error: ValidationError) -> None:
    logger.debug("%s cannot be read by this version of the operator: %s", describe(live), error)
