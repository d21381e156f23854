"""Whether naming templates tell servers apart: no two servers may get one name from them.

A template is read as a row of parts: text that is the same for all servers, the server's namespace or name as they are,
and what only Jinja can work out. Namespaces and names hold lower-case letters, digits and ``-`` (RFC 1123 labels), so
any other character of the template is a border that can be found again in what it writes. What lies between two borders
with only one unknown in it tells that one. That is a proof; where it fails, the template counts as ambiguous.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from jinja2 import nodes

from tracking_operator import naming

NAMESPACE: Final = "namespace"
NAME: Final = "name"
SERVER: Final = frozenset({NAMESPACE, NAME})
"""What makes a server another one than the next; the cluster and the class are the same for all that are compared."""

MAX_NAME_LENGTH: Final = 40
MAX_NAMESPACE_LENGTH: Final = 63

_LONGEST: Final = {NAMESPACE: MAX_NAMESPACE_LENGTH, NAME: MAX_NAME_LENGTH}
_INJECTIVE_FILTERS: Final = frozenset({"lower", "upper", "trim", "string"})
"""Filters that keep two namespaces or names apart, and add no character that could be a border."""
_BORDERS: Final = re.compile(r"[^A-Za-z0-9-]")
_NAMESPACE_LABELS: Final = "namespaceLabels"


@dataclass(frozen=True)
class Text:
    """What every server gets."""

    text: str


@dataclass(frozen=True)
class Value:
    """The server's namespace or name, as it is or in capitals."""

    what: str


@dataclass(frozen=True)
class Unknown:
    """What only Jinja can work out, of ``inputs`` among the server's namespace and name."""

    inputs: frozenset[str]


Part = Text | Value | Unknown
Parts = tuple[Part, ...]


@dataclass(frozen=True, order=True)
class Example:
    """A server that nobody has: what a sentence about a template is shown on."""

    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.name} in {self.namespace}"


@lru_cache(maxsize=256)
def parts_of(template: str, class_name: str, cluster_name: str, host: Parts = ()) -> Parts:
    """Read a template; ``host`` is what stands for that variable, which only a public URL knows.

    Raises:
        BadName: it does not parse.

    """
    known: dict[str, Parts] = {
        "class": (Text(class_name),),
        "clusterName": (Text(cluster_name),),
        "host": host or (Unknown(SERVER),),
        **{what: (Value(what),) for what in SERVER},
    }
    body = naming.parsed(template).body
    outputs = [node for node in body if isinstance(node, nodes.Output)]
    if len(outputs) != len(body):  # a loop or a condition: a program
        return (Unknown(frozenset().union(*(_inputs(node) for node in body))),)
    return _joined(part for output in outputs for node in output.nodes for part in _parts(node, known))


def tells_apart(names: Sequence[Parts], *, known: frozenset[str] = frozenset()) -> bool:
    """Whether the names, taken together, are another pair of namespace and name for each server.

    ``known`` is what all servers have in common that are compared.
    """
    return found_again(names, known=known) >= SERVER


