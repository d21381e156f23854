"""What of an object is kept in memory: as much as somebody reads, never a long text, and no more than a share.

Whoever may write objects in a namespace decides how many there are and how large they are. So nothing of that is
kept as it comes: a long text is kept as its digest, which is enough to see that it is not what it should be.
"""

import hashlib
import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from tracking_operator.api.labels_and_annotations import (
    ALLOW_EMPTY_STORE_ANNOTATION,
    FINALIZER,
    FORCE_ORPHAN_ANNOTATION,
    GROUP,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
)
from tracking_operator.kube.field_managers import own_updates
from tracking_operator.kube.objects import POD, Kind, KubeObject, kind_of, resource_version_of

LONGEST_TEXT_KEPT: Final = 4096
"""Characters. Kubernetes allows a container as many bytes for its last words, which are read here
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/)."""

MOST_BYTES_OF_AN_OBJECT: Final = 256 * 1024
"""A larger one is not kept. The largest of ours, a Deployment, takes about a tenth of it."""

MEBIBYTE: Final = 1024 * 1024
MOST_BYTES_OF_A_NAMESPACE: Final = 16 * MEBIBYTE
"""Unpacked: a look at a server may need all of it at once."""
MOST_OBJECTS_OF_A_NAMESPACE: Final = 5000

MOST_BYTES_OF_ALL_NAMESPACES: Final = 64 * MEBIBYTE
"""Where they have that much together, those who have most make room for those who have less."""

MOST_BYTES_OF_A_RESOURCE: Final = 64 * 1024
MOST_BYTES_OF_RESOURCES: Final = 16 * MEBIBYTE
"""The share of a namespace's own resources of ours. What is beyond it is kept in outline."""
MOST_BYTES_OF_ALL_RESOURCES: Final = 32 * MEBIBYTE

LONGEST_ANNOTATION_IN_OUTLINE: Final = 256
"""Characters. Whoever reconciles a resource that is kept in outline reads all of it from the API server."""

_BYTES_OF_A_TEXT: Final = 56
_BYTES_OF_A_CONTAINER: Final = 64
_BYTES_OF_AN_ENTRY: Final = 100
_BYTES_OF_A_NUMBER: Final = 32
"""What CPython takes for them on a 64-bit machine, to within a third."""
_BYTES_OF_A_PACKED_OBJECT: Final = 600
"""What is noted of a packed object beside its content."""
_FASTEST: Final = 1
"""Of zlib's levels: the others take twice the time, and save a tenth of the bytes."""


_SHA256: Final = "sha256:"


class Digest(str):
    """Stands for a text that was too long to be kept; no text is equal to it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and super().__eq__(other)

    __hash__ = str.__hash__

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what stands for this text."""
        return cls(f"{_SHA256}{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}")

    @property
    def sha256(self) -> str:
        """The text's SHA-256, in hexadecimal digits."""
        return self.removeprefix(_SHA256)


@dataclass(frozen=True)
class Kept:
    """An object as it is kept."""

    obj: KubeObject
    size: int
    """About how many bytes it takes in memory."""
    is_whole: bool
    """Whether every text in it is the one that the API server has."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A whole object as compressed JSON: a tenth of what its dicts take, and opened in less than 0.1 ms."""

    version: int
    controllers: tuple[str, ...]
    """The UIDs of the owners that control it: one, or none."""
    content: bytes

    @classmethod
    def of(cls, obj: KubeObject) -> Self:
        """Pack an object."""
        text = json.dumps(obj, separators=(",", ":"))
        return cls(
            resource_version_of(obj),
            tuple(sys.intern(uid) for uid in controllers_of(obj)),
            zlib.compress(text.encode(), _FASTEST),
        )

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return len(self.content) + _BYTES_OF_A_PACKED_OBJECT

    def open(self) -> KubeObject:
        """Return the object."""
        obj: KubeObject = json.loads(zlib.decompress(self.content))
        return obj


def controllers_of(obj: KubeObject) -> list[str]:
    """Return the UIDs of the owners that control an object."""
    references = obj["metadata"].get("ownerReferences") or ()
    return [str(one["uid"]) for one in references if one.get("controller")]


def keep(obj: KubeObject) -> Kept:
    """Return what is kept of an object."""
    walk = _Walk()
    projection = _PROJECTIONS.get(kind_of(obj))
    kept = walk.map(trim(projection(obj) if projection else obj))
    return Kept(kept, walk.size, is_whole=walk.is_whole and projection is None)


