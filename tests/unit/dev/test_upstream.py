"""`make check-upstream` says what is newer than what is pinned; programs that stand for uv, npm and go give the answers."""

import json
from pathlib import Path

import pytest

from dev import upstream
from dev.images.recipes import ROOT, mlflow_versions
from dev.local_cluster.versions import pinned
from dev.postgres import VERSIONS
from dev.upstream import ALL_NEWEST, NOT_ANSWERED, SOMETHING_NEWER, main

MLFLOW = mlflow_versions()[-1]


class Indexes:
    """What the indexes have; ``are_down`` names the programs that reach none."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.python = {
            "mlflow": MLFLOW,
            "kopf": upstream._locked("kopf"),
            "kubernetes": upstream._locked("kubernetes"),
        }
        self.postgres = [pinned(f"postgres-{version}") for version in VERSIONS]
        self.kubernetes = [pinned("kubernetes")]
        self.are_down: set[str] = set()
        monkeypatch.setenv("UV", str(folder / "uv"))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr(upstream, "go_command", lambda: str(folder / "go"))

    def answer(self) -> None:
        """Write the programs."""
        cases = "".join(
            f"{name}|{name}[=\\<\\>]*) echo {name}=={version};;" for name, version in self.python.items()
        )
        self._write("uv", f'read -r asked; case "$asked" in {cases} *) exit 1;; esac', failure=2)
        self._write("npm", f"echo '{json.dumps(self.postgres)}'", failure=1)
        self._write(
            "go", f"echo k8s.io/kubernetes {' '.join('v' + one for one in self.kubernetes)}", failure=1
        )

    def _write(self, name: str, line: str, failure: int) -> None:
        program = self.folder / name
        ending = f"echo no route to host >&2; exit {failure}" if name in self.are_down else line
        program.write_text(f"#!/bin/sh\n{ending}\n")
        program.chmod(0o755)


@pytest.fixture
def indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Indexes:
    return Indexes(tmp_path, monkeypatch)


def told(indexes: Indexes, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code, and what is said."""
    indexes.answer()
    code = main()
    return code, capsys.readouterr().out.splitlines()


def test_where_nothing_is_newer_each_thing_is_the_newest(
    indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = told(indexes, capsys)
    assert code == ALL_NEWEST
    assert all(line.endswith("is the newest") for line in lines)
    for name in ("MLflow", "kopf", "kubernetes", *(f"PostgreSQL {one}" for one in VERSIONS), "Kubernetes"):
        assert any(line.startswith(f"{name} ") for line in lines), name


def test_a_newer_mlflow_leads_to_the_page_on_adding_one(
    indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    indexes.python["mlflow"] = "99.1.0"
    code, lines = told(indexes, capsys)
    assert code == SOMETHING_NEWER
    (line,) = [line for line in lines if "99.1.0 is there" in line]
    assert upstream.MLFLOW_PAGE in line
    assert (ROOT / upstream.MLFLOW_PAGE).is_file()


def test_a_part_that_was_left_out_is_told_once_it_is_published(
    indexes: Indexes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = tmp_path / "dev/images/mlflow" / MLFLOW
    lock.mkdir(parents=True)
    (lock / "pyproject.toml").write_text("override-dependencies = []")
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.setattr(upstream, "ROOT", tmp_path)
    assert told(indexes, capsys)[0] == ALL_NEWEST
    indexes.python["mlflow-skinny"] = MLFLOW
    code, lines = told(indexes, capsys)
    assert code == SOMETHING_NEWER
    assert any(line.startswith("mlflow-skinny") and "without override-dependencies" in line for line in lines)


def test_a_package_within_the_bounds_is_locked_anew_and_beyond_them_they_are_raised_first(
    indexes: Indexes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        upstream, "newest_python", lambda asked: "99.0.0" if asked in ("kopf", "mlflow") else "98.7.6"
    )
    code, lines = told(indexes, capsys)
    assert code == SOMETHING_NEWER
    first, second = [line for line in lines if line.startswith("kopf ")]
    assert "98.7.6 is there. `uv lock --upgrade-package kopf`" in first
    assert "99.0.0 is there. pyproject.toml permits kopf>=" in second


def test_a_fix_of_postgresql_and_another_one_are_two_things_to_do(
    indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = VERSIONS[-1]
    indexes.postgres += [f"{newest}.99.0-beta.2", f"{newest}.99.0-beta.10", f"{int(newest) + 1}.0.0-beta.1"]
    code, lines = told(indexes, capsys)
    assert code == SOMETHING_NEWER
    assert any(
        line.startswith(f"PostgreSQL {newest}") and f"{newest}.99.0-beta.10 is there" in line
        for line in lines
    )
    assert any(f"{int(newest) + 1}.0.0-beta.1 is there. A new one" in line for line in lines)


def test_a_fix_of_kubernetes_and_a_later_minor_version_are_two_things_to_do_and_a_beta_none(
    indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    minor = pinned("kubernetes").rpartition(".")[0]
    indexes.kubernetes += [f"{minor}.99", "1.99.3", "1.100.0-beta.0"]
    code, lines = told(indexes, capsys)
    assert code == SOMETHING_NEWER
    found = [line for line in lines if line.startswith("Kubernetes")]
    assert [
        one for line in found for one in (f"{minor}.99", "1.99.3", "1.100.0") if f"{one} is there" in line
    ] == [
        f"{minor}.99",
        "1.99.3",
    ]


@pytest.mark.parametrize("program", ["uv", "npm", "go"])
def test_an_index_that_does_not_answer_is_told_and_the_others_are_asked(
    indexes: Indexes, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    indexes.are_down = {program}
    indexes.kubernetes += ["1.99.3"]
    code, lines = told(indexes, capsys)
    assert code == NOT_ANSWERED
    assert any(f"unknown: {program} reaches no" in line for line in lines)
    assert any(line.endswith("is the newest") for line in lines)
    assert lines[-1].startswith("Not every index answered.")
