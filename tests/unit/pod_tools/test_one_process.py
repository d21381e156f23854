"""Which of MLflow's processes becomes the one that serves."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from tests.pod_programs import ARCHIVE
from tracking_operator.pod_tools.one_process import become_uvicorn

AS_MLFLOW = """
import os, subprocess, sys
from types import SimpleNamespace
from tracking_operator.pod_tools.one_process import become_uvicorn

def execute(cmd, *, extra_env=None, **options):
    return subprocess.run(cmd, env=os.environ | (extra_env or {}))

process = SimpleNamespace(_exec_cmd=execute)
become_uvicorn(process)
print(os.getpid(), flush=True)
process._exec_cmd([sys.executable, "-m", sys.argv[1]], extra_env={"SAID": "by the first"}, synchronous=False)
print("the first goes on")
"""
SERVER = "import os; print(os.getpid(), os.environ['SAID'])"


@pytest.mark.parametrize(
    ("module", "jobs", "becomes"),
    [
        ("uvicorn", "false", True),
        ("uvicorn", "true", False),
        ("uvicorn", "", False),
        ("gunicorn", "false", False),
    ],
)
def test_the_first_process_becomes_uvicorn_where_it_has_nothing_else_to_do(
    tmp_path: Path, module: str, jobs: str, *, becomes: bool
) -> None:
    (tmp_path / f"{module}.py").write_text(SERVER)
    said = subprocess.run(
        [sys.executable, "-c", AS_MLFLOW, module],
        env={"PYTHONPATH": f"{tmp_path}:{ARCHIVE}", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": jobs},
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.splitlines()  # fmt: skip
    first, (serving, _, words) = said[0], said[1].partition(" ")
    assert words == "by the first"
    assert (serving == first, said[2:] == []) == (becomes, becomes)


def test_a_release_that_starts_it_by_other_means_is_left_as_it_is() -> None:
    other = SimpleNamespace(run=print)
    become_uvicorn(cast("ModuleType", other))
    assert vars(other) == {"run": print}