def trim(obj: KubeObject) -> KubeObject:
    """Return the object without ``managedFields``, often half of it, but for a note that we own some by a JSON patch."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if updates := own_updates(obj):
        metadata["managedFields"] = [
            {key: value for key, value in entry.items() if key != "fieldsV1"} for entry in updates[:1]
        ]
    return obj | {"metadata": metadata}


def keep_resource(obj: KubeObject) -> Kept:
    """Return what is kept of a resource of ours: all but what others annotate it with, every text as it is."""
    obj = trim(obj)
    annotations = obj["metadata"].get("annotations") or {}
    ours = {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}
    obj = obj | {"metadata": obj["metadata"] | {"annotations": ours}}
    walk = _Walk(longest_text=sys.maxsize)
    kept = walk.map(obj)
    return Kept(kept, walk.size, is_whole=True)


def outline(resource: KubeObject) -> KubeObject:
    """Return as much of a resource of ours as others have to know of it: who it is, where it lives, and how it is.

    It is small however large the resource is: nothing is taken from it but what is named here.
    """
    spec = resource.get("spec") or {}
    known = _those(spec, "className", "deletionPolicy")
    for member, of_member in _OUTLINED.items():
        if member in spec:
            known[member] = of_member(spec[member] or {})
    parts = {"metadata": _outlined_metadata(resource["metadata"]), "spec": known}
    return _those(resource, "apiVersion", "kind", "status") | parts


def _outlined_metadata(metadata: KubeObject) -> KubeObject:
    """Who a resource is, and what its team asks for by annotations. Of finalizers, which anybody may add, ours counts."""
    known = _those(metadata, *_IDENTITY)
    annotations = _those(metadata.get("annotations") or {}, *_ANNOTATIONS)
    known["annotations"] = {
        key: value for key, value in annotations.items() if len(value) <= LONGEST_ANNOTATION_IN_OUTLINE
    }
    if FINALIZER in (metadata.get("finalizers") or ()):
        known["finalizers"] = [FINALIZER]
    return known


def _outlined_access(access: KubeObject) -> KubeObject:
    known = _those(access, "host", "path")
    if "authentication" in access:
        known["authentication"] = _kinds(access["authentication"] or {}, "basic", "none")
    return known


def _outlined_backend_store(store: KubeObject) -> KubeObject:
    """The kind, by which it is decided whose the data is; of an external one what it cannot be read without."""
    known = _kinds(store, "postgres", "sqlite", "external")
    if "external" in known:
        reference = store["external"].get("uriSecretRef") or {}
        known["external"] = {"uriSecretRef": _those(reference, "name", "key")}
    return known


def _outlined_artifact_store(store: KubeObject) -> KubeObject:
    known = _kinds(store, "s3", "volume", "external") | _those(store, "proxied")
    if "external" in known:
        known["external"] = _those(store["external"], "uri")
    return known


def _those(of: KubeObject, *keys: str) -> KubeObject:
    """These members, where they are there."""
    return {key: of[key] for key in keys if key in of}


def _kinds(of: KubeObject, *kinds: str) -> KubeObject:
    """Which of these it has, without what they have."""
    return {kind: {} for kind in kinds if of.get(kind) is not None}


def last_state(resource: KubeObject) -> KubeObject | None:
    """Return what is kept of a resource of ours that is gone; None where nothing is left to be done for it.

    Something is left of one that has our finalizer, or has data outside of the cluster: its status says so, which its team
    cannot write.
    """
    placement = (resource.get("status") or {}).get("placement") or {}
    is_held = FINALIZER in (resource["metadata"].get("finalizers") or ())
    if not (is_held or placement.get("database") or placement.get("artifacts")):
        return None
    kept = keep_resource(resource)
    if kept.size <= MOST_BYTES_OF_A_RESOURCE:
        return kept.obj
    return outline(kept.obj)


class Shares:
    """How much is kept of the objects of each namespace."""

    def __init__(
        self,
        most_bytes: int = MOST_BYTES_OF_A_NAMESPACE,
        most_objects: int = MOST_OBJECTS_OF_A_NAMESPACE,
        most_bytes_of_one: int = MOST_BYTES_OF_AN_OBJECT,
        most_bytes_in_all: int = MOST_BYTES_OF_ALL_NAMESPACES,
    ) -> None:
        self._most_bytes = most_bytes
        self._most_objects = most_objects
        self._most_bytes_of_one = most_bytes_of_one
        self._most_bytes_in_all = most_bytes_in_all
        self._bytes_in_all = 0
        self._bytes: defaultdict[str | None, int] = defaultdict(int)
        self._packed: defaultdict[str | None, int] = defaultdict(int)
        self._objects: defaultdict[str | None, int] = defaultdict(int)

    def take(self, namespace: str | None, size: int, packed: int) -> bool:
        """Take ``size`` bytes for one object of a namespace; return False where its share, or all there is, is used up.

        Of the share of a namespace an object takes what it does when it is opened; of all there is, what it takes packed.
        """
        if not self._allows(namespace, size) or self._bytes_in_all + packed > self._most_bytes_in_all:
            return False
        self._bytes[namespace] += size
        self._packed[namespace] += packed
        self._objects[namespace] += 1
        self._bytes_in_all += packed
        return True

    def largest_beside(self, namespace: str | None, size: int, packed: int) -> str | None:
        """Return who has most, if that is more than this namespace would have with one object more within its share."""
        largest = max(self._packed, key=self._packed.__getitem__, default=None)
        has_more = self._packed.get(largest, 0) > self._packed.get(namespace, 0) + packed
        return largest if has_more and self._allows(namespace, size) else None

    def give_back(self, namespace: str | None, size: int, packed: int) -> None:
        """Give back what was taken for one object."""
        self._bytes_in_all -= packed
        self._bytes[namespace] -= size
        self._packed[namespace] -= packed
        self._objects[namespace] -= 1
        if not self._objects[namespace]:
            del self._bytes[namespace], self._packed[namespace], self._objects[namespace]

    def _allows(self, namespace: str | None, size: int) -> bool:
        return (
            size <= self._most_bytes_of_one
            and self._bytes.get(namespace, 0) + size <= self._most_bytes
            and self._objects.get(namespace, 0) < self._most_objects
        )


class _Walk:
    """Copies a value with a digest in the place of every long text, and adds up what the copy takes.

    Keys, which most objects have in common, are in memory once.
    """

    def __init__(self, longest_text: int = LONGEST_TEXT_KEPT) -> None:
        self.size = 0
        self.is_whole = True
        self._longest_text = longest_text

    def map(self, value: Mapping[str, Any]) -> KubeObject:
        self.size += _BYTES_OF_A_CONTAINER
        copy = {}
        for key, one in value.items():
            self.size += _BYTES_OF_AN_ENTRY + len(key)
            copy[sys.intern(key)] = self._value(one)
        return copy

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self.map(value)
        if isinstance(value, list):
            self.size += _BYTES_OF_A_CONTAINER + 8 * len(value)
            return [self._value(one) for one in value]
        self.size += _BYTES_OF_A_NUMBER
        return value

    def _text(self, text: str) -> str:
        if len(text) > self._longest_text:
            self.is_whole = False
            text = Digest.of(text)
        self.size += _BYTES_OF_A_TEXT + len(text) * (1 if text.isascii() else 4)
        return text


def _pod(pod: KubeObject) -> KubeObject:
    """What is read of a pod: whose it is, what its containers were started with, and how it stands."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "annotations"}
    containers = ((pod.get("spec") or {}).get("containers")) or ()
    started = [{key: one[key] for key in ("name", "args") if key in one} for one in containers]
    status = {key: value for key, value in (pod.get("status") or {}).items() if key in _POD_STATUS}
    return pod | {"metadata": metadata, "spec": {"containers": started}, "status": status}


_POD_STATUS: Final = {"phase", "podIP", "conditions", "containerStatuses", "initContainerStatuses"}
_PROJECTIONS: Final[Mapping[Kind, Callable[[KubeObject], KubeObject]]] = {POD: _pod}

_IDENTITY: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
)
_ANNOTATIONS: Final = (
    ALLOW_EMPTY_STORE_ANNOTATION,
    FORCE_ORPHAN_ANNOTATION,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
)
_OUTLINED: Final[Mapping[str, Callable[[KubeObject], KubeObject]]] = {
    "access": _outlined_access,
    "backendStore": _outlined_backend_store,
    "artifactStore": _outlined_artifact_store,
}
"""Members of a specification by which others, or what is done after a removal, decide."""
