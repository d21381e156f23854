"""`python -m dev.upstream`: which releases are newer than what is pinned here, and what a person has to do for each.

Asks the indexes that uv, npm and go are configured for on this machine, changes nothing, and ends with
  0  all that is pinned is the newest
  3  an index did not answer, for example offline; what the others said is printed
  4  something is newer
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.images.recipes import ROOT, mlflow_versions
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.go import go_command
from dev.local_cluster.versions import pinned
from dev.postgres import VERSIONS as POSTGRES_VERSIONS
from dev.uv import uv_program

ALL_NEWEST, NOT_ANSWERED, SOMETHING_NEWER = 0, 3, 4
SECONDS_TO_ANSWER = 120
UV_FOUND_NOTHING = 1
"""uv ends with this when the index answered and has no such version, and with 2 when it did not answer."""

MLFLOW_PAGE = "docs/contributing/adding-an-mlflow-version.md"
DEVELOPERS_PAGE = "dev/README.md"


class NotAnsweredError(Exception):
    """An index could not be asked; the message says which and how."""


@dataclass(frozen=True)
class Finding:
    """What is newer of one thing: ``newest`` is empty if nothing is, and ``todo`` says what a person has to do."""

    name: str
    pinned: str
    newest: str = ""
    todo: str = ""

    def __str__(self) -> str:
        told = f"{self.newest} is there. {self.todo}" if self.newest else "is the newest"
        return f"{self.name:24} {self.pinned:18} {told}"


def mlflow() -> Iterator[Finding]:
    """MLflow, and the parts of it that its own lock may have had to do without."""
    ours = mlflow_versions()[-1]
    newest = newest_python("mlflow")
    yield _finding("MLflow", ours, newest, f"Offer it: {MLFLOW_PAGE}.")
    if "override-dependencies" not in (ROOT / "dev/images/mlflow" / ours / "pyproject.toml").read_text():
        return
    if newest_python(f"mlflow-skinny=={ours}"):
        todo = f"Lock it with mlflow-skinny and without override-dependencies: {MLFLOW_PAGE}."
        yield Finding("mlflow-skinny", "left out", ours, todo)


def python_package(name: str, read_first: str) -> Iterator[Finding]:
    """A package of the operator's, within what pyproject.toml permits and beyond it."""
    permitted = next(one for one in _dependencies() if re.match(rf"{re.escape(name)}\b", one))
    ours, fits, newest = _locked(name), newest_python(permitted), newest_python(name)
    todo = f"`uv lock --upgrade-package {name}`, then `make test`."
    yield _finding(name, ours, fits, todo)
    if _order(newest) > _order(fits):
        todo = (
            f"pyproject.toml permits {permitted}: read its notes and {read_first}, raise the bounds, {todo}"
        )
        yield Finding(name, ours, newest, todo)


def postgres() -> Iterator[Finding]:
    """The programs of each PostgreSQL that is tested, and whether there is another one."""
    package = f"{pinned('postgres', 'package')}-x64"
    published = published_npm(package)
    for major in POSTGRES_VERSIONS:
        ours = pinned(f"postgres-{major}")
        newest = max((one for one in published if one.startswith(f"{major}.")), key=_order, default=ours)
        todo = f"See {DEVELOPERS_PAGE}, Another version of PostgreSQL, then `make matrix`."
        yield _finding(f"PostgreSQL {major}", ours, newest, todo)
    newest = max(published, key=_order)
    if _order(newest)[0] > int(POSTGRES_VERSIONS[-1]):
        todo = f"A new one: {DEVELOPERS_PAGE}, Another version of PostgreSQL, then `make matrix`."
        yield Finding("PostgreSQL", POSTGRES_VERSIONS[-1], newest, todo)


