"""MLflow's pages in a headless Chromium, as somebody who trains models uses them.

What is looked for are the pages' own words and roles, of MLflow 3.17. Waiting has one deadline, for a busy machine.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
MILLISECONDS_OF_PATIENCE = 90_000
REFUSED = "ERR_INVALID_AUTH_CREDENTIALS"
WINDOW = {"width": 1200, "height": 700}

# What the pages remember of somebody who has chosen "Model training" and closed the assistant.
PREFERENCES = """
localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
"""


@contextmanager
def a_browser(addresses: Mapping[str, str]) -> Iterator[Browser]:
    """Debian's Chromium, for which host names have these addresses; as root it cannot have a sandbox."""
    program = shutil.which("chromium")
    assert program, "Chromium is not installed: `make prepare-e2e` brings it."
    rules = ",".join(f"MAP {host} {address}" for host, address in addresses.items())
    arguments = ["--no-sandbox", "--disable-gpu", f"--host-resolver-rules={rules}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Visit:
    """A person at a server's pages."""

    page: Page
    url: str

    def open(self, place: str = "") -> int:
        """Open a page, with nothing left of the one before; the status with which its document came."""
        self.page.goto("about:blank")
        try:
            answer = self.page.goto(f"{self.url}/{place}")
        except Error as error:  # a login that was refused counts as no answer
            if REFUSED in str(error):
                return HTTPStatus.UNAUTHORIZED
            raise
        assert answer is not None
        return answer.status

    def open_metrics(self, experiment: str, run: str) -> None:
        """Open the charts of a run's metrics."""
        self.open(f"#/experiments/{experiment}/runs/{run}/model-metrics")

    def compare(self, experiment: str, runs: Sequence[str]) -> None:
        """Open runs of an experiment side by side."""
        asked = urlencode({"runs": json.dumps(list(runs)), "experiments": json.dumps([experiment])})
        self.open(f"#/compare-runs?{asked}")

    def comparison(self) -> Locator:
        """The plot of the runs that are compared, with a line for each."""
        return self.page.locator(".js-plotly-plot .main-svg").first

    def chart(self, metric: str) -> Locator:
        """The curve in the chart of a metric, which is drawn twice, one over the other."""
        card = self.page.get_by_test_id("experiment-view-compare-runs-card")
        return (
            card.filter(has=self.page.get_by_role("heading", name=metric))
            .locator(".scatterlayer .js-line")
            .first
        )

    def open_artifact(self, experiment: str, run: str, *path: str) -> None:
        """Open a run's artifacts, and folder by folder what is at a path."""
        self.open(f"#/experiments/{experiment}/runs/{run}/artifacts")
        for name in path:
            self.page.get_by_test_id("artifact-tree-node").filter(has_text=name).last.click()

    def register_model(self, name: str) -> None:
        """Make the folder that is open among the artifacts the first version of a new model."""
        self.page.get_by_role("button", name="Register model").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("combobox").click()
        self.page.get_by_text("Create New Model", exact=True).last.click()
        dialog.get_by_placeholder("Input a model name").fill(name)
        dialog.get_by_role("button", name="Register", exact=True).click()
        dialog.wait_for(state="hidden")

    def set_alias(self, model: str, version: int, alias: str) -> None:
        """Let an alias of a model mean this version, whichever it meant before."""
        self.open(f"#/models/{model}")
        # The buttons of a row: add tags, add aliases.
        self.version(version).get_by_role("button", name="Add").last.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("combobox").click()
        self.page.keyboard.type(alias)
        self.page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Save aliases").click()
        dialog.wait_for(state="hidden")

    def version(self, number: int) -> Locator:
        """The row of a model's version."""
        return self.page.get_by_role("row", name=re.compile(rf"^Version {number}\b"))

    def screenshot(self, name: str) -> None:
        """Keep what is seen now, in build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@contextmanager
def a_visit(browser: Browser, url: str, login: tuple[str, str] | None) -> Iterator[Visit]:
    """Somebody who enters this user and password when asked, or none."""
    credentials = {"username": login[0], "password": login[1]} if login else None
    context = browser.new_context(http_credentials=credentials, viewport=WINDOW)  # type: ignore[arg-type]
    context.set_default_timeout(MILLISECONDS_OF_PATIENCE)
    context.add_init_script(PREFERENCES)
    try:
        yield Visit(context.new_page(), url)
    finally:
        context.close()
