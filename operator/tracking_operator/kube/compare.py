"""Does the live object have everything that is wanted, and if not, what is the first thing that differs?

What is wanted has to be *contained* in what lives: defaults of the API server and the labels and
annotations of others are fine. Lists, and maps that select or configure something, have to match in
full: an added container, port or environment variable is a difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from tracking_operator.kube.cache_memory import Digest
from tracking_operator.kube.merge_keys import MERGE_KEYS, MergeKeys
from tracking_operator.kube.objects import KubeObject
from tracking_operator.kube.quantities import parse_quantity

_LONGEST_VALUE_SHOWN: Final = 80
_CONTEXT_SHOWN: Final = 20
_IDENTITY: Final = {"apiVersion", "kind", "status"}

_WHOLE_MAPS: Final = {
    "affinity",
    "binaryData",
    "data",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "selector",
}
"""Maps in which an added entry changes what the object does."""

_SELECTORS: Final = {"ipBlock", "namespaceSelector", "podSelector"}
_PARTS_OF_RULES: Final = {"egress", "from", "ingress", "ports", "to"}
"""Of a NetworkPolicy's rules every field counts: an added one narrows or widens them, and none is defaulted but the protocol."""

_HANDLERS: Final = frozenset({"exec", "grpc", "httpGet", "sleep", "tcpSocket"})
_ONE_OF: Final[Mapping[str, frozenset[str]]] = {
    "livenessProbe": _HANDLERS,
    "readinessProbe": _HANDLERS,
    "startupProbe": _HANDLERS,
    "preStop": _HANDLERS,
    "postStart": _HANDLERS,
    "env": frozenset({"value", "valueFrom"}),
}
"""Fields of which the API server allows one at a time, by the name of the map, or of the list whose entry it is.

Of a volume this is every field but its name.
"""

_QUANTITY_MAPS: Final = {"limits", "requests", "capacity", "hard"}
_QUANTITY_FIELDS: Final = {"sizeLimit", "storage"}


@dataclass(frozen=True)
class Difference:
    """One place where the live object is not as wanted.

    ``survives_apply`` is true for what a server-side apply leaves in place: entries that another field
    manager added to a merged list or map.
    """

    path: str
    wanted: object
    found: object
    survives_apply: bool = False

    def __str__(self) -> str:
        wanted, found = _from_first_difference(self.wanted, self.found)
        return f"{self.path}: wanted {_shown(wanted)}, found {_shown(found)}"


def first_difference(desired: KubeObject, live: KubeObject) -> Difference | None:
    """Return the first difference, or None when the live object has everything that is desired."""
    return next(differences(desired, live), None)


def differences(desired: KubeObject, live: KubeObject) -> Iterator[Difference]:
    """Yield every difference; the values of a Secret, and of environment variables, are never part of one."""
    is_secret = desired.get("kind") == "Secret"
    for key, wanted in desired.items():
        if key in _IDENTITY:
            continue
        for difference in _compare(wanted, live.get(key), Context.root(key)):
            is_hidden = (is_secret and key != "metadata") or ".env[" in difference.path
            yield _without_values(difference) if is_hidden else difference


@dataclass(frozen=True)
class Context:
    """Where in an object we are, as far as that changes how values compare."""

    path: str
    place: str
    """The path without the entries of lists, as the table of merge keys has it."""
    name: str
    parent: str = ""
    in_metadata: bool = False
    in_atomic: bool = False
    """Inside a list that server-side apply replaces as a whole: nothing in it is merged."""

    @classmethod
    def root(cls, name: str) -> "Context":
        """Begin at a top-level field."""
        return cls(name, name, name, in_metadata=name == "metadata")

    def field(self, name: str) -> "Context":
        """Go to a field of a map."""
        path, place = f"{self.path}.{name}", f"{self.place}.{name}"
        return replace(self, path=path, place=place, name=name, parent=self.name)

    def entry(self, label: object = "") -> "Context":
        """Go to an entry of a list."""
        return replace(self, path=f"{self.path}[{label}]", name="", parent=self.name)

    def atomic(self) -> "Context":
        """Go on inside a list that is replaced as a whole."""
        return replace(self, in_atomic=True)

    @property
    def is_quantity(self) -> bool:
        """Whether a scalar here is a resource quantity."""
        return self.parent in _QUANTITY_MAPS or self.name in _QUANTITY_FIELDS


def is_contained(desired: object, live: object, context: Context) -> bool:
    """Whether the live value at this place has everything that is desired there."""
    return next(_compare(desired, live, context), None) is None


def _compare(desired: object, live: object, context: Context) -> Iterator[Difference]:
    if not desired and not live and (desired is None or live is None):
        return
    if desired is None:  # wanted to be absent; an apply leaves what others have added
        yield Difference(context.path, desired, live, survives_apply=not context.in_atomic)
        return
    if isinstance(desired, dict) and isinstance(live, dict):
        yield from _compare_maps(desired, live, context)
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _compare_lists(desired, live, context)
    elif not same_value(desired, live, is_quantity=context.is_quantity):
        yield Difference(context.path, desired, live)


