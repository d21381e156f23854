"""A Kubernetes API of a few dictionaries, for what the control loop decides.

It knows namespaces of names, UIDs, resource versions and generations, and merges what is applied into what is
stored. It knows no validation, no defaults, no field ownership and no garbage collection: what depends on those
is tested on a real API server.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import cast

import jsonpatch
import jsonpointer

from tests.unit.examples import Manifest
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import Kind, describe, kind_of, name_of, namespace_of

Place = tuple[Kind, str | None, str]


class MemoryApi:
    """Stores objects and remembers every call."""

    def __init__(self) -> None:
        self.objects: dict[Place, Manifest] = {}
        self.calls: list[str] = []
        self.refusals: dict[str, ApiError] = {}
        """Errors to answer writes with, by kind."""
        self._version = 0

    @property
    def writes(self) -> list[str]:
        """The calls that change something, each as ``verb kind``."""
        return [call for call in self.calls if not call.startswith(("get", "list"))]

    def as_client(self) -> KubeClient:
        """This API in the place of the real client."""
        return cast(KubeClient, self)

    def store(self, obj: Manifest) -> Manifest:
        """Put an object in place as somebody else would; return it as it is stored."""
        place = kind_of(obj), namespace_of(obj), name_of(obj)
        before = self.objects.get(place)
        self._version += 1
        metadata = dict(obj["metadata"])
        metadata["uid"] = before["metadata"]["uid"] if before else metadata.get("uid", f"uid-{self._version}")
        metadata.setdefault("creationTimestamp", "2026-01-01T10:00:00Z")
        same_spec = before is not None and before.get("spec") == obj.get("spec")
        generation = before["metadata"]["generation"] if before else 0
        metadata["generation"] = generation if same_spec else generation + 1
        metadata["resourceVersion"] = str(self._version)
        self.objects[place] = obj | {"metadata": metadata}
        return self.objects[place]

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Return the object or None."""
        self.calls.append(f"get {kind}")
        return self.objects.get((kind, namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        *,
        field_selector: str | None = None,
        limit: int | None = None,
        most_bytes: int | None = None,
    ) -> list[Manifest]:
        """Return the objects of a kind; of Events those about one object, for one reason."""
        self.calls.append(f"list {kind}")
        wanted = dict(one.split("=", 1) for one in (field_selector or "").split(",") if one)
        return [
            obj
            for (known, of_namespace, _), obj in self.objects.items()
            if known == kind
            and namespace in (None, of_namespace)
            and wanted.get("reason") in (None, obj.get("reason"))
            and wanted.get("involvedObject.uid") in (None, (obj.get("involvedObject") or {}).get("uid"))
        ]

    async def apply(
        self, obj: Manifest, *, subresource: str | None = None, dry_run: bool = False
    ) -> Manifest:
        """Merge the object into what is stored."""
        kind = kind_of(obj)
        self.calls.append(f"apply {kind}" + (f"/{subresource}" if subresource else ""))
        if refusal := self.refusals.get(str(kind)):
            raise refusal
        before = self.objects.get((kind, namespace_of(obj), name_of(obj)))
        wanted_uid = obj["metadata"].get("uid")
        if before and before.get("immutable") and _changes_content(before, obj):
            raise ApiError(422, "Invalid", f"{describe(obj)} is immutable")
        if wanted_uid and (before is None or before["metadata"]["uid"] != wanted_uid):
            raise ApiError(409, "Conflict", f"{describe(obj)} has another UID")
        read = obj["metadata"].get("resourceVersion")
        if read and (before is None or before["metadata"]["resourceVersion"] != read):
            raise ApiError(409, "Conflict", f"{describe(obj)} was changed since version {read}")
        if subresource == "status":  # all of it is ours, so that what is not mentioned goes
            return self.store({**(before or {}), "status": obj["status"]})
        merged = _merged(before or {}, obj)
        return merged if dry_run else self.store(merged)

    async def create(self, obj: Manifest) -> Manifest:
        """Store an object whose name is free."""
        kind = kind_of(obj)
        self.calls.append(f"create {kind}")
        if refusal := self.refusals.get(str(kind)):
            raise refusal
        if (kind, namespace_of(obj), name_of(obj)) in self.objects:
            raise ApiError(409, "AlreadyExists", f"{describe(obj)} exists already")
        return self.store(obj)

    async def json_patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        operations: Sequence[JsonPatchOperation],
        *,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Manifest:
        """Change metadata; the repair of merged lists is tested with the real API server."""
        self.calls.append(f"patch {kind}")
        before = self.objects[kind, namespace, name]
        # The API server's library takes what is missing for null; this one fails.
        operations = [one for one in operations if not _is_met_by_nothing(one, before)]
        patched = jsonpatch.apply_patch(copy.deepcopy(before), operations)
        return patched if dry_run else self.store(patched)

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> bool:
        """Remove the object, or note that this is wanted while something holds it."""
        self.calls.append(f"delete {kind}")
        before = self.objects.get((kind, namespace, name))
        if uid and before and before["metadata"]["uid"] != uid:
            raise ApiError(409, "Conflict", f"{describe(before)} has another UID")
        if before and before["metadata"].get("finalizers"):
            self.store(
                before | {"metadata": before["metadata"] | {"deletionTimestamp": "2026-01-01T11:00:00Z"}}
            )
            return True
        return self.objects.pop((kind, namespace, name), None) is not None

    def names(self) -> Counter[str]:
        """What is stored, as ``Kind/name``."""
        return Counter(f"{kind}/{name}" for kind, _, name in self.objects)


def _merged(before: Manifest, applied: Manifest) -> Manifest:
    """Apply as for a map: what is not mentioned stays, ``null`` removes, lists are replaced."""
    result = dict(before)
    for key, value in applied.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            known = result.get(key)
            result[key] = _merged(known if isinstance(known, dict) else {}, value)
        else:
            result[key] = value
    return result


def _changes_content(before: Manifest, applied: Manifest) -> bool:
    return any(_merged(before, applied).get(field) != before.get(field) for field in ("data", "binaryData"))


def _is_met_by_nothing(operation: JsonPatchOperation, before: Manifest) -> bool:
    return (
        operation["op"] == "test"
        and operation["value"] is None
        and jsonpointer.resolve_pointer(before, operation["path"], None) is None
    )