def found_again(names: Sequence[Parts], *, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """Which of a server's namespace and name can be read off its names, beside what is ``known``."""
    found = known
    while True:
        more = found.union(*(_readable(parts, found) for parts in names))
        if more == found:
            return found
        found = more


def same_names(
    write: Callable[[Example], tuple[str, ...]],
    names: Sequence[Parts],
    *,
    known: frozenset[str] = frozenset(),
) -> tuple[Example, Example, tuple[str, ...]] | None:
    """Two servers for which ``write`` makes the same names, and these; None if none are at hand.

    ``names`` are the parts of what it writes. Its BadName means that a server cannot have names at all.
    """
    seen: dict[tuple[str, ...], Example] = {}
    for example in _examples(names, known):
        with suppress(naming.BadName):
            written = write(example)
            if written in seen:
                return seen[written], example, written
            seen[written] = example
    return None


def may_belong_elsewhere(names: Sequence[Parts], written: Sequence[str], namespace: str) -> bool:
    """Whether the templates of ``names`` may write just that for some server of another namespace."""
    seen: set[str] = set()
    pattern = "\0".join("".join(_pattern(part, namespace, seen) for part in parts) for parts in names)
    return re.fullmatch(pattern, "\0".join(written), re.IGNORECASE) is not None


def split_at(parts: Parts, border: str) -> list[Parts]:
    """The parts between the occurrences of ``border`` in the text of a template."""
    pieces: list[list[Part]] = [[]]
    for part in parts:
        if not isinstance(part, Text):
            pieces[-1].append(part)
            continue
        first, *others = part.text.split(border)
        pieces[-1].append(Text(first))
        pieces += [[Text(other)] for other in others]
    return [tuple(piece) for piece in pieces]


def _joined(parts: Iterable[Part]) -> Parts:
    """The same parts, with no text directly after another one."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        else:
            joined.append(part)
    return tuple(joined)


def _parts(node: nodes.Node, known: Mapping[str, Parts]) -> Iterator[Part]:
    match node:
        case nodes.TemplateData(data=str(text)):
            yield Text(text)
        case nodes.Const(value=value):
            yield Text(str(value))
        case nodes.Name(name=name) if name in known:
            yield from known[name]
        case nodes.Concat(nodes=inner):
            for one in inner:
                yield from _parts(one, known)
        case nodes.Filter(node=nodes.Name(name=name), name=filter_, args=[], kwargs=[]) if (
            name in SERVER and filter_ in _INJECTIVE_FILTERS
        ):
            yield Value(name)
        case _:
            yield Unknown(_inputs(node))


def _inputs(node: nodes.Node) -> frozenset[str]:
    """What of the server's namespace and name an expression depends on; labels depend on the namespace."""
    used = {one.name for one in node.find_all(nodes.Name)}
    used |= {node.name} if isinstance(node, nodes.Name) else set()
    if "host" in used:
        return SERVER
    labels = {NAMESPACE} if _NAMESPACE_LABELS in used else set()
    return frozenset(used & SERVER | labels)


def _readable(parts: Parts, known: frozenset[str]) -> frozenset[str]:
    """What can be read off one name if ``known`` is known already."""
    open_values = {part.what for part in parts if isinstance(part, Value)} - known
    has_unknown = any(isinstance(part, Unknown) and part.inputs - known for part in parts)
    if not has_unknown and len(open_values) == 1:
        return frozenset(open_values)  # the length of the whole tells its length, and so where it ends
    sections = _sections(parts)
    # Borders are found again from either end, up to the first section that may hold any character.
    from_left = _plain_run(sections)
    from_right = _plain_run(sections[::-1])
    found: set[str] = set()
    for section in (*from_left, *from_right):
        unread = {part.what for part in section if isinstance(part, Value)} - known
        found |= unread if len(unread) == 1 else set()
    return frozenset(found)


def _sections(parts: Parts) -> list[Parts]:
    """The parts between borders."""
    sections: list[list[Part]] = [[]]
    for part in parts:
        if isinstance(part, Text):
            sections += [[] for _ in _BORDERS.findall(part.text)]
        else:
            sections[-1].append(part)
    return [tuple(section) for section in sections]


def _plain_run(sections: Sequence[Parts]) -> list[Parts]:
    """The first sections, as far as none holds what only Jinja can work out."""
    run = []
    for section in sections:
        if any(isinstance(part, Unknown) for part in section):
            break
        run.append(section)
    return run


def _examples(names: Sequence[Parts], known: frozenset[str]) -> Iterator[Example]:
    """Servers whose names look alike once they are put together with what a template has between two values."""
    between = {"-", ""}
    for parts in names:
        places = [index for index, part in enumerate(parts) if isinstance(part, Value)]
        for before, after in pairwise(places):
            text = "".join(part.text for part in parts[before + 1 : after] if isinstance(part, Text))
            between |= set() if _BORDERS.search(text) else {text}
    words = ["a", "b", "c", *(f"{one}{text}{two}" for text in sorted(between) for one, two in ("ab", "bc"))]
    for namespace in words[:1] if NAMESPACE in known else words:
        for name in words[:1] if NAME in known else words:
            yield Example(name, namespace)


def _pattern(part: Part, namespace: str, seen: set[str]) -> str:
    """A regular expression for what a part writes for servers outside of ``namespace``.

    What has been ``seen`` is the same when it occurs again.
    """
    match part:
        case Text(text):
            return re.escape(text)
        case Unknown():
            return "[^\0]*"
        case Value(what) if what in seen:
            return f"(?P={what})"
        case Value(what):
            seen.add(what)
            anything = f"[a-z0-9-]{{1,{_LONGEST[what]}}}"
            return f"(?P<{what}>{_anything_but(namespace) if what == NAMESPACE else anything})"


@lru_cache(maxsize=256)
def _anything_but(label: str) -> str:
    """A regular expression for all labels but one: shorter, longer, or with another character somewhere."""
    size = len(label)
    shorter = [f"[a-z0-9-]{{1,{size - 1}}}"] if size > 1 else []
    longer = [f"[a-z0-9-]{{{size + 1},{MAX_NAMESPACE_LENGTH}}}"] if size < MAX_NAMESPACE_LENGTH else []
    others = [
        f"{label[:place]}(?!{label[place]})[a-z0-9-]{{{size - place}}}"  # what is before is the same, this is not
        for place in range(size)
    ]
    return "|".join((*shorter, *longer, *others))
