"""`make help` tells of every target, and `make test` runs every part."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INTERNAL = {
    "prepare",
    "prepare-cluster",
    "prepare-demo",
    "prepare-e2e",
    "prepare-images",
    "prepare-stores",
    "has-python",
}


def declared_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return {name for line in re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE) for name in line.split()}


def test_help_names_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  ([a-z0-9-]+) ", shown, re.MULTILINE)) == declared_targets() - INTERNAL


@pytest.mark.parametrize(
    "part", ["ruff check", "mypy", "--check", "tests/unit", "tests/stores", "tests/cluster", "tests/e2e"]
)
def test_make_test_runs_every_part(part: str) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert part in planned.stdout
