"""The two ways to build: a Docker engine, or buildah where there is none."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from dev.images.archive import write_oci_archive
from dev.images.base import SUITE, base_name, make_root_folder
from dev.images.failures import ImageError
from dev.images.machine import build_secrets
from dev.images.recipes import Recipe
from dev.local_cluster.cache import cache_folder, locked
from dev.local_cluster.progress import say, step

LAST_LINES = 25
WORTH_A_LINE_SECONDS = 0.5
STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP \d+/\d+: (?P<instruction>.*)")


@dataclass(frozen=True)
class Order:
    """What is to be built: a recipe, the image's name, the folder with the inputs, and arguments for its labels."""

    recipe: Recipe
    name: str
    context: Path
    labels: Mapping[str, str]


class Engine(Protocol):
    """What builds an image."""

    def build(self, order: Order, archive: Path) -> None:
        """Build an image into an archive; raises ImageError with the last lines of the log."""


def engine() -> Engine:
    """The engine that this machine has. Raises ImageError: it has none; the message says what would help."""
    if shutil.which("docker") and _succeeds("docker", "info"):
        return Docker()
    if os.geteuid() != 0:
        raise ImageError(
            "Images need a Docker engine or root: start Docker, or run this as root, which uses buildah."
        )
    missing = [program for program in ("buildah", "debootstrap") if shutil.which(program) is None]
    if missing:
        raise ImageError(
            f"There is no Docker engine, and {' and '.join(missing)} not installed: "
            "`make images` as root installs what is missing."
        )
    return Buildah()


class Docker:
    """`docker build` and `docker save`."""

    def build(self, order: Order, archive: Path) -> None:
        """Build with BuildKit, from the base image as it is published."""
        with build_secrets(cache_folder() / "build-secrets") as secrets:
            words = ["docker", "build", *_options(order, secrets)]
            with step(f"docker build {order.name}"):
                _run(words, log_of(order.recipe), {**os.environ, "DOCKER_BUILDKIT": "1"})
        aside = archive.with_name(f".{archive.name}.writing")
        with step(f"docker save {order.name}"):
            _run(["docker", "save", "--output", str(aside), order.name], log_of(order.recipe))
            aside.rename(archive)


class Buildah:
    """buildah as root, on a base that debootstrap makes; all its storage is in the cache folder."""

    def __init__(self, home: Path | None = None) -> None:
        self._home = home or cache_folder() / "buildah"

    def build(self, order: Order, archive: Path) -> None:
        """Build on the local base; layers that did not change are taken from the last build."""
        with locked(self._home / "lock"):
            (self._home / "tmp").mkdir(exist_ok=True)
            self._ensure_base()
            with step(f"build {order.name}"):
                self._build(order)
            with step(f"write {archive.name}"), TemporaryDirectory(dir=self._home / "tmp") as folder:
                self._run("push", "--quiet", "--disable-compression", order.name, f"dir:{folder}")
                write_oci_archive(Path(folder), order.name, archive)

    def clear(self) -> None:
        """Remove every layer and image of ours; nothing else on the machine is touched."""
        if (self._home / "storage").is_dir():
            self._run("rm", "--all")
            self._run("rmi", "--all", "--force")

    def _ensure_base(self) -> None:
        if _succeeds(*self._words("inspect", "--type", "image", base_name()), env=self._environment()):
            return
        with step(f"make {base_name()}"), TemporaryDirectory(dir=self._home / "tmp") as folder:
            make_root_folder(SUITE, Path(folder), self._home / "base.log")
            container = self._run("from", "scratch").strip()
            self._run("add", "--quiet", container, folder, "/")
            self._run("config", "--cmd", "bash", container)
            self._run("commit", "--quiet", "--rm", container, base_name())

    def _build(self, order: Order) -> None:
        with build_secrets(self._home / "tmp") as secrets:
            words = self._words(
                *("bud", "--isolation", "chroot", "--pull-never", "--network", "host", "--layers"),
                *("--format", "oci", "--build-arg", f"BASE={base_name()}"),
                *_options(order, secrets),
            )
            _run(words, log_of(order.recipe), self._environment())

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            self._words(*arguments), env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ImageError(
                f"`buildah {' '.join(arguments)}` ended with code {done.returncode}:\n{done.stderr}"
            )
        return done.stdout

    def _words(self, *arguments: str) -> list[str]:
        storage = ["--root", f"{self._home}/storage", "--runroot", f"{self._home}/run"]
        return ["buildah", *storage, "--storage-driver", self._driver(), *arguments]

    def _driver(self) -> str:
        """Overlay, unless the cache folder itself lies on one: the kernel stacks no overlay on an overlay."""
        kind = subprocess.run(
            ["stat", "--file-system", "--format=%T", str(self._home)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        return "vfs" if kind == "overlayfs" else "overlay"

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self._home / "tmp")}


def log_of(recipe: Recipe) -> Path:
    """Where the engine's own words about the last build of this target are."""
    return cache_folder() / "images" / f"{recipe.target}.log"


def _options(order: Order, secrets: Mapping[str, Path]) -> list[str]:
    arguments = {**order.recipe.arguments, **order.labels}
    return [
        f"--target={order.recipe.target}",
        f"--file={order.context / order.recipe.dockerfile}",
        f"--tag={order.name}",
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        *(f"--secret=id={name},src={file}" for name, file in secrets.items()),
        str(order.context),
    ]


def _run(words: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a build, its words into `log`, and one line of progress for every step that takes long."""
    with log.open("w") as file:
        running = subprocess.Popen(
            words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        clock = _StepClock()
        for line in running.stdout or ():
            file.write(line)
            clock.see(line)
        clock.finish()
    if running.wait() != 0:
        last = "\n".join(log.read_text().splitlines()[-LAST_LINES:])
        raise ImageError(
            f"`{words[0]}` ended with code {running.returncode}; all it said is in {log}:\n{last}"
        )


class _StepClock:
    """Turns buildah's lines into one line per step, with its seconds."""

    def __init__(self) -> None:
        self._instruction = ""
        self._started = time.monotonic()

    def see(self, line: str) -> None:
        if found := STEP.match(line):
            self.finish()
            self._instruction, self._started = found["instruction"], time.monotonic()

    def finish(self) -> None:
        seconds = time.monotonic() - self._started
        if self._instruction and seconds >= WORTH_A_LINE_SECONDS:
            say(f"  {_shortened(self._instruction)}: {seconds:.1f} s")
        self._instruction = ""


def _shortened(instruction: str, width: int = 80) -> str:
    words = " ".join(re.sub(r"--mount=\S+", "", instruction).split())
    return words if len(words) <= width else f"{words[: width - 1]}…"


def _succeeds(*words: str, env: Mapping[str, str] | None = None) -> bool:
    return subprocess.run(words, env=env, capture_output=True, check=False).returncode == 0
