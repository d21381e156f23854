"""`make plugin`: the plugin of kubectl as one file that needs nothing but Python, and its manifest for krew.

Wheels of one release hold the same Python for every machine. Only compiled modules differ, and their names say for which
machine and Python each is (PEP 3149), so that one folder can have all of them. What is compiled for speed alone is left out:
its libraries go on without. shiv packs the folder; the file unpacks itself into ~/.shiv when it is first run.
"""

import argparse
import hashlib
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from dev.images.recipes import ROOT
from dev.packing import Entry, tar_gz
from dev.uv import uv_program

NAME: Final = "kubectl-tracking"
ENTRY_POINT: Final = "tracking_operator.cli.kubectl_program:main"
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = {
    ("linux", "amd64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("darwin", "arm64"): "aarch64-apple-darwin",
}
"""By the words of krew, those of uv. A Mac with an Intel processor would need a file of the same name as one with Apple's."""
LEFT_OUT: Final = ("kopf", "prometheus-client", "psycopg2-binary")
"""What only the operator and pods need."""
UNREAD_DATA: Final = ("boto3/data", "botocore/data")
"""What the library needs to make a request: here it is imported only, with the attempts that pods make."""
COMPILED: Final = "pydantic_core"
"""The only library that has no Python in the place of what it has compiled."""
OF_THE_INSTALLATION: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
"""What says where and how a package was installed, and is another thing on each machine."""
DROP_UNUSED: Final = ROOT / "dev" / "images" / "builder" / "drop-unused"
LICENSE: Final = ROOT / "LICENSE"
DIST: Final = ROOT / "dist"

KREW_API: Final = "krew.googlecontainertools.github.com/v1alpha2"
DESCRIPTION: Final = """\
Looks after MLflow tracking servers that tracking-operator runs: how a server
is and what it waits for, opening it without an Ingress, its logs, new
credentials, sleep, and upgrades.
"""
CAVEATS: Final = """\
Needs python3, 3.11 to 3.14, in the PATH. tracking-operator runs in the
cluster; its documentation says how it is installed.
"""

PREAMBLE: Final = f"""\
import importlib.util
import platform
import sys

try:
    fits = sys.version_info >= (3, 11) and importlib.util.find_spec("{COMPILED}._{COMPILED}")
except ImportError:
    fits = None
if not fits:
    sys.exit(
        "kubectl tracking runs with Python {PYTHONS[0]} to {PYTHONS[-1]} on Linux (x86-64, ARM64; glibc 2.28 or newer) and on Macs with an "
        "Apple processor. This is Python {{}} on {{}} {{}}: put another python3 into the PATH.".format(
            platform.python_version(), platform.system(), platform.machine()
        )
    )
"""
"""What runs first, on whatever Python there is."""


@dataclass(frozen=True)
class Target:
    """A Python on a kind of machine, in uv's words."""

    python: str
    platform: str


ALL_TARGETS: Final = tuple(Target(python, platform) for platform in PLATFORMS.values() for python in PYTHONS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the file, its archive and its manifest, and say where they are."""
    parser = argparse.ArgumentParser(description="Build the plugin of kubectl and its manifest for krew.")
    parser.add_argument("--output", type=Path, default=DIST, help="the folder (default: dist)")
    parser.add_argument(
        "--release-url",
        default="",
        metavar="URL",
        help="where the archive will be downloaded from; without it there is no manifest",
    )
    parser.add_argument("--homepage", default="", metavar="URL", help="of the project, for the manifest")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    program = build(options.output / NAME, ALL_TARGETS)
    archive = pack(program, options.output / f"{NAME}-{version()}.tar.gz")
    built = [program, archive]
    if options.release_url:
        manifest = krew_manifest(archive, options.release_url, options.homepage or options.release_url)
        built.append(options.output / "tracking.yaml")
        built[-1].write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    for path in built:
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
    return 0


def version() -> str:
    """The project's version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def build(file: Path, targets: Sequence[Target]) -> Path:
    """Build the program for these targets; the same sources and lock give the same bytes."""
    with TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        packages = environment / "lib" / "python3.x" / "site-packages"
        _install(packages, targets, Path(folder) / "requirements.txt")
        subprocess.run([DROP_UNUSED, environment], check=True)
        _drop_what_differs(packages)
        preamble = Path(folder) / "preamble.py"
        preamble.write_text(PREAMBLE, encoding="utf-8")
        preamble.chmod(0o644)
        _run(
            [
                *(sys.executable, "-m", "shiv", "--reproducible", "--python", "/usr/bin/env python3"),
                *("--site-packages", packages, "--preamble", preamble, "--entry-point", ENTRY_POINT),
                *("--output-file", file),
            ]
        )
    return file


def pack(program: Path, archive: Path) -> Path:
    """Pack the program and the licence as krew unpacks them; the same program gives the same bytes."""
    files = (Entry(NAME, program.read_bytes(), 0o755), Entry("LICENSE", LICENSE.read_bytes()))
    archive.write_bytes(tar_gz(files))
    return archive


def krew_manifest(archive: Path, url: str, homepage: str) -> dict[str, Any]:
    """What krew reads of a plugin (https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/)."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return {
        "apiVersion": KREW_API,
        "kind": "Plugin",
        "metadata": {"name": "tracking"},
        "spec": {
            "version": f"v{version()}",
            "homepage": homepage,
            "shortDescription": "Look after MLflow tracking servers",
            "description": DESCRIPTION,
            "caveats": CAVEATS,
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": system, "arch": processor}},
                    "uri": url,
                    "sha256": digest,
                    "bin": NAME,
                }
                for system, processor in PLATFORMS
            ],
        },
    }


def _install(packages: Path, targets: Sequence[Target], requirements: Path) -> None:
    """Put what the lock names, for all targets, and this project into one folder."""
    pruned = [word for name in LEFT_OUT for word in ("--prune", name)]
    _uv("export", "--frozen", "--no-dev", "--no-emit-project", *pruned, "--output-file", requirements)
    _install_for(targets[0], packages, requirements)
    compiled = requirements.with_name("compiled.txt")
    compiled.write_text(requirement(requirements.read_text(encoding="utf-8"), COMPILED), encoding="utf-8")
    for target in targets[1:]:
        with TemporaryDirectory(dir=requirements.parent) as folder:
            _install_for(target, Path(folder), compiled)
            shutil.copytree(folder, packages, dirs_exist_ok=True)
    _uv("pip", "install", "--target", packages, "--no-deps", ROOT)


def _install_for(target: Target, packages: Path, requirements: Path) -> None:
    _uv(
        *("pip", "install", "--target", packages, "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--requirement", requirements),
        *("--python-version", target.python, "--python-platform", target.platform),
    )


def requirement(requirements: str, library: str) -> str:
    """The lines about one library: its name, and below it its hashes."""
    name = library.replace("_", "-")
    (found,) = re.findall(rf"^{name}==.*\n(?:[ ].*\n)*", requirements, re.MULTILINE)
    return str(found)


def _drop_what_differs(packages: Path) -> None:
    """Remove what is not to be packed: programs, notes of the installation, and compiled modules that nobody needs.

    What stays gets the same permissions everywhere.
    """
    for folder in ("bin", *UNREAD_DATA):
        shutil.rmtree(packages / folder, ignore_errors=True)
    for path in sorted(packages.rglob("*")):
        is_of_the_installation = path.name in OF_THE_INSTALLATION and path.parent.suffix == ".dist-info"
        is_for_speed = path.suffix == ".so" and COMPILED not in path.parts
        if is_of_the_installation or is_for_speed:
            path.unlink()
        elif path.is_file():
            # The packed file has the permissions, too, which follow from the umask of whoever builds it.
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _uv(*arguments: str | Path) -> None:
    _run([uv_program(), "--quiet", *arguments])


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
