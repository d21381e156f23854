"""Links of pages: each names a file of this repository as it is there, and is led to that file's page of the site."""

import os.path
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

TARGET: Final = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#\s])")
"""The path of a link or an image, before its anchor or title."""
CODE: Final = re.compile(r"^( *)(```+|~~~+).*?^\1\2|`[^`\n]+`", re.MULTILINE | re.DOTALL)
ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class BrokenLinkError(Exception):
    """Links lead nowhere; the message names each with its page."""


def with_links(text: str, change: Callable[[str], str]) -> str:
    """Put what `change` says in place of each target that is a path; code is left as it is."""

    def changed(match: re.Match[str]) -> str:
        return match[0] if ELSEWHERE.match(match[0]) else change(match[0])

    pieces: list[str] = []
    end = 0
    for code in CODE.finditer(text):
        pieces += [TARGET.sub(changed, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, TARGET.sub(changed, text[end:])])


def linked_paths(text: str, page: PurePosixPath) -> Iterator[PurePosixPath]:
    """Which files of the repository a page links to."""
    found: list[str] = []

    def seen(target: str) -> str:
        found.append(target)
        return target

    with_links(text, seen)
    yield from (resolved(target, page) for target in found)


def resolved(target: str, page: PurePosixPath) -> PurePosixPath:
    """The path in the repository that a link of a page means."""
    return PurePosixPath(os.path.normpath(page.parent / target))


def relative(path: PurePosixPath, page: PurePosixPath) -> str:
    """How a page names another file."""
    return os.path.relpath(path, page.parent)


def broken_links(root: Path, page: PurePosixPath) -> list[str]:
    """A sentence for each link of a page to a file that is not there."""
    return [
        f"{page} links to {path}, which is not there: correct the link, or make the file."
        for path in linked_paths((root / page).read_text(encoding="utf-8"), page)
        if not (root / path).exists()
    ]
