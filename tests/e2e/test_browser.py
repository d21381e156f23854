"""MLflow's pages, used in a browser as people use them: through the Ingress, under a prefix, after a login."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from playwright.sync_api import Browser

from tests.e2e.browser import Visit, a_browser, a_visit
from tests.e2e.exposed_servers import DOMAIN, ExposedServer
from tests.e2e.mlflow import ARTIFACTS, Tracking

pytest_plugins = [
    "tests.cluster_ingress",
    "tests.cluster_object_store",
    "tests.cluster_postgres",
    "tests.e2e.exposed_servers",
]

EXPERIMENT = "wine"
RUN = "alpha=0.1"
NOTE = "The residuals look random."
STEPS = 20
ALIAS = "staging"
DESCRIPTION_OF_A_MODEL = (
    "artifact_path: model\nflavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
)


@dataclass(frozen=True)
class LoggedRun:
    """A run of the first team, with a curve, a note and a model."""

    server: ExposedServer
    tracking: Tracking
    experiment: str
    id: str


@pytest.fixture(scope="module")
def browser(exposed: tuple[ExposedServer, ExposedServer]) -> Iterator[Browser]:
    with a_browser({f"*.{DOMAIN}": exposed[0].ingress.node_address}) as browser:
        yield browser


@pytest.fixture(scope="module")
def run(exposed: tuple[ExposedServer, ExposedServer]) -> LoggedRun:
    server = exposed[0]
    tracking = server.tracking(server.member)
    experiment = tracking.make_experiment(f"{EXPERIMENT}-{uuid4().hex[:4]}")
    created = tracking.call("POST", "/runs/create", {"experiment_id": experiment, "run_name": RUN})
    id_ = str(created["run"]["info"]["run_id"])
    curve = [
        {"key": "rmse", "value": 1 / (step + 1), "step": step, "timestamp": step + 1} for step in range(STEPS)
    ]
    tracking.call("POST", "/runs/log-batch", {"run_id": id_, "metrics": curve})
    for path, content in (("notes/note.txt", NOTE), ("model/MLmodel", DESCRIPTION_OF_A_MODEL)):
        stored = tracking.answer("PUT", f"{ARTIFACTS}/{experiment}/{id_}/artifacts/{path}", content.encode())
        assert stored.status == 200, stored.data
    return LoggedRun(server, tracking, experiment, id_)


@pytest.fixture
def visit(browser: Browser, run: LoggedRun) -> Iterator[Visit]:
    """A member of the first team."""
    with a_visit(browser, run.server.url, run.server.member) as visit:
        yield visit


def test_a_login_is_asked_for_and_only_the_teams_own_opens_the_pages(
    browser: Browser, exposed: tuple[ExposedServer, ExposedServer]
) -> None:
    server, other = exposed
    user, _ = server.member
    for login in (None, (user, "not the password"), other.member, other.administrator):
        with a_visit(browser, server.url, login) as visit:
            assert visit.open() == 401, login and login[0]
    for login in (server.member, server.administrator):
        with a_visit(browser, server.url, login) as visit:
            assert visit.open() == 200
            visit.page.get_by_role("button", name=f"Account menu for {login[0]}").wait_for()


@pytest.mark.campaign
def test_the_chart_of_a_metric_has_its_curve(visit: Visit, run: LoggedRun) -> None:
    visit.open_metrics(run.experiment, run.id)
    line = visit.chart("rmse")
    line.wait_for(state="attached")
    corners = (line.get_attribute("d") or "").count("L")
    assert corners > STEPS / 2, "points that lie on a straight line may be left out"
    visit.screenshot("metrics")


@pytest.mark.campaign
def test_an_artifact_is_shown(visit: Visit, run: LoggedRun) -> None:
    visit.open_artifact(run.experiment, run.id, "notes", "note.txt")
    visit.page.get_by_text(NOTE).wait_for()
    visit.screenshot("artifact")


@pytest.mark.campaign
def test_a_model_is_registered_and_its_alias_moved(visit: Visit, run: LoggedRun) -> None:
    visit.open_artifact(run.experiment, run.id, "model")
    model = f"wine-{uuid4().hex[:4]}"
    visit.register_model(model)
    visit.set_alias(model, 1, ALIAS)
    assert version_with_alias(run.tracking, model) == "1"
    (first,) = run.tracking.call("GET", f"/model-versions/search?filter=name='{model}'")["model_versions"]
    again = {"name": model, "source": first["source"], "run_id": run.id}
    run.tracking.call("POST", "/model-versions/create", again)
    visit.set_alias(model, 2, ALIAS)
    assert version_with_alias(run.tracking, model) == "2"
    visit.open(f"#/models/{model}")
    visit.version(2).get_by_text(ALIAS).first.wait_for()
    assert visit.version(1).get_by_text(ALIAS).count() == 0
    visit.screenshot("model")


def test_two_teams_work_side_by_side_and_see_nothing_of_each_other(
    browser: Browser, exposed: tuple[ExposedServer, ExposedServer], run: LoggedRun
) -> None:
    server, other = exposed
    others = other.tracking(other.member)
    experiment = others.make_experiment(f"{EXPERIMENT}-{uuid4().hex[:4]}")
    own = others.log_run("of the other team", experiment)
    with (
        a_visit(browser, server.url, server.member) as one,
        a_visit(browser, other.url, other.member) as another,
    ):
        one.open(f"#/experiments/{run.experiment}/runs")
        another.open(f"#/experiments/{experiment}/runs")
        one.page.get_by_role("link", name=RUN).wait_for()
        another.page.get_by_role("link", name="of the other team").wait_for()
        assert one.page.get_by_text("of the other team").count() == 0
        assert another.page.get_by_text(RUN).count() == 0
        one.screenshot("runs-of-one-team")
        another.screenshot("runs-of-another-team")
    assert run.tracking.run_ids(run.experiment) == [run.id]
    assert others.run_ids(experiment) == [own]


def version_with_alias(tracking: Tracking, model: str) -> str:
    path = f"/registered-models/alias?name={model}&alias={ALIAS}"
    return str(tracking.call("GET", path)["model_version"]["version"])
