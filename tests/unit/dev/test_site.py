"""The documentation: every link leads somewhere, every page can be found, every resource in it is one that the API takes."""

from pathlib import Path, PurePosixPath

import pytest

from dev.site.__main__ import SiteError, build
from dev.site.links import with_links
from dev.site.navigation import Section, navigation, pages_of, title_of
from dev.site.pages import titles

ROOT = Path(__file__).parents[3]


def repository(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def built(folder: Path, files: dict[str, str]) -> Path:
    work = folder / "work"
    work.mkdir()
    return build(repository(folder / "repository", files), work)


def test_every_link_and_anchor_of_this_repository_leads_somewhere(tmp_path: Path) -> None:
    site = build(ROOT, tmp_path)
    pages = {one.relative_to(site).as_posix() for one in site.rglob("*.html")}
    assert {f"{path.with_suffix('')}.html" for path in titles(ROOT)} <= pages


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("how-to/gone.md", "docs/how-to/gone.md"),
        ("../manifests/gone.yaml", "manifests/gone.yaml"),
        ("images/gone.png", "docs/images/gone.png"),
        ("how-to/install.md#gone", "anchor does not exist"),
        ("#gone", "anchor does not exist"),
    ],
)
def test_a_broken_link_or_anchor_is_said(tmp_path: Path, link: str, said: str) -> None:
    files = {"docs/index.md": f"# Home\n\n[somewhere]({link})\n", "docs/how-to/install.md": "# Install\n"}
    with pytest.raises(SiteError, match=said):
        built(tmp_path, files)


def test_a_broken_link_of_the_readme_is_said(tmp_path: Path) -> None:
    files = {"docs/index.md": "# Home\n", "README.md": "[install](docs/install.md)\n"}
    with pytest.raises(SiteError, match=r"README\.md links to docs/install\.md, which is not there"):
        built(tmp_path, files)


def test_a_broken_link_of_a_page_elsewhere_is_said_too(tmp_path: Path) -> None:
    files = {
        "docs/index.md": "# Home\n\n[changes](../changes/README.md)\n",
        "changes/README.md": "[x](gone.md)\n",
    }
    with pytest.raises(SiteError, match=r"changes/README\.md links to changes/gone\.md"):
        built(tmp_path, files)


def test_files_outside_of_the_pages_have_pages_of_their_own(tmp_path: Path) -> None:
    files = {
        "docs/index.md": "# Home\n\n[class](../manifests/class.yaml), [more](../manifests)\n",
        "manifests/class.yaml": "kind: TrackingServerClass\n",
    }
    site = built(tmp_path, files)
    assert "TrackingServerClass" in (site / "repository/manifests/class.yaml.html").read_text()
    assert "class.yaml" in (site / "repository/manifests/index.html").read_text()
    assert 'href="repository/manifests/class.yaml.html"' in (site / "index.html").read_text()


def test_every_page_is_in_the_navigation_once() -> None:
    pages = titles(ROOT)
    assert sorted(pages_of(navigation(pages))) == sorted(map(str, pages))


def test_pages_that_are_not_named_follow_those_that_are_and_folders_too() -> None:
    names = ("index.md", "how-to/a.md", "how-to/b.md", "how-to/c.md", "new/x.md", "alone.md")
    pages = {PurePosixPath(name): PurePosixPath(name).stem for name in names}
    shown = navigation(pages, [Section("how-to", "How-to", ("c",))])
    assert pages_of(shown) == [
        "index.md",
        "how-to/c.md",
        "how-to/a.md",
        "how-to/b.md",
        "new/x.md",
        "alone.md",
    ]
    assert [*shown[2]] == ["New"]
    assert [*shown[0]] == ["Home"]


def test_what_looks_like_a_link_in_code_is_left() -> None:
    text = "[a](x.md)\n\n```yaml\npattern: '[a-z](x.md)'\n```\n\n`[b](x.md)` [c](https://example.com/x.md)\n"
    assert with_links(text, lambda _: "y.md") == text.replace("[a](x.md)", "[a](y.md)", 1)


def test_a_title_is_the_first_heading() -> None:
    assert (
        title_of("<!-- made -->\n# `kubectl tracking`\n\n## More\n", PurePosixPath("x.md"))
        == "kubectl tracking"
    )
