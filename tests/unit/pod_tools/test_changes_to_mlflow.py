"""What runs first in MLflow's processes, and how the answers of its WSGI application are read."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextvars import ContextVar
from pathlib import Path

import pytest

from dev.mlflow_process import family
from tests.pod_programs import ARCHIVE
from tests.waiting import patient
from tracking_operator.pod_tools.changes_to_mlflow import WsgiAnswer
from tracking_operator.pod_tools.start_server import FIRST_LINES

HAS_RUN = "MLflow has run"
WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


@pytest.mark.parametrize("has_archive", [True, False])
def test_without_what_closes_local_routes_mlflow_does_not_start(tmp_path: Path, has_archive: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text(FIRST_LINES)
    found = [str(tmp_path), *([str(ARCHIVE)] if has_archive else [])]
    started = subprocess.run(
        [sys.executable, "-S", "-c", f"import sitecustomize; print('{HAS_RUN}')"],
        env={"PYTHONPATH": os.pathsep.join(found)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (started.returncode == 0, HAS_RUN in started.stdout) == (has_archive, has_archive)
    assert ("ModuleNotFoundError" in started.stderr) is not has_archive


UP = "up"
AS_THE_FIRST_PROCESS = ("unshare", "--pid", "--fork", "--kill-child")
"""Of a namespace of its own, as a container's."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make namespaces of processes")
def test_the_first_process_of_a_container_ends_when_it_is_told_to_while_it_starts(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FIRST_LINES)
    program = f"import sitecustomize, time; print('{UP}', flush=True); time.sleep(600)"
    with subprocess.Popen(
        [*AS_THE_FIRST_PROCESS, sys.executable, "-S", "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ARCHIVE)])},
        stdout=subprocess.PIPE, text=True,
    ) as namespace:  # fmt: skip
        try:
            assert namespace.stdout is not None
            assert namespace.stdout.readline().strip() == UP
            os.kill(family(namespace.pid)[1], signal.SIGTERM)
            assert namespace.wait(patient(20)) == 0
        finally:
            namespace.kill()


class Body:
    """A generator as Flask makes it: a variable is set while it runs."""

    is_closed = False

    def __init__(self) -> None:
        self._pieces = self._generate()

    def _generate(self) -> Iterator[bytes]:
        token = WHERE.set("inside")
        yield b"one"
        yield WHERE.get().encode()
        WHERE.reset(token)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self.is_closed = True


def test_an_answer_is_read_in_one_context_and_its_end_is_told() -> None:
    body = Body()
    said: list[str] = []

    def app(_: MutableMapping[str, object], start_response: Callable[..., object]) -> Body:
        start_response("200 OK")
        return body

    answer = WsgiAnswer(app, {}, said.append)
    assert said == ["200 OK"]
    assert [answer.piece(), answer.piece(), answer.piece()] == [b"one", b"inside", None]
    answer.close()
    assert (body.is_closed, WHERE.get()) == (True, "nowhere")