def kubernetes() -> Iterator[Finding]:
    """The Kubernetes of the development cluster: fixes of the pinned minor version, and later ones."""
    ours = pinned("kubernetes")
    published = published_go("k8s.io/kubernetes")
    minor = ours.rpartition(".")[0]
    fixes = [one for one in published if one.startswith(f"{minor}.")]
    todo = f"See {DEVELOPERS_PAGE}, Another version of Kubernetes, then `make test`."
    yield _finding("Kubernetes", ours, max(fixes, key=_order, default=ours), todo)
    newest = max(published, key=_order, default=ours)
    if _order(newest)[:2] > _order(ours)[:2]:
        todo = f"A later minor version: {todo} `make merge-keys` says which lists it merges in another way."
        yield Finding("Kubernetes", ours, newest, todo)


QUESTIONS: dict[str, Callable[[], Iterator[Finding]]] = {
    "MLflow": mlflow,
    "kopf": lambda: python_package("kopf", "docs/decisions/0045-what-kopf-does-here.md"),
    "kubernetes": lambda: python_package("kubernetes", "docs/decisions/0002-dependencies.md"),
    "PostgreSQL": postgres,
    "Kubernetes": kubernetes,
}


def main() -> int:
    """Ask, print one line for each thing, and return the exit code of the documentation above."""
    is_newer = is_unanswered = False
    for name, ask in QUESTIONS.items():
        try:
            for finding in ask():
                print(finding, flush=True)
                is_newer |= bool(finding.newest)
        except NotAnsweredError as error:
            print(f"{name:24} {'':18} unknown: {error}", flush=True)
            is_unanswered = True
    if is_unanswered:
        print(
            "Not every index answered. On a machine that is meant to reach them, look at its settings of uv, npm and go."
        )
        return NOT_ANSWERED
    return SOMETHING_NEWER if is_newer else ALL_NEWEST


def newest_python(requirement: str) -> str:
    """The newest release that fits a requirement and may be installed with the operator's Python; empty if none does."""
    command = [uv_program(), "pip", "compile", "-", "--no-deps", "--no-header", "--no-annotate", "--quiet", "--python-version=3.11"]  # fmt: skip
    name = re.match(r"[\w-]+", requirement)
    done = _asked([*command, f"--refresh-package={name and name[0]}"], stdin=requirement)
    if done.returncode == UV_FOUND_NOTHING:
        return ""
    if done.returncode != 0:
        raise NotAnsweredError("uv reaches no package index.")
    return done.stdout.strip().partition("==")[2].partition(" ")[0]


def published_npm(package: str) -> list[str]:
    """Every version of an npm package, those before a release included."""
    done = _asked(["npm", "view", package, "versions", "--json", "--fetch-retries=0"])
    if done.returncode != 0:
        raise NotAnsweredError("npm reaches no registry.")
    versions: list[str] = json.loads(done.stdout)
    return versions


def published_go(module: str) -> list[str]:
    """Every release of a Go module."""
    try:
        go = go_command()
    except ClusterError as error:
        raise NotAnsweredError("there is no Go on this machine, and uv cannot bring it.") from error
    done = _asked([go, "list", "-m", "-versions", module])
    if done.returncode != 0:
        raise NotAnsweredError("go reaches no module proxy.")
    return [one.removeprefix("v") for one in done.stdout.split()[1:] if "-" not in one]


def _asked(command: Sequence[str], stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program outside of every project, whose settings would be meant for something else."""
    environment = {"GOTOOLCHAIN": "local", "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "20"} | os.environ
    with tempfile.TemporaryDirectory() as nowhere:
        try:
            return subprocess.run(
                command, input=stdin, cwd=nowhere, env=environment, capture_output=True, text=True,
                timeout=SECONDS_TO_ANSWER, check=False,
            )  # fmt: skip
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise NotAnsweredError(
                f"{Path(command[0]).name} is not installed or did not end within {SECONDS_TO_ANSWER} s."
            ) from error


def _finding(name: str, ours: str, newest: str, todo: str) -> Finding:
    return Finding(name, ours, newest, todo) if _order(newest) > _order(ours) else Finding(name, ours)


def _order(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies: list[str] = project["dependencies"]
    return dependencies


def _locked(name: str) -> str:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return next(str(one["version"]) for one in packages if one["name"] == name)


if __name__ == "__main__":
    sys.exit(main())
