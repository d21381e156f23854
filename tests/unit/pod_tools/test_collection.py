"""How often processes of MLflow look for garbage, in a process of its own that has the first lines of a server."""

import os
import subprocess
import sys
from pathlib import Path

from tests.pod_programs import ARCHIVE
from tracking_operator.pod_tools.start_server import FIRST_LINES

TELL = """
import gc
from types import SimpleNamespace
from tracking_operator.pod_tools import served_application

class Config:
    timeout_worker_healthcheck = 5
    loaded_app = None

    def load(self):
        print("loading", gc.get_threshold()[0])

usual = gc.get_threshold()[0]
import sitecustomize

uvicorn = SimpleNamespace(Config=Config)
served_application.serve_changed(uvicorn)
Config().load()
print("serving", gc.get_threshold()[0] == usual, gc.get_freeze_count() > 1000)
"""


def test_a_server_looks_for_garbage_seldom_while_it_loads_and_as_python_does_while_it_serves(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FIRST_LINES)
    said = subprocess.run(
        [sys.executable, "-S", "-c", TELL],
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ARCHIVE)])},
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert said.splitlines() == ["loading 100000", "serving True True"]
