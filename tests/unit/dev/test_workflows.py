"""The workflows of .github: zizmor finds nothing unsafe, actions are pinned, and only what publishes has rights."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.images.recipes import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
READ = {"contents": "read"}


def zizmor(place: Path) -> "subprocess.CompletedProcess[str]":
    """What it says without asking anybody."""
    program = str(Path(sys.executable).with_name("zizmor"))
    command = [program, "--offline", "--pedantic", "--no-progress", "--color=never", str(place)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing() -> None:
    said = zizmor(ROOT / ".github" / "workflows")
    assert said.returncode == 0, said.stdout


def test_zizmor_would_find_an_action_that_is_not_pinned(tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    file.write_text(re.sub(r"(checkout)@\S+ # \S+", r"\1@main", (WORKFLOWS[-1]).read_text()))
    assert "unpinned-uses" in zizmor(file).stdout


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_each_action_is_a_commit_with_its_version_beside_it(file: Path) -> None:
    uses = re.findall(r"uses: (.+)", file.read_text())
    assert uses
    for one in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_only_the_job_that_publishes_may_write_and_it_builds_nothing(file: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        if name == "publish":
            assert "make" not in " ".join(step.get("run", "") for step in job["steps"]).split()
        else:
            assert job["permissions"] == READ


def test_workflows_run_what_make_has() -> None:
    called = {
        word
        for file in WORKFLOWS
        for line in re.findall(r"(?:run: |^\s+)make ([^\\\n]+)", file.read_text(), re.MULTILINE)
        for word in line.split()
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert called >= {"audit", "lint", "release", "test-unit"}
    assert called <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
