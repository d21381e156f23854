"""The archive with the programs of pods: the same bytes for the same sources, and any Python runs it as it is."""

import ast
import base64
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tracking_operator.pod_tools.programs import PROGRAMS
from tracking_operator.resources.tools_archive import (
    archive_of,
    build_tools_config_map,
    current_archive,
    is_tools_name,
    own_sources,
)

OLDEST_PYTHON = (3, 10)
"""Of the images with the oldest MLflow that the operator knows."""
SOURCES = {"__main__.py": b"print(__file__)\n", "package/module.py": b"x = 1\n" * 1000}


def test_the_same_sources_are_the_same_bytes_in_whatever_order_and_whenever() -> None:
    turned = dict(reversed(SOURCES.items()))
    assert archive_of(SOURCES) == archive_of(turned)
    entries = zipfile.ZipFile(io.BytesIO(archive_of(SOURCES).content)).infolist()
    assert [one.filename for one in entries] == sorted(SOURCES)
    assert {(one.date_time, one.create_system, one.extra) for one in entries} == {
        ((1980, 1, 1, 0, 0, 0), 3, b"")
    }


def test_other_sources_have_another_name() -> None:
    one, other = archive_of(SOURCES), archive_of(SOURCES | {"more.py": b""})
    assert one.name != other.name
    assert is_tools_name(one.name)
    assert len(one.name) <= 63


@pytest.mark.parametrize(
    "name", ["mlflow-check", "tracking-operator-tools-", "tracking-operator-tools-client"]
)
def test_a_name_without_a_digest_is_none_of_an_archive(name: str) -> None:
    assert not is_tools_name(name)


def test_the_config_map_is_immutable_and_belongs_to_nobody() -> None:
    config_map = build_tools_config_map("team-a")
    assert config_map["immutable"] is True
    assert "ownerReferences" not in config_map["metadata"]
    (content,) = config_map["binaryData"].values()
    assert base64.b64decode(content) == current_archive().content


@pytest.mark.parametrize("path", sorted(own_sources()))
def test_the_oldest_python_reads_every_module(path: str) -> None:
    ast.parse(own_sources()[path], feature_version=OLDEST_PYTHON)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The archive in a folder that cannot be written to."""
    folder = tmp_path / "tools"
    folder.mkdir()
    file = folder / "tools.pyz"
    file.write_bytes(current_archive().content)
    folder.chmod(0o555)
    return file


@pytest.mark.parametrize("options", [["-I"], []], ids=["isolated", "plain"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_is_found_by_a_python_that_knows_nothing_of_the_operator(
    program: str, options: list[str], archive: Path
) -> None:
    # -S leaves the environment's packages out, and with them the operator's own.
    module = f"tracking_operator.pod_tools.{program.replace('-', '_')}"
    check = (
        f"import importlib, sys; sys.path.insert(0, {str(archive)!r}); "
        f"module = importlib.import_module({module!r}); print(callable(module.main), module.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", *options, "-c", check],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    assert done.stdout.split() == ["True", f"{archive}/{module.replace('.', '/')}.py"]
    assert sorted(archive.parent.iterdir()) == [archive], "nothing was written beside it"


def test_what_is_no_program_is_refused(archive: Path) -> None:
    command = [sys.executable, "-I", str(archive), "os"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "'os' is no program: name one of back-up" in done.stderr
