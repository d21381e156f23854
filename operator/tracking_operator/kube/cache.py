"""What the informers have seen: the operator's view of the cluster, in memory."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar, cast

from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.kube.cache_memory import (
    MEBIBYTE,
    MOST_BYTES_OF_A_RESOURCE,
    MOST_BYTES_OF_ALL_RESOURCES,
    MOST_BYTES_OF_RESOURCES,
    Kept,
    Packed,
    Shares,
    controllers_of,
    keep,
    keep_resource,
    last_state,
    outline,
)
from tracking_operator.kube.contested import Contests
from tracking_operator.kube.objects import (
    Kind,
    KubeObject,
    KubeObjects,
    kind_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)

Place = tuple[Kind, str | None, str]
"""What names an object: its kind, namespace and name."""

Result = TypeVar("Result")
_Key = TypeVar("_Key")

REMEMBERED_REMOVALS: Final = 4096
"""How many removed objects are remembered, so that a late answer to a write does not bring one back."""
MOST_BYTES_OPENED: Final = 4 * MEBIBYTE
"""How much of what is packed is in memory unpacked, too, as somebody looks at it: eight workers' servers, and more."""
MOST_REMOVED_BEFORE_FINALIZED: Final = 256
"""Of how many servers with data outside the last state is kept that went before they were finalized. Who only watches keeps those that others
finalize."""


def tell_nobody(refused: KubeObject) -> None:
    """Let an object that is not kept pass."""


