"""Which engine a machine gets, what it is told, and what people see meanwhile."""

import os
import shutil
from pathlib import Path

import pytest

from dev.images import engines
from dev.images.engines import Buildah, Docker, Order, engine
from dev.images.failures import ImageError
from dev.images.recipes import Recipe

ROOT_USER, SOMEBODY = 0, 1000


def test_a_docker_engine_that_answers_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, user=SOMEBODY, programs={"docker"}, docker_answers=True)
    assert isinstance(engine(), Docker)


def test_a_docker_client_without_an_engine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, user=ROOT_USER, programs={"docker", "buildah", "debootstrap"})
    assert isinstance(engine(), Buildah)


def test_somebody_without_docker_is_told_the_two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, user=SOMEBODY, programs={"buildah", "debootstrap"})
    with pytest.raises(ImageError, match="start Docker, or run this as root"):
        engine()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, user=ROOT_USER, programs=set())
    with pytest.raises(ImageError, match="buildah and debootstrap not installed"):
        engine()


def test_docker_gets_the_order_with_its_labels_and_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []
    archive = tmp_path / "image.tar"

    def record(words: list[str], log: Path, env: object = None) -> None:
        commands.append(words)
        (tmp_path / ".image.tar.writing").touch()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")
    monkeypatch.setattr(engines, "_run", record)
    recipe = Recipe("mlflow", "3.17.2", {"MLFLOW_VERSION": "3.17.2"})
    Docker().build(
        Order(recipe, "tracking-operator/mlflow:3.17.2", tmp_path, {"REVISION": "0123abc"}), archive
    )
    built, saved = commands
    assert {"--target=mlflow", "--build-arg=MLFLOW_VERSION=3.17.2", "--build-arg=REVISION=0123abc"} <= set(
        built
    )
    assert any(word.startswith("--secret=id=index,src=") for word in built)
    assert "packages.example" not in " ".join(built)
    assert saved[-1] == "tracking-operator/mlflow:3.17.2"
    assert archive.exists()


def test_only_steps_that_take_long_get_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "WORTH_A_LINE_SECONDS", 0.0)
    script = (
        "echo '[1/2] STEP 1/2: FROM base'; echo noise; echo 'STEP 2/2: RUN --mount=type=secret,id=index make'"
    )
    engines._run(["sh", "-c", script], tmp_path / "log")
    assert "noise" in (tmp_path / "log").read_text()
    shown = capsys.readouterr().err
    assert [line.split(":")[0].strip() for line in shown.splitlines()] == ["FROM base", "RUN make"]


def test_a_failed_build_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"ended with code 3(.|\n)*no space left"):
        engines._run(["sh", "-c", "echo no space left; exit 3"], tmp_path / "log")


def _machine(
    monkeypatch: pytest.MonkeyPatch, user: int, programs: set[str], docker_answers: bool = False
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in programs else None)
    monkeypatch.setattr(engines, "_succeeds", lambda *words: docker_answers)
