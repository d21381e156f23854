"""How the demo knows the process that forwards its port."""

import fcntl
from pathlib import Path

import pytest

from dev.demo import forwarding

NAME = "scratch"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(forwarding, "FOLDER", tmp_path)
    return tmp_path


def test_nobody_forwards_where_nobody_has_begun() -> None:
    assert forwarding.running_process(NAME) is None


def test_the_file_of_a_process_that_has_ended_means_nothing(folder: Path) -> None:
    (folder / "forwarding-scratch.pid").write_text("1")
    assert forwarding.running_process(NAME) is None


def test_whoever_holds_the_lock_is_the_process(folder: Path) -> None:
    with (folder / "forwarding-scratch.pid").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        assert forwarding.running_process(NAME) == 4711
    assert forwarding.running_process(NAME) is None


def test_ending_what_does_not_run_ends_no_other_process(folder: Path) -> None:
    (folder / "forwarding-scratch.pid").write_text("1")
    forwarding.stop_forwarding(NAME)
    assert list(folder.iterdir()) == []
