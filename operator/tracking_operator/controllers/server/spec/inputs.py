"""What is around a server, as the watches have shown it: classes, its namespace, its siblings. Nothing is asked."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import (
    BUILT_IN_CLASS,
    TrackingServerClass,
    TrackingServerClassSpec,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.controllers.server.children.pods import server_pods
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.controllers.server_class.class_of_server import ChosenClass, default_class_name
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import DEPLOYMENT, NAMESPACE, KubeObject, describe, name_of

logger = logging.getLogger(__name__)

Resource = TypeVar("Resource", TrackingServer, TrackingServerClass)


@dataclass(frozen=True)
class Inputs:
    """What a server is measured against, besides its own specification."""

    classes: Sequence[TrackingServerClass]
    namespace_labels: dict[str, str]
    namespace_is_terminating: bool
    siblings: Sequence[TrackingServer]
    """The other servers in the namespace."""
    deployment: KubeObject | None = None
    """The server's own, as it runs now."""
    pods: Sequence[KubeObject] = ()
    """The server's own that exist, those that are about to stop among them."""
    unreadable_classes: frozenset[str] = frozenset()
    """The names of classes that this version of the operator cannot read."""


def inputs_of(resource: TrackingServer, cache: ObjectCache) -> Inputs:
    """What the server is measured against, besides its own specification."""
    metadata = resource.metadata
    namespace = _namespace(metadata.namespace, cache)
    servers = _readable(TrackingServer, cache.list(TRACKING_SERVER, metadata.namespace), cache)
    classes = classes_in(cache)
    return Inputs(
        classes=classes,
        unreadable_classes=_unreadable_classes(classes, cache),
        namespace_labels=namespace.get("labels") or {},
        namespace_is_terminating=bool(namespace.get("deletionTimestamp")),
        siblings=[one for one in servers if one.metadata.uid != metadata.uid],
        deployment=cache.get(DEPLOYMENT, metadata.namespace, metadata.name),
        pods=server_pods(cache.children(metadata.namespace, metadata.name)),
    )


def classes_in(cache: ObjectCache) -> list[TrackingServerClass]:
    """All classes that can be read."""
    return _readable(TrackingServerClass, cache.list(TRACKING_SERVER_CLASS), cache)


def _unreadable_classes(readable: Sequence[TrackingServerClass], cache: ObjectCache) -> frozenset[str]:
    everybody = {name_of(live) for live in cache.list(TRACKING_SERVER_CLASS)}
    return frozenset(everybody - {one.metadata.name for one in readable})


def labels_of_namespace(name: str, cache: ObjectCache) -> dict[str, str]:
    """The labels of a namespace."""
    return _namespace(name, cache).get("labels") or {}


def readable_server(live: KubeObject, cache: ObjectCache) -> TrackingServer | None:
    """A server, if it can be read."""
    return next(iter(_readable(TrackingServer, [live], cache)), None)


def class_of(resource: TrackingServer, cache: ObjectCache) -> ChosenClass:
    """The class as it is now; one that is gone or unreadable asks for nothing, so that data is kept."""
    placement = placement_of(resource)
    name = placement.class_name if placement else _class_asked_for(resource, cache)
    if not name:
        return ChosenClass(name, BUILT_IN_CLASS)
    live = cache.get(TRACKING_SERVER_CLASS, None, name)
    found = _readable(TrackingServerClass, [live] if live else [], cache)
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


def _readable(model: type[Resource], objects: Iterable[KubeObject], cache: ObjectCache) -> list[Resource]:
    """Read what surrounds a server, each version once; what cannot be read is reported when its own turn comes."""

    def read(obj: KubeObject) -> Resource | None:
        try:
            return model.model_validate(obj)
        except ValidationError as error:
            logger.debug("%s cannot be read by this version of the operator: %s", describe(obj), error)
            return None

    found = (cache.read_once(obj, read) for obj in objects)
    return [one for one in found if one is not None]
