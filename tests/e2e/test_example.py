"""docs/tutorials/wine.md, typed as it stands, with a team's server: what it leaves there, and what a browser shows of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.development_cluster import DevelopmentCluster
from dev.example.page import read_through
from dev.local_cluster.progress import say
from dev.object_store import ClusterObjectStore
from tests.e2e.browser import a_browser, a_visit
from tests.e2e.exposed_servers import ExposedServer
from tests.e2e.mlflow import Tracking

pytest_plugins = [
    "tests.cluster_ingress",
    "tests.cluster_object_store",
    "tests.cluster_postgres",
    "tests.e2e.exposed_servers",
]

pytestmark = (
    pytest.mark.campaign
)  # it installs 700 MB and trains twice; DVC's requests are in tests/stores, too

SERVICE_PORT = 80
PENALTIES = ("0.003", "0.03", "0.3")


@dataclass(frozen=True)
class Reader:
    """Somebody who has done what the page says."""

    server: ExposedServer
    home: Path
    url: str
    """Where this machine finds the server."""
    tracking: Tracking

    @property
    def data(self) -> bytes:
        """The wines."""
        return (self.home / "wine" / "data" / "wines.csv").read_bytes()

    def runs(self) -> list[dict[str, Any]]:
        """The runs of both, the colleague's first."""
        found = self.tracking.call("GET", "/experiments/get-by-name?experiment_name=wine")["experiment"]
        asked = {"experiment_ids": [found["experiment_id"]], "order_by": ["attributes.start_time DESC"]}
        return list(self.tracking.call("POST", "/runs/search", asked)["runs"])


@pytest.fixture(scope="module")
def reader(
    cluster: DevelopmentCluster,
    exposed: tuple[ExposedServer, ExposedServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Reader]:
    server, home = exposed[0], tmp_path_factory.mktemp("reader") / "home"
    user, password = server.member
    tracking = server.tracking(server.member)
    place = ("--namespace", server.team.namespace)
    with cluster.port_forward("service/mlflow", SERVICE_PORT, *place) as port:
        url = f"http://localhost:{port}{tracking.prefix}"
        login = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        read_through(home, {"MLFLOW_TRACKING_URI": url, **login}, say)
        yield Reader(server, home, url, tracking)


def entries(run: dict[str, Any], kind: str) -> dict[str, str]:
    return {one["key"]: one["value"] for one in run["data"].get(kind, [])}


def test_the_data_is_under_the_prefix_of_the_team_and_nowhere_else(
    reader: Reader, cluster_object_store: ClusterObjectStore
) -> None:
    named = hashlib.md5(reader.data, usedforsecurity=False).hexdigest()
    stored = cluster_object_store.keys()
    (key,) = [one for one in stored if one.endswith(f"/dvc/files/md5/{named[:2]}/{named[2:]}")]
    assert key.startswith(f"{reader.server.team.namespace}/mlflow/")


def test_a_colleague_has_the_same_data(reader: Reader) -> None:
    theirs = reader.home / "wine-of-a-colleague" / "data" / "wines.csv"
    assert theirs.read_bytes() == reader.data
    assert len(reader.data.splitlines()) == 179


def test_nobody_but_the_reader_can_read_the_password_that_dvc_keeps(reader: Reader) -> None:
    kept = reader.home / "wine" / ".dvc" / "config.local"
    assert kept.stat().st_mode & 0o077 == 0
    assert reader.server.member[1] in kept.read_text()


def test_each_run_names_its_parameters_code_and_data(reader: Reader) -> None:
    runs = reader.runs()
    assert sorted(entries(run, "params")["alpha"] for run in runs) == sorted(2 * PENALTIES)
    written = yaml.safe_load((reader.home / "wine" / "data" / "wines.csv.dvc").read_text())
    (of_data,) = {one["md5"] for one in written["outs"]}
    for run in runs:
        tags, metrics = entries(run, "tags"), entries(run, "metrics")
        assert tags["dvc.data.md5"] == of_data
        assert len(tags["mlflow.source.git.commit"]) == 40
        assert {"rmse", "r2"} <= set(metrics)
        (dataset,) = run["inputs"]["dataset_inputs"]
        assert (dataset["dataset"]["name"], dataset["dataset"]["source_type"]) == ("wines", "http")


def test_system_metrics_are_there(reader: Reader) -> None:
    measured = [name for run in reader.runs() for name in entries(run, "metrics")]
    assert any(name.startswith("system/") for name in measured)


def test_the_newest_model_has_the_alias(reader: Reader) -> None:
    asked = "/registered-models/alias?name=wine-alcohol&alias=champion"
    assert reader.tracking.call("GET", asked)["model_version"]["version"] == "2"


def test_a_browser_shows_the_runs_side_by_side(reader: Reader) -> None:
    runs = reader.runs()[: len(PENALTIES)]
    ids = [str(run["info"]["run_id"]) for run in runs]
    with a_browser({}) as browser, a_visit(browser, reader.url, reader.server.member) as visit:
        visit.compare(runs[0]["info"]["experiment_id"], ids)
        for penalty in PENALTIES:
            visit.page.get_by_text(f"alpha={penalty}", exact=True).first.wait_for()
        visit.comparison().wait_for()
        visit.screenshot("wine-compare")
