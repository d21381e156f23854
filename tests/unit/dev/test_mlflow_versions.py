"""Every place that names the releases of MLflow on offer names the same ones."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.images.recipes import ROOT, mlflow_recipe, mlflow_versions
from tests.mlflow_versions import HEADS
from tracking_operator.controllers.server_class.class_of_server import BUILT_IN_VERSIONS

NEWEST = mlflow_versions()[-1]
CLASSES = sorted((ROOT / "manifests").rglob("class*.yaml"))


def test_the_built_in_table_offers_each_release_that_has_an_image() -> None:
    assert list(BUILT_IN_VERSIONS) == mlflow_versions()


def test_tests_know_the_schema_of_each_release() -> None:
    assert list(HEADS) == mlflow_versions()


def test_a_build_that_names_no_release_is_of_the_newest() -> None:
    assert f"\nARG MLFLOW_VERSION={NEWEST}\n" in (ROOT / "Dockerfile").read_text()
    assert mlflow_recipe().version == NEWEST


@pytest.mark.parametrize("path", CLASSES, ids=lambda path: path.parent.name + "/" + path.name)
def test_a_sample_class_offers_all_and_gives_new_servers_the_newest(path: Path) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text()))
    (mlflow,) = (one["spec"]["mlflow"] for one in documents if one["kind"] == "TrackingServerClass")
    offered = {one["version"]: one["image"] for one in mlflow["versions"]}
    assert sorted(offered) == sorted(mlflow_versions())
    assert all(image.endswith(f":{version}") for version, image in offered.items())
    assert mlflow["defaultVersion"] == NEWEST


def test_what_people_copy_from_the_pages_runs_the_newest() -> None:
    pages = ("README.md", "docs/tutorials/job.yaml")
    named = [
        re.findall(r"tracking-operator/mlflow:([0-9.]+[0-9])", (ROOT / page).read_text()) for page in pages
    ]
    assert {version for images in named for version in images} == {NEWEST}
