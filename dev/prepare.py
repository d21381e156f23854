"""Make this machine ready: `python3 dev/prepare.py [cluster] [images] [stores] [postgres] [browser]`.

Runs before anything is installed, so it needs nothing but Python's standard library. It brings `uv` if there is
none, and the Debian packages that the named groups of `dev/versions.toml` need, when it runs as root on Debian;
otherwise it says in one sentence what is missing. When nothing is missing it does nothing and prints nothing.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCKER_REPLACES = {"cluster", "images"}
LOCK = ROOT / ".cache" / "prepare.lock"
OWN_UV = ROOT / ".cache" / "uv"
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class MissingError(Exception):
    """Something is missing that this script cannot bring; the message says what would help."""


def main(groups: list[str]) -> int:
    """Bring what the groups need; the exit code is 1 when something is missing and cannot be brought."""
    try:
        with one_at_a_time():
            bring_packages(["python", *groups])
            bring_uv()
    except MissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for those that prepare this machine at the same time, as `make` does with several groups of tests."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def bring_packages(groups: list[str]) -> None:
    """Install the Debian packages of `groups` that are not there."""
    if not (missing := missing_packages(groups)):
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise MissingError(f"Please install what Debian calls {names}: it is missing on this machine.")
    if os.geteuid() != 0:
        raise MissingError(
            f"Please run `sudo apt-get install {names}`, or run make as root and it does so itself."
        )
    install(missing)


def missing_packages(groups: list[str]) -> list[str]:
    """The packages of `groups` whose program or file is not on this machine."""
    all_groups = tomllib.loads((ROOT / "dev" / "versions.toml").read_text())["packages"]
    replaced = DOCKER_REPLACES if docker_engine_answers() else set()
    needed = [group for group in groups if group not in replaced]
    signs = {package: sign for group in needed for package, sign in all_groups[group].items()}
    return [package for package, sign in signs.items() if not is_there(sign)]


def is_there(sign: str) -> bool:
    """Whether a program, or a file if `sign` is a path, exists."""
    if sign.startswith("/"):
        return any(Path("/").glob(sign[1:]))
    return shutil.which(sign, path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}") is not None


def install(packages: list[str]) -> None:
    """Install Debian packages, saying so."""
    print(f"  install Debian packages: {' '.join(packages)}", file=sys.stderr, flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise MissingError(
                f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-2000:]}"
            )


def docker_engine_answers() -> bool:
    """Whether `docker` is installed and its engine runs."""
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


def bring_uv() -> None:
    """Install uv into `.cache/uv` if there is none."""
    if shutil.which("uv") or (OWN_UV / "bin" / "uv").exists():
        return
    print("  install uv into .cache/uv", file=sys.stderr, flush=True)
    try:
        venv.create(OWN_UV, with_pip=True, clear=True)
    except subprocess.CalledProcessError:  # Debian's python3 comes without ensurepip
        bring_ensurepip()
        venv.create(OWN_UV, with_pip=True, clear=True)
    pip = [
        str(OWN_UV / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "uv",
    ]
    if subprocess.run(pip, check=False).returncode != 0:
        raise MissingError("uv could not be installed from the package index; please install uv.")


def bring_ensurepip() -> None:
    """Install the Debian package with which virtual environments get their pip."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise MissingError(
            "Please install uv, or Debian's package python3-venv, with which make installs uv itself."
        )
    install(["python3-venv"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
