"""The version: pyproject.toml has it, and everything else that names it agrees.

Versions are those of https://semver.org that Python can read as well: wheels have them, too.
"""

import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml
from packaging.version import InvalidVersion, Version

from dev.release import OPERATOR_IMAGE, ReleaseError

DEPLOYMENT: Final = "manifests/base/deployment.yaml"
CHART: Final = "charts/tracking-operator"
SEMVER: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?"
)
"""Without build metadata: a `+` is no part of an image's tag."""


def checked_version(text: str) -> str:
    """The version, if it is one. Raises ReleaseError: it is none."""
    if not SEMVER.fullmatch(text):
        raise ReleaseError(
            f"{text or 'An empty text'} is no version: write MAJOR.MINOR.PATCH as https://semver.org has it, for example VERSION=1.2.3, "
            "without a v in front and without +metadata."
        )
    try:
        Version(text)
    except InvalidVersion as error:
        raise ReleaseError(
            f"{text} is a version that Python cannot read: write releases before {text.partition('-')[0]} with -a.1, -b.1 or -rc.1."
        ) from error
    return text


def version_of(root: Path) -> str:
    """The version of pyproject.toml."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def named_versions(root: Path) -> Mapping[str, str]:
    """The version as each file names it, by where it stands."""
    locked = next(
        one
        for one in tomllib.loads((root / "uv.lock").read_text())["package"]
        if one["name"] == "tracking-operator"
    )
    chart = yaml.safe_load((root / CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((root / CHART / "values.yaml").read_text())
    deployment = yaml.safe_load((root / DEPLOYMENT).read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {
        "pyproject.toml": version_of(root),
        "uv.lock": str(locked["version"]),
        f"{CHART}/Chart.yaml, version": str(chart["version"]),
        f"{CHART}/Chart.yaml, appVersion": str(chart["appVersion"]),
        f"{CHART}/values.yaml, image.tag": str(values["image"]["tag"]),
        f"{DEPLOYMENT}, image": container["image"].removeprefix(f"{OPERATOR_IMAGE}:"),
    }


def check_versions(version: str, root: Path) -> None:
    """Raises ReleaseError where a file names another version, in the form that its reader has for it."""
    others = [
        f"{where} says {named}"
        for where, named in named_versions(root).items()
        if Version(named) != Version(version)
    ]
    if others:
        raise ReleaseError(
            f"{version} cannot be released: {'; '.join(others)}. `make next-version VERSION={version}` changes all of them."
        )


def check_tree(root: Path) -> None:
    """Raises ReleaseError where the files are not those of a commit."""
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""  # noqa: PLR2004
        raise ReleaseError(
            f"Nothing is released: {names}{more} changed since the last commit, and a release is made of a commit. "
            "Commit or remove that first."
        )


def source_date_epoch(root: Path) -> int:
    """Seconds since 1970 that stand for the time of a release: those of the commit, or what SOURCE_DATE_EPOCH says.

    The variable is https://reproducible-builds.org/specs/source-date-epoch/.
    """
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct"))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(
            f"Nothing is released: {root} is no Git repository with a commit ({done.stderr.strip()})."
        )
    return done.stdout.rstrip("\n")
