"""What one server's objects differ in from another server's, as text that a reviewer reads and a test applies.

It is a unified diff that says *where* by the YAML keys above a change, not by line numbers and neighbouring
lines: a change that both servers share leaves it as it is.

It can be applied in one way only. A line that it keeps or removes is the next one of that text in the object;
what it adds comes right after.
"""

import math
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import pairwise

Lines = list[str]
Objects = dict[str, Lines]
"""Each object's YAML by the object's title, in the order in which the objects are built."""

ORDER = "objects"
"""The title of the list of all titles: it tells which objects are added and removed, and where they stand."""


class DoesNotApply(Exception):
    """The base lacks a line, or an object, that the difference keeps or removes."""


def difference(base: Objects, other: Objects) -> str:
    """Return what makes ``other`` of ``base``; objects that are equal are left out."""
    sections = {ORDER: (list(base), list(other))}
    sections |= {title: (base.get(title, []), lines) for title, lines in other.items()}
    changed = {title: _changes(*both) for title, both in sections.items() if both[0] != both[1]}
    return "".join(f"{line}\n" for title, lines in changed.items() for line in (f"@@ {title} @@", *lines))


def patched(base: Objects, text: str) -> Objects:
    """Return the objects that a difference makes of ``base``, or raise DoesNotApply."""
    sections = _sections(text)
    titles = _apply(ORDER, list(base), sections.pop(ORDER, []))
    if unknown := sections.keys() - set(titles):
        raise DoesNotApply(f"There is no object {min(unknown)} to change.")
    return {title: _apply(title, base.get(title, []), sections.get(title, [])) for title in titles}


def _changes(before: Lines, after: Lines) -> Iterator[str]:
    """Yield the changed lines, each below the keys that it belongs to."""
    edits = list(_edits(before, after))
    removed = {at for start, end, _ in edits for at in range(start, end)}
    added = {end: lines for _, end, lines in edits}
    yield from _marked("+", added.get(0, []))
    for at in _shown(before, removed | {end - 1 for end in added if end}):
        yield from _marked("-" if at in removed else " ", [before[at]])
        yield from _marked("+", added.get(at + 1, []))


def _marked(mark: str, lines: Lines) -> Lines:
    return [mark + line for line in lines]


def _edits(before: Lines, after: Lines) -> Iterator[tuple[int, int, Lines]]:
    """Yield which lines are replaced (from, to), and by what."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind != "equal":
            yield start, end, after[first:last]


def _shown(lines: Lines, chosen: set[int]) -> list[int]:
    """Return the chosen lines and the keys above them.

    Where the next line of a text is not the one that is meant, those before it are shown too.
    """
    parents = _parents(lines)
    shown: set[int] = set()
    while chosen:
        shown |= {above for at in chosen for above in _with_keys_above(at, parents)}
        steps = pairwise([-1, *sorted(shown)])
        chosen = {lines.index(lines[at], previous + 1) for previous, at in steps} - shown
    return sorted(shown)


def _with_keys_above(at: int | None, parents: list[int | None]) -> Iterator[int]:
    while at is not None:
        yield at
        at = parents[at]


def _parents(lines: Lines) -> list[int | None]:
    """Return where the key or the list item stands that each line belongs to."""
    parents: list[int | None] = []
    open_lines: list[int] = []
    for at, line in enumerate(lines):
        while open_lines and _depth(lines[open_lines[-1]]) >= _depth(line):
            open_lines.pop()
        parents.append(open_lines[-1] if open_lines else None)
        open_lines.append(at)
    return parents


def _depth(line: str) -> float:
    """Return how deep a line is; an item is deeper than its list's key, though YAML indents them alike."""
    text = line.lstrip()
    return len(line) - len(text) + (0.5 if text.startswith("- ") else 0) if text else math.inf


def _sections(text: str) -> dict[str, Lines]:
    sections: dict[str, Lines] = {}
    for line in text.splitlines():
        if line.startswith("@@ "):
            title = line.strip("@ ")
            sections[title] = []
        else:
            sections[title].append(line)
    return sections


def _apply(title: str, before: Lines, edits: Iterable[str]) -> Lines:
    after: Lines = []
    at = 0
    for mark, line in ((edit[0], edit[1:]) for edit in edits):
        if mark == "+":
            after.append(line)
            continue
        if line not in before[at:]:
            raise DoesNotApply(f"{title} has no line {line!r} there.")
        found = before.index(line, at)
        after += before[at : found + (mark == " ")]
        at = found + 1
    return after + before[at:]
