"""What the informers have seen: the operator's view of the cluster, in memory."""

from collections import OrderedDict, defaultdict
from collections.abc import Collection
from typing import Final

from tracking_operator.api.marks import FINALIZER
from tracking_operator.kube.field_managers import own_updates
from tracking_operator.kube.objects import (
    Kind,
    KubeObject,
    KubeObjects,
    kind_of,
    name_of,
    namespace_of,
    resource_version_of,
)

Place = tuple[Kind, str | None, str]
"""What names an object: its kind, namespace and name."""

REMEMBERED_REMOVALS: Final = 4096
"""How many removed objects are remembered, so that a late answer to a write does not bring one back."""


class ObjectCache:
    """The newest known version of every object, trimmed of what nobody reads.

    Informers put in what the watch reports, writers what the server answered, so that a reconcile
    reads its own writes; whichever is newer stays. Objects that carry ``owner_label`` can be found by
    its value. Whoever gets an object must not change it.
    """

    def __init__(self, *, owner_label: str) -> None:
        self._owner_label = owner_label
        self._objects: dict[Place, KubeObject] = {}
        self._of_kind: defaultdict[Kind, dict[Place, KubeObject]] = defaultdict(dict)
        self._of_owner: defaultdict[tuple[str | None, str], dict[Place, KubeObject]] = defaultdict(dict)
        self._removed: OrderedDict[Place, int] = OrderedDict()
        self._settled: dict[Place, tuple[int, str]] = {}
        self._cut_short: dict[Place, KubeObject] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def upsert(self, obj: KubeObject) -> bool:
        """Remember the object unless a newer version is known or it is gone; return whether it was new."""
        place = place_of(obj)
        version = resource_version_of(obj)
        known = self._objects.get(place)
        if known is not None and version <= resource_version_of(known):
            return False
        if version <= self._removed.get(place, -1):
            return False
        self._forget(place)
        self._remember(place, trim(obj))
        return True

    def remove(self, obj: KubeObject) -> bool:
        """Forget the object, unless one of that name was created after it; return whether it was known."""
        place = place_of(obj)
        known = self._objects.get(place)
        if known is not None and resource_version_of(known) > resource_version_of(obj):
            return False
        self._bury(place, resource_version_of(obj))
        if _is_cut_short(obj):
            self._cut_short[place] = trim(obj)
        return self._forget(place)

    def cut_short(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return the last state of an object that went although our finalizer was on it, and has no successor.

        The API server reads the finalizers once, when a deletion begins: one that is written while it is under way
        is accepted, and removed with the object (kubernetes/kubernetes#77988, seen with 1.35).
        """
        return self._cut_short.get((kind, namespace if kind.namespaced else None, name))

    def note_cleaned_up(self, obj: KubeObject) -> None:
        """Forget an object that was cut short: what its finalizer was for has been done."""
        self._cut_short.pop(place_of(obj), None)

    def forget_absent(
        self, kind: Kind, present: Collection[Place], version: int, *, namespace: str | None = None
    ) -> KubeObjects:
        """Forget what a complete list of a kind (in a namespace), true at ``version``, does not have; return it."""
        gone = [
            obj
            for obj in self.list(kind, namespace)
            if place_of(obj) not in present and resource_version_of(obj) <= version
        ]
        for obj in gone:
            self._bury(place_of(obj), version)
            self._forget(place_of(obj))
        return gone

    def get(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return the object, or None when it has not been seen: an unlabelled one of that name may exist."""
        return self._objects.get((kind, namespace if kind.namespaced else None, name))

    def list(self, kind: Kind, namespace: str | None = None) -> KubeObjects:
        """Return the objects of a kind, of one namespace or of all."""
        objects = self._of_kind[kind].values() if kind in self._of_kind else ()
        return [obj for obj in objects if namespace is None or namespace_of(obj) == namespace]

    def children(self, namespace: str, owner: str) -> KubeObjects:
        """Return the objects of a namespace whose owner label has this value."""
        found = self._of_owner.get((namespace, owner))
        return list(found.values()) if found else []

    def note_settled(self, obj: KubeObject, mark: str) -> None:
        """Remember that this version of the object is as ``mark`` stands for, so that nobody compares it again."""
        self._settled[place_of(obj)] = resource_version_of(obj), mark

    def is_settled(self, obj: KubeObject, mark: str) -> bool:
        """Whether exactly this version was found to be as ``mark`` stands for."""
        return self._settled.get(place_of(obj)) == (resource_version_of(obj), mark)

    def _remember(self, place: Place, obj: KubeObject) -> None:
        self._cut_short.pop(place, None)
        self._objects[place] = obj
        self._of_kind[place[0]][place] = obj
        if owner := self._owner_of(obj):
            self._of_owner[(place[1], owner)][place] = obj

    def _forget(self, place: Place) -> bool:
        self._settled.pop(place, None)
        known = self._objects.pop(place, None)
        if known is None:
            return False
        del self._of_kind[place[0]][place]
        if owner := self._owner_of(known):
            siblings = self._of_owner[(place[1], owner)]
            del siblings[place]
            if not siblings:
                del self._of_owner[(place[1], owner)]
        return True

    def _bury(self, place: Place, version: int) -> None:
        self._removed[place] = max(version, self._removed.pop(place, -1))
        if len(self._removed) > REMEMBERED_REMOVALS:
            self._removed.popitem(last=False)

    def _owner_of(self, obj: KubeObject) -> str | None:
        owner: str | None = (obj["metadata"].get("labels") or {}).get(self._owner_label)
        return owner


def _is_cut_short(removed: KubeObject) -> bool:
    metadata = removed["metadata"]
    return FINALIZER in (metadata.get("finalizers") or ()) and not metadata.get("deletionTimestamp")


def place_of(obj: KubeObject) -> Place:
    """Return what names the object."""
    kind = kind_of(obj)
    return kind, namespace_of(obj) if kind.namespaced else None, name_of(obj)


def trim(obj: KubeObject) -> KubeObject:
    """Return the object without ``managedFields``, often half of it, but for what our JSON patches own."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if updates := own_updates(obj):
        metadata["managedFields"] = updates
    return obj | {"metadata": metadata}
