"""When an image is built anew, under which name, and what is kept."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.images import build
from dev.images.__main__ import main, table
from dev.images.build import KEPT_ARCHIVES, Image, archives_folder, build_images, built_images
from dev.images.engines import Order
from dev.images.failures import ImageError
from dev.images.recipes import (
    Recipe,
    digest_of,
    label_arguments,
    mlflow_recipe,
    mlflow_versions,
    operator_recipe,
    snapshot,
)

PROJECT = """
[project]
name = "tracking-operator"
version = "1.2.3"
[project.urls]
Repository = "https://example.org/repository"
[tool.ruff]
line-length = 110
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with as much in it as images are built from."""
    folder = tmp_path / "repository"
    for name in (
        "Dockerfile",
        ".dockerignore",
        "uv.lock",
        "README.md",
        "dev/images/builder/requirements.txt",
    ):
        _write(folder / name, name)
    _write(folder / "pyproject.toml", PROJECT)
    _write(folder / "operator/tracking_operator/naming.py", "LIMIT = 63")
    for version in ("3.16.1", "3.17.2", "3.9.0"):
        _write(folder / f"dev/images/mlflow/{version}/uv.lock", version)
    return folder


class RecordingEngine:
    """Builds nothing but the archive's file."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def build(self, order: Order, archive: Path) -> None:
        self.orders.append(order)
        archive.write_text(order.name)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingEngine]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recording = RecordingEngine()
    monkeypatch.setattr(build, "engine", lambda: recording)
    yield recording


def test_a_changed_source_is_another_operator(root: Path) -> None:
    before = digest_of(operator_recipe(root), root)
    _write(root / "operator/tracking_operator/naming.py", "LIMIT = 64")
    assert digest_of(operator_recipe(root), root) != before


@pytest.mark.parametrize("changed", ["Dockerfile", "uv.lock", "dev/images/builder/requirements.txt"])
def test_how_it_is_built_counts_as_well(root: Path, changed: str) -> None:
    before = digest_of(operator_recipe(root), root)
    _write(root / changed, "other")
    assert digest_of(operator_recipe(root), root) != before


def test_a_linter_setting_and_compiled_files_are_no_change(root: Path) -> None:
    before = digest_of(operator_recipe(root), root)
    _write(root / "pyproject.toml", PROJECT.replace("110", "100"))
    _write(root / "operator/tracking_operator/__pycache__/naming.pyc", "compiled")
    assert digest_of(operator_recipe(root), root) == before


def test_a_changed_operator_leaves_mlflow_as_it_is(root: Path) -> None:
    before = digest_of(mlflow_recipe(root=root), root)
    _write(root / "operator/tracking_operator/naming.py", "LIMIT = 64")
    assert digest_of(mlflow_recipe(root=root), root) == before


def test_the_newest_version_by_number_is_the_default(root: Path) -> None:
    assert mlflow_versions(root) == ["3.9.0", "3.16.1", "3.17.2"]
    assert mlflow_recipe(root=root).version == "3.17.2"


def test_extras_become_build_argument_and_tag_in_one_order(root: Path) -> None:
    recipe = mlflow_recipe("3.16.1", ["gcs", "azure"], root)
    assert recipe.tag == "3.16.1-azure-gcs"
    assert recipe.arguments == {"MLFLOW_VERSION": "3.16.1", "MLFLOW_EXTRAS": "azure gcs"}


def test_an_unknown_version_or_extra_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(ImageError, match=r"no image of MLflow 1\.0; there are 3\.9\.0, 3\.16\.1, 3\.17\.2"):
        mlflow_recipe("1.0", root=root)
    with pytest.raises(ImageError, match="no extra ftp; there are azure, gcs"):
        mlflow_recipe(extras=["ftp"], root=root)


def test_labels_say_version_and_source_and_need_no_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    assert label_arguments(operator_recipe(root), root) == {
        "VERSION": "1.2.3",
        "REVISION": "",
        "SOURCE": "https://example.org/repository",
    }


def test_a_snapshot_has_the_digest_of_what_it_copied(root: Path) -> None:
    recipe = operator_recipe(root)
    before = digest_of(recipe, root)
    with snapshot(recipe, root) as context:
        _write(root / "operator/tracking_operator/naming.py", "edited meanwhile")
        assert digest_of(recipe, context) == before
    assert not context.exists()


def test_images_are_built_once(engine: RecordingEngine) -> None:
    first = build_images()
    assert build_images() == first == built_images()
    assert len(engine.orders) == len(first)


def test_what_is_not_built_is_not_listed(engine: RecordingEngine) -> None:
    assert built_images() == []
    assert engine.orders == []


def test_pods_find_images_by_version_and_the_operator_by_content(engine: RecordingEngine) -> None:
    operator, mlflow = build_images()
    assert operator.name == f"tracking-operator/operator:{operator.digest}"
    assert mlflow.name == f"tracking-operator/mlflow:{mlflow_versions()[-1]}"


def test_tests_can_ask_for_more_versions_than_the_demo_needs(engine: RecordingEngine) -> None:
    names = [image.name for image in build_images(mlflow=mlflow_versions())]
    assert names[1:] == [f"tracking-operator/mlflow:{version}" for version in mlflow_versions()]
    assert {"tracking-operator/mlflow:3.16.1", "tracking-operator/mlflow:3.17.2"} <= set(names)
    assert len(build_images()) == 2


def test_only_the_last_builds_of_an_image_are_kept(engine: RecordingEngine) -> None:
    archives_folder().mkdir(parents=True)
    digests = [letter * 12 for letter in "abcdef"][: KEPT_ARCHIVES + 1]
    for age, digest in enumerate(digests):
        archive = archives_folder() / f"mlflow-3.17.2-{digest}.tar"
        archive.touch()
        os.utime(archive, (age, age))
    other = archives_folder() / f"mlflow-3.17.2-gcs-{'a' * 12}.tar"
    other.touch()
    os.utime(other, (0, 0))
    (built,) = build_images([mlflow_recipe("3.17.2")])
    kept = {archives_folder() / f"mlflow-3.17.2-{digest}.tar" for digest in digests[2:]}
    assert set(archives_folder().glob("*.tar")) == {built.archive, other, *kept}


def test_the_table_shows_sizes(tmp_path: Path) -> None:
    shown = table([Image("tracking-operator/mlflow:3.17.2", tmp_path / "a.tar", "0" * 12, 824 * 2**20)])
    assert "tracking-operator/mlflow:3.17.2" in shown
    assert "824 MiB" in shown


def test_a_failed_build_is_a_sentence_and_exit_code_1(
    engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(order: Order, archive: Path) -> None:
        raise ImageError("The disk is full.")

    monkeypatch.setattr(engine, "build", refuse)
    assert main(["build", "operator"]) == 1
    assert capsys.readouterr().err == "The disk is full.\n"


def test_the_command_line_builds_what_it_names(engine: RecordingEngine) -> None:
    assert main(["build", "mlflow", "--extras", "gcs"]) == 0
    recipes: list[Recipe] = [order.recipe for order in engine.orders]
    assert [(recipe.target, recipe.tag) for recipe in recipes] == [("mlflow", f"{mlflow_versions()[-1]}-gcs")]


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
