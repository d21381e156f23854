"""Bring the cluster to a desired set of objects: compare first, write only what differs, once.

A write is a server-side apply wherever that is enough. It is not where somebody *added* to a list that
the API server merges, or changed the merge key of an entry (a Service's port number): apply would leave
the stranger's entry, or be refused because of it. Such an object is put right with one JSON patch.
And it is not where the object is immutable: that one is deleted and made anew.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION
from tracking_operator.kube.cache import ObjectCache, place_of
from tracking_operator.kube.cache_memory import trim
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.compare import (
    Difference,
    differences,
)
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.field_managers import claim_own_updates, own_updates
from tracking_operator.kube.json_patch import JsonPatchOperation, patch_operations
from tracking_operator.kube.objects import (
    Kind,
    KubeObject,
    kind_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)

CONCURRENT_WRITES: Final = 8
MAX_WRITES_PER_OBJECT: Final = 3
"""Apply, then take out what it left, then apply what the leftover had made impossible: never more."""


class Ownership(Enum):
    """Whose a live object is."""

    OURS = auto()
    FOREIGN = auto()
    LEAVING = auto()
    """It goes away by itself: being deleted, or garbage of a previous owner of the same name."""


OwnerCheck = Callable[[KubeObject], Ownership]


@dataclass(frozen=True)
class Apply:
    """Server-side apply this object."""

    obj: KubeObject
    why: str


@dataclass(frozen=True)
class JsonPatch:
    """Send these operations; the first one makes sure that nothing changed in between."""

    operations: tuple[JsonPatchOperation, ...]
    why: str


Write = Apply | JsonPatch


@dataclass(frozen=True)
class Written:
    """One write that happened, and why it was needed."""

    kind: Kind
    name: str
    why: str


@dataclass(frozen=True)
class Unsettled:
    """An object that differs even right after our write: something else changes it back at once."""

    obj: KubeObject
    difference: Difference


@dataclass
class AppliedSet:
    """What came of a desired set. ``objects`` are the live ones of ours, as they are now."""

    objects: list[KubeObject] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    conflicts: list[KubeObject] = field(default_factory=list)
    leaving: list[KubeObject] = field(default_factory=list)
    unsettled: list[Unsettled] = field(default_factory=list)
    contested: list[Unsettled] = field(default_factory=list)
    """Those of them that are left as they are by now."""
    failures: list[tuple[KubeObject, ApiError]] = field(default_factory=list)


@dataclass
class Pruned:
    """What came of removing objects that are no longer desired."""

    deleted: list[Written] = field(default_factory=list)
    failures: list[tuple[KubeObject, ApiError]] = field(default_factory=list)


def digest(desired: KubeObject) -> str:
    """Return a short fingerprint of what is applied; it changes when a field is dropped from it, too."""
    canonical = json.dumps(desired, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def plan(desired: KubeObject, live: KubeObject | None, mark: str | None = None) -> Write | None:
    """Return the one write that makes the live object as desired, or None when nothing is to do.

    ``mark`` is the digest of what is desired, where it is known already.
    """
    mark = mark or digest(desired)
    if live is None:
        return Apply(_stamped(desired, mark), "it is missing")
    found = list(differences(desired, live))
    if _stamp(live) != mark:
        why = str(found[0]) if found else "its previous version had fields that are no longer wanted"
        return Apply(_for_exactly(live, _stamped(desired, mark)), why)
    if not found:
        return None
    if any(difference.survives_apply for difference in found):
        return _patch(desired, live, str(found[0]))
    return Apply(_for_exactly(live, _stamped(desired, mark)), str(found[0]))


async def apply_all(
    client: KubeClient,
    cache: ObjectCache,
    desired: Sequence[KubeObject],
    *,
    owner: OwnerCheck,
    asks_again: bool = False,
) -> AppliedSet:
    """Make every desired object exist as desired, side by side; what is right already costs no call.

    ``owner`` decides whether a live object may be touched. Refusals of the API server do not raise: they
    are in the result, so that one refused object does not hold up the others. ``asks_again`` is whether to find out by a
    dry run if what is left to others would stay as desired by now: no watch tells that a policy has gone.
    """
    applier = _Applier(client, cache, owner, asks_again=asks_again)
    await asyncio.gather(*(applier.ensure(obj) for obj in desired))
    return applier.result


async def prune(
    client: KubeClient,
    cache: ObjectCache,
    live_children: Iterable[KubeObject],
    desired: Iterable[KubeObject],
) -> Pruned:
    """Delete the children that are not desired any more, each by its UID. The caller passes owned objects only."""
    wanted = {(kind_of(obj), namespace_of(obj), name_of(obj)) for obj in desired}
    result = Pruned()

    async def delete(obj: KubeObject) -> None:
        kind = kind_of(obj)
        try:
            if await client.delete(kind, namespace_of(obj), name_of(obj), uid=uid_of(obj)):
                result.deleted.append(Written(kind, name_of(obj), "it is no longer wanted"))
            cache.remove(obj)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:  # another object of that name took its place
                result.failures.append((obj, error))

    await asyncio.gather(
        *(
            delete(obj)
            for obj in live_children
            if (kind_of(obj), namespace_of(obj), name_of(obj)) not in wanted and not is_being_deleted(obj)
        )
    )
    return result


def is_being_deleted(obj: KubeObject) -> bool:
    """Whether somebody has asked to delete the object."""
    return bool(obj["metadata"].get("deletionTimestamp"))


class _Applier:
    """Brings one desired set about, and collects what came of it."""

    def __init__(
        self, client: KubeClient, cache: ObjectCache, owner: OwnerCheck, *, asks_again: bool
    ) -> None:
        self.result = AppliedSet()
        self._asks_again = asks_again
        self._client = client
        self._cache = cache
        self._owner = owner
        self._places = asyncio.Semaphore(CONCURRENT_WRITES)

    async def ensure(self, desired: KubeObject) -> None:
        async with self._places:
            try:
                live = await self._look_up(desired)
                mark = digest(desired)
                if live is not None and not self._may_touch(live):
                    return
                if live is not None and (left := await self._left_to_others(desired, live, mark)):
                    self.result.contested.append(left)
                elif live is None or not self._cache.is_settled(live, mark):
                    live = await self._write_until_settled(desired, live, mark)
                if live is not None:
                    self.result.objects.append(live)
            except ApiError as error:
                self.result.failures.append((desired, error))

    async def _write_until_settled(
        self, desired: KubeObject, live: KubeObject | None, mark: str
    ) -> KubeObject | None:
        """Return the object as it is in the end; None when it must not be touched."""
        write = plan(desired, live, mark)
        if write is not None and live is not None and self._cache.is_shortened(live):
            live = await self._client.get(*place_of(desired))
            if live is not None and not self._may_touch(live):
                return None
            write = plan(desired, live, mark)
        writes_left = MAX_WRITES_PER_OBJECT
        while write is not None and writes_left:
            writes_left -= 1
            try:
                live = await self._send(desired, live, write)
            except ApiError as error:
                planned_on, live = live, await self._read_again(desired, live, error)
                if live is not None and not self._may_touch(live):
                    return None
                is_new = _version_of(live) != _version_of(planned_on)
                write = plan(desired, live, mark) if is_new else _way_around(desired, live, write, error)
                continue
            self.result.written.append(Written(kind_of(desired), name_of(desired), write.why))
            written, write = write, plan(desired, live, mark)
            if type(write) is type(written):  # the same again would not settle it either
                break
        if live is None:
            return None
        place = place_of(desired)
        if write is None:
            self._cache.note_settled(live, mark)
            self._cache.contests.forget(place)
        elif found := list(differences(desired, live)):
            self._cache.contests.note(place, mark, [str(one) for one in found])
            self.result.unsettled.append(Unsettled(live, found[0]))
        return live

    async def _left_to_others(self, desired: KubeObject, live: KubeObject, mark: str) -> Unsettled | None:
        """How an object differs that is left as it is, because each write of it is changed back."""
        contests, place = self._cache.contests, place_of(desired)
        if not contests.knows(place) or _stamp(live) != mark or self._cache.is_shortened(live):
            return None
        found = list(differences(desired, live))
        if not contests.has_given_way(place, mark, [str(one) for one in found]):
            return None
        if self._asks_again and await self._would_stay(desired, live, mark):
            contests.forget(place)
            return None
        return Unsettled(live, found[0])

    async def _would_stay(self, desired: KubeObject, live: KubeObject, mark: str) -> bool:
        """Whether a write would not be changed back any more: admission sees a dry run as it sees a write."""
        write = plan(desired, live, mark)
        if write is None:
            return True
        try:
            answer = await self._request(desired, write, dry_run=True)
        except ApiError:  # also of a webhook that takes no dry runs
            return False
        return next(differences(desired, trim(answer)), None) is None

    def _may_touch(self, live: KubeObject) -> bool:
        match self._owner(live):
            case Ownership.FOREIGN:
                self.result.conflicts.append(live)
                return False
            case Ownership.LEAVING:
                self.result.leaving.append(live)
                return False
            case Ownership.OURS:
                return True

    async def _look_up(self, desired: KubeObject) -> KubeObject | None:
        """Return the live object; the cache sees labelled objects only, so a miss there proves nothing."""
        return self._cache.get(*place_of(desired)) or await self._client.get(*place_of(desired))

    async def _send(self, desired: KubeObject, live: KubeObject | None, write: Write) -> KubeObject:
        if isinstance(write, Apply) and live is not None and own_updates(live):
            await claim_own_updates(self._client, *place_of(desired))
        answer = await self._request(desired, write)
        self._cache.upsert(answer)
        return trim(answer)

    async def _request(self, desired: KubeObject, write: Write, *, dry_run: bool = False) -> KubeObject:
        if isinstance(write, JsonPatch):
            return await self._client.json_patch(*place_of(desired), write.operations, dry_run=dry_run)
        return await self._client.apply(write.obj, dry_run=dry_run)

    async def _read_again(
        self, desired: KubeObject, live: KubeObject | None, error: ApiError
    ) -> KubeObject | None:
        """Read again after a refusal, which may have been planned on an outdated copy; raise any other one."""
        if error.status not in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise error
        fresh = await self._client.get(*place_of(desired))
        if fresh is not None:
            self._cache.upsert(fresh)
            return trim(fresh)
        if live is None:
            raise error
        self._cache.remove(live)
        return None


def _version_of(live: KubeObject | None) -> int | None:
    return None if live is None else resource_version_of(live)


def _way_around(desired: KubeObject, live: KubeObject | None, write: Write, error: ApiError) -> JsonPatch:
    """Return a patch that takes out what makes an apply impossible; raise the refusal where that is not it."""
    if live is None or isinstance(write, JsonPatch) or not _survivors(desired, live):
        raise error
    return _patch(desired, live, write.why)


def _survivors(desired: KubeObject, live: KubeObject) -> list[Difference]:
    return [difference for difference in differences(desired, live) if difference.survives_apply]


def _stamp(live: KubeObject) -> str | None:
    stamp: str | None = (live["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)
    return stamp


def _stamped(desired: KubeObject, mark: str) -> KubeObject:
    annotations = {**(desired["metadata"].get("annotations") or {}), APPLIED_ANNOTATION: mark}
    return desired | {"metadata": desired["metadata"] | {"annotations": annotations}}


def _for_exactly(live: KubeObject, desired: KubeObject) -> KubeObject:
    """Name the UID, so that an object that took the place of ours in the meantime is not touched (409)."""
    return desired | {"metadata": desired["metadata"] | {"uid": uid_of(live)}}


def _patch(desired: KubeObject, live: KubeObject, why: str) -> JsonPatch:
    operations = patch_operations(desired, live)
    return JsonPatch((*_unchanged(live, operations), *operations), why)


def _unchanged(live: KubeObject, operations: Sequence[JsonPatchOperation]) -> list[JsonPatchOperation]:
    """Tests that hold as long as nobody has changed what the operations are about.

    A Deployment's status changes at any time and its resource version with it: for a specification the
    generation is the better witness. Kinds without one, and metadata, have the resource version only.
    """
    metadata = live["metadata"]
    if "generation" in metadata and all(operation["path"].startswith("/spec/") for operation in operations):
        return [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": "/metadata/generation", "value": metadata["generation"]},
        ]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}]
