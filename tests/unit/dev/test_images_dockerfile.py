"""What the Dockerfile and the locks promise."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.images.base import base_name
from dev.images.recipes import EXTRAS, ROOT, mlflow_versions

DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL_TARGETS = ("operator", "mlflow")
LOWEST_USER = 10_000


def test_images_run_as_a_numeric_user_that_every_policy_accepts() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert int(user) >= LOWEST_USER


def test_the_published_base_is_pinned_and_is_the_one_that_buildah_makes() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    name, _, digest = base.partition("@")
    assert name == base_name()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)


def test_every_installation_checks_hashes() -> None:
    installs = re.findall(r"pip install [^\\\n]*(?:\\\n[^\\\n]*)*", DOCKERFILE)
    from_an_index = [command for command in installs if "--offline" not in command]
    assert from_an_index
    assert all("--require-hashes" in command for command in from_an_index)


@pytest.mark.parametrize("target", FINAL_TARGETS)
def test_a_final_stage_only_copies(target: str) -> None:
    stage = DOCKERFILE.split(f"FROM runtime AS {target}\n")[1].split("\nFROM ")[0]
    assert "\nRUN" not in stage
    assert all(line.startswith("COPY --from=") for line in stage.splitlines() if line.startswith("COPY"))


@pytest.mark.parametrize("target", FINAL_TARGETS)
def test_every_image_has_the_labels_of_its_kind(target: str) -> None:
    stage = DOCKERFILE.split(f"FROM runtime AS {target}\n")[1].split("\nFROM ")[0]
    for label in ("title", "description", "licenses", "version", "revision", "source"):
        assert f"org.opencontainers.image.{label}=" in stage


@pytest.mark.parametrize("version", mlflow_versions())
def test_a_lock_is_of_the_version_that_its_folder_names(version: str) -> None:
    folder = ROOT / "dev/images/mlflow" / version
    locked = tomllib.loads((folder / "uv.lock").read_text())["package"]
    assert {package["version"] for package in locked if package["name"] == "mlflow"} == {version}
    extras = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) == set(EXTRAS)


def test_the_operator_uses_no_class_that_the_image_leaves_out() -> None:
    generated = re.compile(r"(V\d\w*|\w+Api)$")
    used = [name for file in sorted((ROOT / "operator").rglob("*.py")) for name in _kubernetes_names(file)]
    assert [name for name in used if generated.search(name) or ".models" in name or ".api." in name] == []


def _kubernetes_names(file: Path) -> Iterator[str]:
    """The dotted names that a module imports from the Kubernetes client."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kubernetes":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "kubernetes")
