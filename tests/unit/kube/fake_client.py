"""An API server in memory, as far as the code under test can tell: resource versions, UIDs, conflicts."""

import copy
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import cast

import jsonpatch

from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import Kind, KubeObject, kind_of, name_of, namespace_of

Place = tuple[Kind, str | None, str]
AfterWrite = Callable[[KubeObject], None]


class FakeClient:
    """Stores objects, counts calls, and fails when told to.

    ``apply`` merges maps and replaces lists; ``after_write`` plays a webhook that changes what is stored.
    """

    def __init__(self) -> None:
        self.stored: dict[Place, KubeObject] = {}
        self.calls: list[tuple[str, str]] = []
        self.errors: list[ApiError] = []
        self.after_write: AfterWrite = lambda _: None
        self._version = 100

    def as_client(self) -> KubeClient:
        return cast(KubeClient, self)

    def alone(self) -> KubeClient:
        return self.as_client()

    def put(self, obj: KubeObject) -> KubeObject:
        """Store an object as another client would, and return a copy of what is stored."""
        place = kind_of(obj), namespace_of(obj), name_of(obj)
        self._version += 1
        new = copy.deepcopy(obj)
        new["metadata"].setdefault("uid", f"uid-{self._version}")
        new["metadata"]["resourceVersion"] = str(self._version)
        self.stored[place] = new
        return copy.deepcopy(new)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        self._called("get", name)
        return copy.deepcopy(self.stored.get((kind, namespace, name)))

    async def apply(self, obj: KubeObject, *, dry_run: bool = False) -> KubeObject:
        self._called("dry run" if dry_run else "apply", name_of(obj))
        place = kind_of(obj), namespace_of(obj), name_of(obj)
        live = self.stored.get(place)
        uid = obj["metadata"].get("uid")
        if uid and (live is None or live["metadata"]["uid"] != uid):
            raise conflict()
        return self._answer(_merge(live or {}, obj), dry_run=dry_run)

    async def json_patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        operations: Sequence[JsonPatchOperation],
        *,
        dry_run: bool = False,
    ) -> KubeObject:
        self._called("dry run" if dry_run else "patch", name)
        live = self.stored[(kind, namespace, name)]
        try:
            patched = jsonpatch.apply_patch(copy.deepcopy(live), list(operations))
            return self._answer(patched, dry_run=dry_run)
        except jsonpatch.JsonPatchTestFailed as error:
            raise invalid("the test of the patch failed") from error

    async def create(self, obj: KubeObject) -> KubeObject:
        self._called("create", name_of(obj))
        if (kind_of(obj), namespace_of(obj), name_of(obj)) in self.stored:
            raise conflict()
        return self._store(obj)

    async def replace(self, obj: KubeObject) -> KubeObject:
        self._called("replace", name_of(obj))
        live = self.stored.get((kind_of(obj), namespace_of(obj), name_of(obj)))
        if live is None or live["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise conflict()
        return self._store(obj)

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> bool:
        self._called("delete", name)
        live = self.stored.get((kind, namespace, name))
        if live is None:
            return False
        if uid and live["metadata"]["uid"] != uid:
            raise conflict()
        del self.stored[(kind, namespace, name)]
        return True

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.calls]

    def _called(self, verb: str, name: str) -> None:
        self.calls.append((verb, name))
        if self.errors and verb != "get":
            raise self.errors.pop(0)

    def _answer(self, obj: KubeObject, *, dry_run: bool) -> KubeObject:
        if not dry_run:
            return self._store(obj)
        admitted = copy.deepcopy(obj)
        self.after_write(admitted)
        return admitted

    def _store(self, obj: KubeObject) -> KubeObject:
        new = self.put(obj)
        self.after_write(new)
        return self.put(new)


def conflict() -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "Conflict", "the object has been modified")


def invalid(message: str = "spec.ports[1].name: Duplicate value") -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message)


def _merge(live: KubeObject, wanted: KubeObject) -> KubeObject:
    merged = {
        key: _merge(live.get(key, {}), value) if isinstance(value, dict) else copy.deepcopy(value)
        for key, value in wanted.items()
    }
    return copy.deepcopy(live) | merged
