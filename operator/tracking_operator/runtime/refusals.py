"""Tells a namespace that its share of the operator's memory is used up."""

import logging
import time
from collections.abc import Callable
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import SERVER_LABEL, WATCH_LABEL
from tracking_operator.kube.cache_memory import (
    MEBIBYTE,
    MOST_BYTES_OF_A_NAMESPACE,
    MOST_BYTES_OF_AN_OBJECT,
    MOST_OBJECTS_OF_A_NAMESPACE,
)
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject, describe, name_of, namespace_of, uid_of

logger = logging.getLogger(__name__)

SILENT_SECONDS: Final = 3600.0
"""Said once in this time about each namespace, however many objects are refused."""


class Refusals:
    """Objects that the cache did not keep. What is refused before this operator is active is told when it is."""

    def __init__(self, events: EventRecorder, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._clock = clock
        self._is_active = False
        self._untold: dict[str | None, KubeObject] = {}
        self._told: dict[str | None, float] = {}

    def note(self, refused: KubeObject) -> None:
        """Hear that an object was not kept."""
        namespace = namespace_of(refused)
        if self._clock() - self._told.get(namespace, -SILENT_SECONDS) < SILENT_SECONDS:
            return
        self._untold[namespace] = _named(refused)
        if self._is_active:
            self._tell()

    def begin(self) -> None:
        """Tell from now on, beginning with what is known already."""
        self._is_active = True
        self._tell()

    def _tell(self) -> None:
        for namespace, refused in self._untold.items():
            self._told[namespace] = self._clock()
            logger.warning("%s is not followed: the share of its namespace is used up.", describe(refused))
            self._events.record(refused, "Warning", Reason.LIMIT_EXCEEDED.value, _MESSAGE)
        self._untold.clear()


_MESSAGE: Final = (
    f"The operator does not follow this object: it has more than {MOST_BYTES_OF_AN_OBJECT // 1024} KiB, or the "
    f"namespace's share of {MOST_OBJECTS_OF_A_NAMESPACE} objects and {MOST_BYTES_OF_A_NAMESPACE // MEBIBYTE} MiB is "
    "used up, or it has more than others while memory is short. Changes of its servers may be seen late. Remove objects "
    f"that no server needs and that carry the label {SERVER_LABEL} or {WATCH_LABEL}."
)


def _named(obj: KubeObject) -> KubeObject:
    """As much of an object as an Event about it needs."""
    metadata = {"name": name_of(obj), "namespace": namespace_of(obj), "uid": uid_of(obj)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
