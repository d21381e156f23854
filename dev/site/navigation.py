"""What the site shows at its side: sections in this order, pages as listed, then those that are not listed, by title.

A new page is in the navigation as soon as its file is in docs/. Only its place has to be named here.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

Entry = dict[str, "str | list[Entry]"]
"""A title, and the path of its page or the entries of its section: what Zensical reads as `nav`."""


@dataclass(frozen=True)
class Section:
    """A folder of docs/, as it is called, and the pages that come first in it, without `.md`."""

    folder: str
    title: str
    first: tuple[str, ...] = ()


HOME: Final = "index.md"
SECTIONS: Final = (
    Section("tutorials", "Tutorials", ("first-server", "demo", "wine")),
    Section(
        "how-to",
        "How-to guides",
        (
            "install",
            "postgres",
            "s3",
            "access",
            "sso",
            "ingress-and-gateways",
            "production-checklist",
            "troubleshooting",
            "upgrade-servers",
            "backups",
            "clients",
            "kubectl-tracking",
        ),
    ),
    Section("runbooks", "Runbooks"),
    Section(
        "reference",
        "Reference",
        (
            "tracking-server",
            "tracking-server-class",
            "tracking-server-backup",
            "tracking-server-client",
            "conditions",
            "metrics",
        ),
    ),
    Section("explanation", "Explanation", ("security", "performance", "comparison", "faq")),
    Section("contributing", "Contributing", ("architecture", "proofs")),
    Section("decisions", "Decisions"),
)


def navigation(titles: dict[PurePosixPath, str], sections: Sequence[Section] = SECTIONS) -> list[Entry]:
    """Put every page in its place; `titles` has the title of each by its path in docs/.

    A folder that no section names becomes a section at the end.
    """
    folders = {path.parts[0] for path in titles if len(path.parts) > 1}
    unnamed = sorted(folders - {one.folder for one in sections})
    named = [*sections, *(Section(folder, folder.replace("-", " ").capitalize()) for folder in unnamed)]
    alone = [path for path in sorted(titles) if len(path.parts) == 1]
    shown: list[Entry] = [{"Home": HOME} for path in alone if str(path) == HOME]
    shown += [{one.title: _in(one, titles)} for one in named if one.folder in folders]
    return shown + [_page(path, titles) for path in alone if str(path) != HOME]


def _in(section: Section, titles: dict[PurePosixPath, str]) -> list[Entry]:
    order = {f"{section.folder}/{name}.md": place for place, name in enumerate(section.first)}
    pages = [path for path in titles if path.parts[0] == section.folder and len(path.parts) > 1]
    return [
        _page(path, titles)
        for path in sorted(pages, key=lambda one: (order.get(str(one), len(order)), titles[one].lower()))
    ]


def _page(path: PurePosixPath, titles: dict[PurePosixPath, str]) -> Entry:
    return {titles[path]: str(path)}


def pages_of(entries: Iterable[Entry]) -> list[str]:
    """The paths of all pages in a navigation."""
    return [
        path
        for entry in entries
        for below in entry.values()
        for path in ([below] if isinstance(below, str) else pages_of(below))
    ]


def title_of(text: str, path: PurePosixPath) -> str:
    """The page's first heading, without marks; its file's name where there is none."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return re.sub(r"[`*]", "", found.group(1)).strip() if found else path.stem
