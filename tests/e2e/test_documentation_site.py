"""The pages of the documentation in a browser, once wide and once narrow, as `make docs` builds them. No cluster is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from dev.images.recipes import ROOT
from dev.site.__main__ import build
from tests.e2e.browser import MILLISECONDS_OF_PATIENCE, a_browser
from tests.file_server import served

WIDE, NARROW = 1440, 390
HEIGHT = 900
ONLY_LINKED = "repository"
"""Files that pages show: nobody begins there, and lines of programs are as long as they are."""

PROBLEMS = """() => {
  const root = document.documentElement, found = [];
  if (root.scrollWidth > root.clientWidth)
    found.push(`is ${root.scrollWidth} pixels wide in a window of ${root.clientWidth}`);
  for (const image of document.images)
    if (!image.complete || image.naturalWidth === 0) found.push(`does not show ${image.src}`);
  if (document.querySelectorAll("h1").length !== 1) found.push("does not have one title");
  const text = document.querySelector("article");
  if (!text || text.getBoundingClientRect().width < 0.8 * Math.min(root.clientWidth, 400))
    found.push("leaves no room for its text");
  return found;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser({}) as browser:
        yield browser


@pytest.fixture(params=[WIDE, NARROW])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": request.param, "height": HEIGHT})
    context.set_default_timeout(MILLISECONDS_OF_PATIENCE)
    yield context.new_page()
    context.close()


def width(page: Page) -> int:
    size = page.viewport_size
    assert size
    return size["width"]


def pages_of(site: Path, *, decisions: bool) -> list[str]:
    found = (path.relative_to(site) for path in sorted(site.rglob("*.html")))
    return [
        str(one)
        for one in found
        if one.parts[0] != ONLY_LINKED and (one.parts[0] == "decisions") is decisions
    ]


@pytest.mark.parametrize("decisions", [False, pytest.param(True, marks=pytest.mark.campaign)])
def test_every_page_fits_the_window_shows_its_images_and_asks_nobody_else(
    page: Page, site: Path, address: str, decisions: bool
) -> None:
    problems, asked = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on(
        "response",
        lambda answer: problems.extend([f"{answer.url}: {answer.status}"] * (answer.status >= 400)),
    )
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    names = pages_of(site, decisions=decisions)
    assert len(names) > 40
    for name in names:
        page.goto(f"{address}/{name}")
        problems += [f"{name} {problem}" for problem in page.evaluate(PROBLEMS)]
    assert not problems, "\n".join(problems)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def test_the_menu_leads_to_a_page(page: Page, address: str) -> None:
    page.goto(f"{address}/index.html")
    menu = page.locator(".md-sidebar--primary")
    if width(page) == NARROW:
        page.locator("label.md-header__button[for=__drawer]").click()
        menu.locator("label.md-nav__link").filter(has_text="How-to guides").click()
    else:
        page.locator(".md-tabs").get_by_role("link", name="How-to guides").click()
    menu.get_by_role("link", name="Install, upgrade").click()
    page.wait_for_url("**/how-to/install.html")
    assert page.get_by_role("heading", level=1).inner_text().startswith("Install, upgrade")
    assert page.locator("article").bounding_box()


def test_a_wide_page_is_found_to_be_one(page: Page, address: str) -> None:
    """What looks for problems finds those that are put there."""
    page.goto(f"{address}/index.html")
    page.evaluate(
        """() => {
          const article = document.querySelector("article");
          article.insertAdjacentHTML("beforeend", "<h1>Two</h1><div style='width: 3000px'>wide</div>");
          return new Promise(done => {
            const image = new Image();
            image.onerror = done;
            image.src = "missing.png";
            article.append(image);
          });
        }"""
    )
    wide, image, title = page.evaluate(PROBLEMS)
    assert "pixels wide" in wide
    assert "missing.png" in image
    assert "title" in title
