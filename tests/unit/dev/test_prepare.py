"""What is missing is installed by root on Debian; anybody else gets one sentence."""

import os
import shutil
from pathlib import Path

import pytest

from dev import prepare


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(prepare, "install", done.extend)
    monkeypatch.setattr(prepare, "docker_engine_answers", lambda: False)
    return done


def has(monkeypatch: pytest.MonkeyPatch, *, signs: bool, apt: bool = True, user: int = 0) -> None:
    monkeypatch.setattr(prepare, "is_there", lambda sign: signs or sign in {"git"})
    monkeypatch.setattr(
        shutil, "which", lambda name: "/usr/bin/apt-get" if apt and name == "apt-get" else None
    )
    monkeypatch.setattr(os, "geteuid", lambda: user)


def test_nothing_is_installed_when_all_is_there(
    monkeypatch: pytest.MonkeyPatch, installed: list[str]
) -> None:
    has(monkeypatch, signs=True)
    prepare.bring_packages(["python", "cluster", "images"])
    assert installed == []


def test_root_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch, installed: list[str]) -> None:
    has(monkeypatch, signs=False)
    prepare.bring_packages(["python", "cluster"])
    assert "containerd" in installed
    assert "git" not in installed
    assert "buildah" not in installed


@pytest.mark.parametrize(
    ("apt", "user", "sentence"), [(True, 1000, "sudo apt-get install"), (False, 0, "Please install")]
)
def test_others_are_told(
    monkeypatch: pytest.MonkeyPatch, installed: list[str], apt: bool, user: int, sentence: str
) -> None:
    has(monkeypatch, signs=False, apt=apt, user=user)
    with pytest.raises(prepare.MissingError, match=sentence):
        prepare.bring_packages(["cluster"])
    assert installed == []


def test_a_docker_engine_makes_the_cluster_packages_needless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "docker_engine_answers", lambda: True)
    monkeypatch.setattr(prepare, "is_there", lambda _: False)
    assert set(prepare.missing_packages(["python", "cluster", "images"])) == {"ca-certificates", "git"}


def test_a_sign_is_a_program_or_a_file(tmp_path: Path) -> None:
    assert prepare.is_there("sh")
    assert not prepare.is_there("no-such-program")
    assert prepare.is_there(str(tmp_path))
    assert prepare.is_there(f"{tmp_path.parent}/*")
    assert not prepare.is_there(str(tmp_path / "nothing"))
