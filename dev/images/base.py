"""A minimal Debian made on this machine, under the name of the published one that the Dockerfile starts from."""

import os
import shutil
import subprocess
from pathlib import Path

from dev.images.failures import ImageError
from dev.images.machine import debian_sources

SUITE = "bookworm"
NOT_IN_AN_IMAGE = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
)
LEFT_BY_APT = ("var/cache/apt", "var/lib/apt/lists", "var/log")
LAST_LINES = 20


def base_name(suite: str = SUITE) -> str:
    """The name in the Dockerfile's first line."""
    return f"docker.io/library/debian:{suite}-slim"


def make_root_folder(suite: str, root: Path, log: Path) -> None:
    """Fill `root` with a minimal Debian, with its security fixes where this machine's apt has their source.

    Raises:
        ImageError: debootstrap or apt-get did not succeed.
    """
    sources = debian_sources(suite)
    mirror = [sources[0].split()[1]] if sources else []
    log.write_text("")
    _run(["debootstrap", "--variant=minbase", suite, str(root), *mirror], log)
    if sources:
        (root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(
        "".join(f"path-exclude=/{folder}/*\n" for folder in NOT_IN_AN_IMAGE)
    )
    (root / "etc/apt/apt.conf.d/slim").write_text('APT::Install-Recommends "false";\n')
    _run(["chroot", str(root), "apt-get", "update"], log)
    _run(["chroot", str(root), "apt-get", "upgrade", "--yes"], log)
    _leave_out(root, (*NOT_IN_AN_IMAGE, *LEFT_BY_APT))


def _leave_out(root: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        for entry in (root / folder).iterdir() if (root / folder).is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _run(words: list[str], log: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    with log.open("a") as file:
        code = subprocess.run(
            words, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
        ).returncode
    if code != 0:
        last = "\n".join(log.read_text().splitlines()[-LAST_LINES:])
        raise ImageError(f"`{' '.join(words)}` ended with code {code}; all it said is in {log}:\n{last}")
