"""Built things get into the cache whole, once, and under a key that names all that went into them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.local_cluster.cache import built_once, cache_folder, digest_of, locked
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_cache_is_where_xdg_says(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "tracking-operator"


def test_a_second_call_does_not_build_again() -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "program").write_text("1")

    first = built_once("thing", "1.0-abc", build)
    assert (built_once("thing", "1.0-abc", build) / "program").read_text() == "1"
    assert len(built) == 1
    assert built_once("thing", "1.1-abc", build) != first


def test_who_waits_for_a_build_is_told_for_what_and_how_long_it_took_last_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    built_once("thing", "1.0-abc", lambda folder: None)
    held = cache_folder() / "thing" / "1.1-abc.lock"
    with ThreadPoolExecutor() as others:
        with locked(held):
            waits = others.submit(built_once, "thing", "1.1-abc", lambda folder: None)
            wait_until(lambda: "wait for thing" in capsys.readouterr().err, 10, "the second one says so")
            assert not waits.done()
        assert waits.result().is_dir()


def test_the_last_time_is_said_when_a_build_begins(capsys: pytest.CaptureFixture[str]) -> None:
    built_once("thing", "1.0-abc", lambda folder: None)
    built_once("thing", "1.1-abc", lambda folder: None)
    assert "build thing 1.1-abc; took 0 s last time" in capsys.readouterr().err
    built_once("etcd", "1", lambda folder: None)
    assert "build etcd 1; takes about 20 s on two processors" in capsys.readouterr().err


def test_a_failed_build_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        built_once("thing", "1.0-abc", fail)
    assert [path for path in (cache_folder() / "thing").iterdir() if path.is_dir()] == []


def test_the_digest_follows_texts_names_and_contents(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.go").write_text("package main")
    digests = {digest_of(["flags"], source), digest_of(["other flags"], source)}
    (source / "main.go").write_text("package other")
    digests.add(digest_of(["flags"], source))
    (source / "main.go").rename(source / "second.go")
    digests.add(digest_of(["flags"], source))
    assert len(digests) == 4
