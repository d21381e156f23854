"""The pages of the site: those of docs/ at their places, and a page for every other file that one of them links to."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from dev.site.links import BrokenLinkError, broken_links, linked_paths, relative, resolved, with_links
from dev.site.navigation import title_of

DOCS: Final = PurePosixPath("docs")
REPOSITORY: Final = PurePosixPath("repository")
"""Where files outside of docs/ are in the site."""
READ_ON_GIT: Final = (
    PurePosixPath("README.md"),
    PurePosixPath("SECURITY.md"),
    PurePosixPath("dev/README.md"),
)
"""Pages outside of docs/ whose links count, too."""
LANGUAGES: Final = {".yaml": "yaml", ".py": "python", ".json": "json", ".toml": "toml", ".sh": "bash"}
PICTURES: Final = {".png", ".svg"}
NOT_SEARCHED: Final = "---\nsearch:\n  exclude: true\n---\n\n"


def titles(root: Path) -> dict[PurePosixPath, str]:
    """The title of each page of docs/, by its path there."""
    return {
        path.relative_to(DOCS): title_of((root / path).read_text(encoding="utf-8"), path)
        for path in _pages_of_docs(root)
    }


def _pages_of_docs(root: Path) -> list[PurePosixPath]:
    return sorted(PurePosixPath(one.relative_to(root).as_posix()) for one in (root / DOCS).rglob("*.md"))


def write_pages(root: Path, folder: Path) -> None:
    """Write all pages into `folder`, with links that are right there.

    Raises BrokenLinkError: a link names a file that is not in the repository.
    """
    roots = [*_pages_of_docs(root), *(one for one in READ_ON_GIT if (root / one).exists())]
    for path in sorted(_with_what_they_link_to(root, roots)):
        target = folder / place(root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in PICTURES:
            shutil.copyfile(root / path, target)
        else:
            target.write_text("".join(_text(root, path)), encoding="utf-8")


def _with_what_they_link_to(root: Path, roots: Sequence[PurePosixPath]) -> set[PurePosixPath]:
    """These pages, and all files that one of them links to, or a page that they link to."""
    found = {*roots}
    to_read = [*roots]
    broken: list[str] = []
    while to_read:
        page = to_read.pop()
        broken += broken_links(root, page)
        linked = {*linked_paths((root / page).read_text(encoding="utf-8"), page)} - found
        found |= linked
        to_read += [path for path in linked if path.suffix == ".md" and (root / path).is_file()]
    if broken:
        raise BrokenLinkError("\n".join(sorted(broken)))
    return found


def place(root: Path, path: PurePosixPath) -> PurePosixPath:
    """Where a file or folder of the repository is in the site's source."""
    inside = path.is_relative_to(DOCS)
    to = path.relative_to(DOCS) if inside else REPOSITORY / path
    if (root / path).is_dir():
        return to / "index.md"
    if path.suffix in {".md", *PICTURES}:
        return to
    return to.with_name(to.name + ".md")


def _text(root: Path, path: PurePosixPath) -> Iterator[str]:
    if not path.is_relative_to(DOCS):
        yield NOT_SEARCHED
    if (root / path).is_dir():
        yield from _listing(root, path)
    elif path.suffix == ".md":
        yield _led(root, path)
    else:
        language = LANGUAGES.get(path.suffix, "text")
        yield f"# {path.name}\n\n`{path}`\n\n````{language}\n{(root / path).read_text(encoding='utf-8')}````\n"


def _led(root: Path, page: PurePosixPath) -> str:
    here = place(root, page)

    def change(target: str) -> str:
        return relative(place(root, resolved(target, page)), here)

    return with_links((root / page).read_text(encoding="utf-8"), change)


def _listing(root: Path, folder: PurePosixPath) -> Iterator[str]:
    yield f"# {folder}\n\n"
    for file in sorted((root / folder).iterdir()):
        path = folder / file.name
        if path.is_relative_to(DOCS) and path.suffix == ".md":
            yield f"- [{title_of(file.read_text(encoding='utf-8'), path)}]({file.name})\n"
        elif not file.name.startswith(("__", ".")):
            yield f"- `{file.name}{'/' if file.is_dir() else ''}`\n"