def _compare_maps(desired: KubeObject, live: KubeObject, context: Context) -> Iterator[Difference]:
    for key, wanted in desired.items():
        found = live.get(key)
        if not _is_the_same(wanted, found):
            yield from _compare(wanted, found, context.field(key))
    for key in (*added_keys(desired, live, context), *rival_keys(desired, live, context)):
        yield Difference(context.field(key).path, None, live[key], survives_apply=not context.in_atomic)


def _compare_lists(desired: list[Any], live: list[Any], context: Context) -> Iterator[Difference]:
    fields = merge_keys_of(context)
    if fields is None:
        yield from _compare_atomic_lists(desired, live, context.atomic())
        return
    wanted_keys = [entry_key(entry, fields) for entry in desired]
    found_keys = [entry_key(entry, fields) for entry in live]
    if context.in_metadata:
        found_keys = [key for key in found_keys if key in wanted_keys]
    if wanted_keys != found_keys:
        only_missing = found_keys == [key for key in wanted_keys if key in found_keys]
        yield Difference(context.path, wanted_keys, found_keys, survives_apply=not only_missing)
    live_by_key = {entry_key(entry, fields): entry for entry in live}
    for key, wanted in zip(wanted_keys, desired, strict=True):
        if key in live_by_key and not _is_the_same(wanted, live_by_key[key]):
            yield from _compare(wanted, live_by_key[key], context.entry("/".join(map(str, key))))


def _compare_atomic_lists(desired: list[Any], live: list[Any], context: Context) -> Iterator[Difference]:
    if context.in_metadata:  # finalizers: a set that others add to
        if any(value not in live for value in desired):
            yield Difference(context.path, desired, live)
    elif len(desired) != len(live):
        yield Difference(context.path, desired, live)
    else:
        for index, (wanted, found) in enumerate(zip(desired, live, strict=True)):
            yield from _compare(wanted, found, context.entry(index))


def _is_the_same(desired: object, live: object) -> bool:
    """Whether nothing can differ: told at once of what is mostly so, without a look at its parts."""
    return type(desired) is type(live) and desired == live


def merge_keys_of(context: Context) -> MergeKeys | None:
    """Return the fields that identify an entry of the list here; None for a list replaced as a whole."""
    return MERGE_KEYS.get(context.place)


def entry_key(entry: KubeObject, fields: MergeKeys) -> tuple[object, ...]:
    """Return what identifies an entry of a merged list."""
    return tuple(entry.get(field, default) for field, default in fields.items())


def added_keys(desired: KubeObject, live: KubeObject, context: Context) -> list[str]:
    """Return the keys that somebody added to a map that has to match in full."""
    added = [key for key in live if key not in desired]
    if context.in_atomic and not context.name and context.parent in _PARTS_OF_RULES:
        return [key for key in added if (key, live[key]) != ("protocol", "TCP")]
    return added if context.name in _WHOLE_MAPS | _SELECTORS else []


def rival_keys(desired: KubeObject, live: KubeObject, context: Context) -> list[str]:
    """Return the keys that cannot stand beside what is desired: null there, or another sort of the same thing."""
    denied = [key for key, value in desired.items() if value is None and live.get(key) is not None]
    kind = context.name or context.parent
    members = live.keys() - {"name"} if kind == "volumes" else _ONE_OF.get(kind, frozenset())
    return denied + [key for key in live if key in members and key not in desired]


def same_value(desired: object, live: object, *, is_quantity: bool) -> bool:
    """Whether two scalars mean the same: quantities by value, an IntOrString's number and text alike.

    Of a long live text only the digest is known.
    """
    if isinstance(live, Digest):
        return isinstance(desired, str) and Digest.of(desired) == live
    if desired == live and isinstance(desired, bool) == isinstance(live, bool):
        return True
    if is_quantity:
        return _quantity(desired) is not None and _quantity(desired) == _quantity(live)
    if isinstance(desired, bool) or isinstance(live, bool):
        return False
    if isinstance(desired, (int, str)) and isinstance(live, (int, str)):
        return str(desired) == str(live)
    return False


def _quantity(value: object) -> Decimal | None:
    try:
        return parse_quantity(value)
    except ValueError:
        return None


def _from_first_difference(wanted: object, found: object) -> tuple[object, object]:
    """Cut off how two long texts begin alike: of a script, say, the line that differs is of interest."""
    if not (isinstance(wanted, str) and isinstance(found, str) and len(wanted) > _LONGEST_VALUE_SHOWN):
        return wanted, found
    pairs = enumerate(zip(wanted, found, strict=False))
    alike = next((index for index, (one, other) in pairs if one != other), min(len(wanted), len(found)))
    start = max(0, alike - _CONTEXT_SHOWN)
    return wanted[start:], found[start:]


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[: _LONGEST_VALUE_SHOWN - 1] + "…"


def _without_values(difference: Difference) -> Difference:
    return Difference(difference.path, "(hidden)", "(hidden)", difference.survives_apply)