class ObjectCache:
    """The newest known version of every object, without what nobody reads.

    Informers put in what the watch reports, writers what the server answered, so that a reconcile
    reads its own writes; whichever is newer stays. Objects that carry ``owner_label`` can be found by
    its value. Whoever gets an object must not change it.

    Our own resources are always known, very large ones in outline. Of all else each namespace has its share: an object beyond it is not
    kept, which ``on_refused`` is told, and looks as if it had not been seen. Where all namespaces together have as much as may
    be kept, objects of the one that has most are let go for those that have less.

    What is kept whole, and is no pod, is packed (``Packed``), and opened for who asks for it.
    """

    def __init__(
        self,
        *,
        owner_label: str,
        shares: Shares | None = None,
        resources: Shares | None = None,
        on_refused: Callable[[KubeObject], None] = tell_nobody,
    ) -> None:
        self._owner_label = owner_label
        self._shares = shares or Shares()
        self._resources = resources or Shares(
            MOST_BYTES_OF_RESOURCES,
            most_bytes_of_one=MOST_BYTES_OF_A_RESOURCE,
            most_bytes_in_all=MOST_BYTES_OF_ALL_RESOURCES,
        )
        self._on_refused = on_refused
        self._sizes: dict[Place, tuple[int, int]] = {}
        self._counted: defaultdict[tuple[Shares, str | None], dict[Place, None]] = defaultdict(dict)
        self._shortened: set[Place] = set()
        self._objects: dict[Place, KubeObject | Packed] = {}
        self._opened: OrderedDict[Place, KubeObject] = OrderedDict()
        self._bytes_opened = 0
        self._of_kind: defaultdict[Kind, dict[Place, None]] = defaultdict(dict)
        self._in_namespace: defaultdict[tuple[Kind, str | None], dict[Place, None]] = defaultdict(dict)
        self._read: dict[Place, tuple[int, object]] = {}
        self._of_owner: defaultdict[tuple[str | None, str], dict[Place, None]] = defaultdict(dict)
        self._owners: dict[Place, str] = {}
        self._removed: OrderedDict[Place, int] = OrderedDict()
        self._settled: dict[Place, tuple[int, str]] = {}
        self.contests: Contests[Place] = Contests()
        """Objects that something else changes right after each write."""
        self._removed_before_finalized: OrderedDict[Place, KubeObject] = OrderedDict()
        self._finalized: set[str] = set()

    def __len__(self) -> int:
        return len(self._objects)

    def upsert(self, obj: KubeObject) -> bool:
        """Remember the object unless a newer version is known or it is gone; return whether it was new."""
        place = place_of(obj)
        version = resource_version_of(obj)
        if version <= self._version_of(place):
            return False
        if version <= self._removed.get(place, -1):
            return False
        self._forget(place)
        if _is_always_known(place[0]):
            self._remember_resource(place, keep_resource(obj))
        else:
            self._remember_within_share(place, keep(obj))
        return True

    def remove(self, obj: KubeObject) -> bool:
        """Forget the object, unless one of that name was created after it; return whether it was known."""
        place = place_of(obj)
        if self._version_of(place) > resource_version_of(obj):
            return False
        self._bury(place, resource_version_of(obj))
        self._note_end(place, obj)
        return self._forget(place)

    def removed_before_finalized(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return the last state of a server that went before it was finalized, and has no successor.

        Whoever may write it may take our finalizer off. And the API server reads the finalizers once, when a deletion
        begins: one that is written while it is under way is accepted, and removed with the object
        (kubernetes/kubernetes#77988, seen with 1.35).
        """
        return self._removed_before_finalized.get((kind, namespace if kind.namespaced else None, name))

    def note_finalized_after_removal(self, obj: KubeObject) -> None:
        """Forget an object that was cut short: what its finalizer was for has been done."""
        self._removed_before_finalized.pop(place_of(obj), None)

    def note_finalized(self, obj: KubeObject) -> None:
        """Note that what our finalizer is for has been done for this very object, if it is still there."""
        known = self._open(place_of(obj))
        if known is not None and uid_of(known) == uid_of(obj):
            self._finalized.add(str(uid_of(obj)))

    def is_finalized(self, obj: KubeObject) -> bool:
        """Whether that was noted of this very object."""
        return str(uid_of(obj)) in self._finalized

    def evict_absent(
        self, kind: Kind, present: Collection[Place], version: int, *, namespace: str | None = None
    ) -> KubeObjects:
        """Forget what a complete list of a kind (in a namespace), true at ``version``, does not have; return it."""
        absent = [
            place
            for place in self._places(kind, namespace)
            if place not in present and self._version_of(place) <= version
        ]
        gone = self._opened_all(absent)
        for place, obj in zip(absent, gone, strict=True):
            self._bury(place, version)
            self._note_end(place, obj)
            self._forget(place)
        return gone

    def get(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return what is kept of the object, or None when nothing is: one of that name may exist all the same.

        In the place of a text that is too long to be kept there is its digest, which ``whole`` never returns.
        """
        return self._open((kind, namespace if kind.namespaced else None, name))

    def whole(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return the object if all of it is kept, with every text as it is; None means: ask the API server."""
        place = (kind, namespace if kind.namespaced else None, name)
        return None if place in self._shortened else self._open(place)

    def is_shortened(self, obj: KubeObject) -> bool:
        """Whether this is what is kept of an object, and not all of it."""
        place = place_of(obj)
        return place in self._shortened and self._objects.get(place) is obj

    def list(self, kind: Kind, namespace: str | None = None) -> KubeObjects:
        """Return the objects of a kind, of one namespace or of all."""
        return self._opened_all(self._places(kind, namespace))

    def names(self, kind: Kind, namespace: str | None = None) -> Sequence[tuple[str | None, str]]:
        """Return the namespaces and names of the objects of a kind, of one namespace or of all."""
        return [(place[1], place[2]) for place in self._places(kind, namespace)]

    def read_once(self, obj: KubeObject, read: Callable[[KubeObject], Result]) -> Result:
        """Return what ``read`` makes of an object; a version that is kept here is read once, however often it is asked for.

        Of one kind everybody reads the same.
        """
        place, version = place_of(obj), resource_version_of(obj)
        known = self._read.get(place)
        if known is not None and known[0] == version:
            return cast(Result, known[1])
        result = read(obj)
        if self._version_of(place) == version and place not in self._shortened:
            self._read[place] = version, result
        return result

    def readings(
        self, kind: Kind, namespace: str | None, read: Callable[[KubeObject], Result]
    ) -> Sequence[Result]:
        """Return what ``read`` makes of each object of a kind in a namespace; each version is opened and read once."""
        found = []
        for place in self._places(kind, namespace):
            version, known = self._version_of(place), self._read.get(place)
            if known is None or known[0] != version:
                (obj,) = self._opened_all([place])
                known = self._read[place] = version, read(obj)
            found.append(cast(Result, known[1]))
        return found

    def children(self, namespace: str, owner: str, kind: Kind | None = None) -> KubeObjects:
        """Return the objects of a namespace, or those of one kind, whose owner label has this value.

        It is empty on what belongs to no single owner.
        """
        found = self._of_owner.get((namespace, owner), {})
        return self._opened_all([place for place in found if kind is None or place[0] == kind])

    def named_children(self, namespace: str, owner: str, wanted: Iterable[tuple[Kind, str]]) -> KubeObjects:
        """Return those of the wanted objects that are there and whose owner label has this value."""
        found = self._of_owner.get((namespace, owner), {})
        places = ((kind, namespace, name) for kind, name in wanted)
        return self._opened_all([place for place in places if place in found])

    def controlled_children(self, namespace: str, owner: str, uid: str) -> KubeObjects:
        """Return those whose owner label has this value, and whose controller this UID."""
        found = self._of_owner.get((namespace, owner), {})
        return self._opened_all([place for place in found if uid in self._controllers_of(place)])

    def with_another_owner(self, obj: KubeObject) -> KubeObject | None:
        """Return what is known of an object whose owner label was another one; None where it was the same, or none."""
        place = place_of(obj)
        owner = self._owners.get(place)
        return self._open(place) if owner is not None and owner != self._owner_in(obj) else None

    def note_settled(self, obj: KubeObject, mark: str) -> None:
        """Remember that this version of the object is as ``mark`` stands for, so that nobody compares it again."""
        self._settled[place_of(obj)] = resource_version_of(obj), mark

    def is_settled(self, obj: KubeObject, mark: str) -> bool:
        """Whether exactly this version was found to be as ``mark`` stands for."""
        return self._settled.get(place_of(obj)) == (resource_version_of(obj), mark)

    def _remember_within_share(self, place: Place, kept: Kept) -> None:
        packed = Packed.of(kept.obj) if kept.is_whole else None
        if not self._take(self._shares, place, kept.size, packed.size if packed else kept.size, self._let_go):
            self._on_refused(kept.obj)
            return
        if packed is None:
            self._shortened.add(place)
        self._remember(place, kept.obj, packed)
        if packed:
            self._hold_open(place, kept.obj)

    def _remember_resource(self, place: Place, kept: Kept) -> None:
        """Remember one that is always known: of tenants' own, what is beyond their share in outline."""
        if not place[0].namespaced:
            self._remember(place, kept.obj)
            return
        packed = Packed.of(kept.obj)
        if self._take(self._resources, place, kept.size, packed.size, self._shorten):
            self._remember(place, kept.obj, packed)
            self._hold_open(place, kept.obj)
        else:
            self._shortened.add(place)
            self._remember(place, outline(kept.obj))

    def _take(
        self, shares: Shares, place: Place, size: int, packed: int, let_go: Callable[[Place], None]
    ) -> bool:
        """Take a share for an object, if need be at the cost of the namespace that has most; return whether there was one."""
        while not shares.take(place[1], size, packed):
            largest = shares.largest_beside(place[1], size, packed)
            if largest is None:
                return False
            let_go(next(reversed(self._counted[shares, largest])))
        self._sizes[place] = size, packed
        self._counted[shares, place[1]][place] = None
        return True

    def _let_go(self, place: Place) -> None:
        (obj,) = self._opened_all([place])
        self._forget(place)
        self._on_refused(obj)

    def _shorten(self, place: Place) -> None:
        (obj,) = self._opened_all([place])
        self._forget(place)
        self._shortened.add(place)
        self._remember(place, outline(obj))

    def _places(self, kind: Kind, namespace: str | None = None) -> Collection[Place]:
        found = self._of_kind.get(kind) if namespace is None else self._in_namespace.get((kind, namespace))
        return found or ()

    def _version_of(self, place: Place) -> int:
        """The version that is known of an object; -1 where nothing is."""
        known = self._objects.get(place)
        if known is None:
            return -1
        return known.version if isinstance(known, Packed) else resource_version_of(known)

    def _controllers_of(self, place: Place) -> Collection[str]:
        known = self._objects[place]
        return known.controllers if isinstance(known, Packed) else controllers_of(known)

    def _opened_all(self, places: Iterable[Place]) -> KubeObjects:
        return [obj for place in places if (obj := self._open(place)) is not None]

    def _open(self, place: Place) -> KubeObject | None:
        """The object, if it is known; the same one for all who ask while it is in use."""
        known = self._objects.get(place)
        if not isinstance(known, Packed):
            return known
        obj = self._opened.get(place)
        if obj is None:
            obj = known.open()
            self._hold_open(place, obj)
        else:
            self._opened.move_to_end(place)
        return obj

    def _hold_open(self, place: Place, obj: KubeObject) -> None:
        self._opened[place] = obj
        self._bytes_opened += self._sizes[place][0]
        while self._bytes_opened > MOST_BYTES_OPENED:
            self._close(next(iter(self._opened)))

    def _close(self, place: Place) -> None:
        if self._opened.pop(place, None) is not None:
            self._bytes_opened -= self._sizes[place][0]

    def _remember(self, place: Place, obj: KubeObject, packed: Packed | None = None) -> None:
        self._removed_before_finalized.pop(place, None)
        self._objects[place] = packed or obj
        self._of_kind[place[0]][place] = None
        self._in_namespace[place[0], place[1]][place] = None
        if (owner := self._owner_in(obj)) is not None:
            self._owners[place] = owner
            self._of_owner[(place[1], owner)][place] = None

    def _forget(self, place: Place) -> bool:
        self._settled.pop(place, None)
        if place not in self._objects:
            return False
        self._close(place)
        del self._objects[place]
        if place in self._sizes:
            shares = self._resources if _is_always_known(place[0]) else self._shares
            shares.give_back(place[1], *self._sizes.pop(place))
            _remove(place, self._counted, (shares, place[1]))
        self._shortened.discard(place)
        self._read.pop(place, None)
        del self._of_kind[place[0]][place]
        _remove(place, self._in_namespace, (place[0], place[1]))
        if (owner := self._owners.pop(place, None)) is not None:
            _remove(place, self._of_owner, (place[1], owner))
        return True

    def _owner_in(self, obj: KubeObject) -> str | None:
        owner: str | None = (obj["metadata"].get("labels") or {}).get(self._owner_label)
        return owner

    def _bury(self, place: Place, version: int) -> None:
        self._removed[place] = max(version, self._removed.pop(place, -1))
        if len(self._removed) > REMEMBERED_REMOVALS:
            self._removed.popitem(last=False)

    def _note_end(self, place: Place, obj: KubeObject) -> None:
        if self.is_finalized(obj):
            self._finalized.discard(str(uid_of(obj)))
        elif _is_a_tenants(place[0]):
            self._note_removed_before_finalized(place, obj)

    def _note_removed_before_finalized(self, place: Place, obj: KubeObject) -> None:
        state = last_state(obj)
        if state is None:
            return
        self._removed_before_finalized[place] = state
        if len(self._removed_before_finalized) > MOST_REMOVED_BEFORE_FINALIZED:
            # Nobody loses its place to a namespace that has more of them.
            (most, _), *_ = Counter(
                namespace for _, namespace, _ in self._removed_before_finalized
            ).most_common(1)
            del self._removed_before_finalized[
                next(one for one in self._removed_before_finalized if one[1] == most)
            ]


def _remove(place: Place, index: dict[_Key, dict[Place, None]], key: _Key) -> None:
    """Take a place out of an index, and with the last one the entry."""
    places = index[key]
    del places[place]
    if not places:
        del index[key]


def _is_always_known(kind: Kind) -> bool:
    """Whether its absence means that it does not exist: only tenants' servers, and what tenants cannot make."""
    return kind.group == GROUP or not kind.namespaced


def _is_a_tenants(kind: Kind) -> bool:
    """Whether it is one of our own kinds that tenants write: a server."""
    return kind.group == GROUP and kind.namespaced


def place_of(obj: KubeObject) -> Place:
    """Return what names the object."""
    kind = kind_of(obj)
    return kind, namespace_of(obj) if kind.namespaced else None, name_of(obj)
