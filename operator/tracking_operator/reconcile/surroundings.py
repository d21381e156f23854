"""What is around a server, as the watches have shown it: classes, its namespace, its siblings. Nothing is asked."""

import logging
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass, TrackingServerClassSpec
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import DEPLOYMENT, NAMESPACE, KubeObject, describe
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.decide import recorded_decision
from tracking_operator.reconcile.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.reconcile.observe import server_pods
from tracking_operator.reconcile.plan import Surroundings

logger = logging.getLogger(__name__)

Resource = TypeVar("Resource", TrackingServer, TrackingServerClass)


def surroundings_of(resource: TrackingServer, cache: ObjectCache) -> Surroundings:
    """What the server is measured against, besides its own specification."""
    metadata = resource.metadata
    namespace = _namespace(metadata.namespace, cache)
    servers = _readable(TrackingServer, cache.list(TRACKING_SERVER, metadata.namespace))
    return Surroundings(
        classes=classes_in(cache),
        namespace_labels=namespace.get("labels") or {},
        namespace_is_terminating=bool(namespace.get("deletionTimestamp")),
        siblings=[one for one in servers if one.metadata.uid != metadata.uid],
        deployment=cache.get(DEPLOYMENT, metadata.namespace, metadata.name),
        pods=server_pods(cache.children(metadata.namespace, metadata.name)),
    )


def classes_in(cache: ObjectCache) -> list[TrackingServerClass]:
    """All classes that can be read."""
    return _readable(TrackingServerClass, cache.list(TRACKING_SERVER_CLASS))


def labels_of_namespace(name: str, cache: ObjectCache) -> dict[str, str]:
    """The labels of a namespace."""
    return _namespace(name, cache).get("labels") or {}


def readable_server(live: KubeObject) -> TrackingServer | None:
    """A server, if it can be read."""
    return next(iter(_readable(TrackingServer, [live])), None)


def class_of(resource: TrackingServer, cache: ObjectCache) -> ChosenClass:
    """The class as it is now; one that is gone or unreadable asks for nothing, so that data is kept."""
    try:
        decision = recorded_decision(resource)
    except Invalid:
        decision = None
    name = decision.class_name if decision else resource.spec.class_name or ""
    live = cache.get(TRACKING_SERVER_CLASS, None, name)
    found = _readable(TrackingServerClass, [live] if live else [])
    return ChosenClass(name, found[0].spec if found else TrackingServerClassSpec())


def _namespace(name: str, cache: ObjectCache) -> KubeObject:
    metadata: KubeObject = (cache.get(NAMESPACE, None, name) or {}).get("metadata", {})
    return metadata


def _readable(model: type[Resource], objects: Iterable[KubeObject]) -> list[Resource]:
    """Read what surrounds a server; what cannot be read is reported when its own turn comes."""
    readable = []
    for obj in objects:
        try:
            readable.append(model.model_validate(obj))
        except ValidationError as error:
            logger.debug("%s cannot be read by this version of the operator: %s", describe(obj), error)
    return readable
