"""`make help` tells of every target, and `make test` runs every part."""

import re
import subprocess
from pathlib import Path

from dev.images.recipes import mlflow_versions
from dev.postgres import VERSIONS

ROOT = Path(__file__).parents[3]
INTERNAL = {
    "prepare",
    "prepare-cluster",
    "prepare-demo",
    "prepare-e2e",
    "prepare-images",
    "prepare-shells",
    "prepare-stores",
    "has-python",
}


def declared_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return {name for line in re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE) for name in line.split()}


def test_help_names_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  ([a-z0-9-]+) ", shown, re.MULTILINE)) == declared_targets() - INTERNAL


def planned(*targets: str) -> str:
    command = ["make", "--dry-run", *targets]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout


def test_make_test_runs_every_part() -> None:
    (called,) = re.findall(r"^make -j3 (.+)$", planned("test"), re.MULTILINE)
    commands = planned(*called.split())
    for part in ("ruff check", "mypy", "--check", "tests/unit", "tests/stores", "tests/cluster", "tests/e2e"):
        assert part in commands


def test_make_matrix_names_every_postgresql() -> None:
    assert f'TRACKING_OPERATOR_TEST_POSTGRES="{" ".join(VERSIONS)}"' in planned("matrix")


def test_make_matrix_runs_every_release_of_mlflow_but_the_newest() -> None:
    assert f"for version in {' '.join(mlflow_versions()[:-1])}; do" in planned("matrix")


def test_make_bench_measures_what_is_named_after_it() -> None:
    assert "python -m bench scale idle --write" in planned("bench", "scale", "idle")
    assert "--write" not in planned("bench")
