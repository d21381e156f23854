"""Where built things are kept between runs, and how they get there whole or not at all."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.local_cluster.progress import say, step

LAST_TIME = "last-build-seconds"
USUAL_SECONDS = {
    "kubernetes": 240,
    "etcd": 20,
    "coredns": 90,
    "kube-router": 80,
    "traefik": 250,
    "versitygw": 45,
    "helm": 250,
    "helm-3": 200,
    "promtool": 105,
    "cosign": 150,
    "krew": 20,
    "validate-krew-manifest": 10,
    "kubeconform": 10,
    "kubernetes-schemas": 10,
    "argocd": 400,
    "flux-health": 120,
}


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/tracking-operator`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tracking-operator"


def digest_of(texts: Iterable[str], folder: Path | None = None) -> str:
    """Twelve hex digits over `texts` and the names and contents of the files below `folder`."""
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(text.encode() + b"\0")
    for file in sorted(folder.rglob("*")) if folder else []:
        if file.is_file():
            hashed.update(str(file.relative_to(folder or file)).encode() + b"\0" + file.read_bytes())
    return hashed.hexdigest()[:12]


def built_once(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The cached folder `name/key`, made by `build(folder)` if it is not there.

    A build that fails or is interrupted leaves nothing behind; two processes never build the same thing at once: who comes
    second waits, and is told for what.
    """
    home = cache_folder() / name
    target = home / key
    if target.is_dir():
        return target
    home.mkdir(parents=True, exist_ok=True)
    with locked(
        home / f"{key}.lock", on_wait=lambda: say(f"wait for {name}, which is being built{_last_time(name)}")
    ):
        if not target.is_dir():
            say(f"build {name} {key}{_last_time(name)}")
            started = time.monotonic()
            with step(f"built {name} {key}"):
                _build_aside(target, build)
            (home / LAST_TIME).write_text(f"{time.monotonic() - started:.0f}")
    return target


def is_built(name: str, key: str) -> bool:
    """Whether `built_once` would find `name/key` in the cache."""
    return (cache_folder() / name / key).is_dir()


@contextmanager
def locked(file: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on `file` between processes; the kernel lets go of it when the holder dies.

    `on_wait` is called when another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _last_time(name: str) -> str:
    """How long the last build of it took: on this machine, else on two processors that had nothing else to do."""
    file = cache_folder() / name / LAST_TIME
    if file.is_file():
        return f"; took {file.read_text()} s last time"
    known = USUAL_SECONDS.get(name)
    return f"; takes about {known} s on two processors" if known else ""


def _build_aside(target: Path, build: Callable[[Path], None]) -> None:
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building-"))
    try:
        build(aside)
        aside.chmod(0o755)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
