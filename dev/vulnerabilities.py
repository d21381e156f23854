"""`make audit`: which locked packages have a known vulnerability. Asks OSV (https://osv.dev) by pip-audit; ends with

  0  none but those that dev/audit-exceptions.toml permits for now
  1  something has to be done: a vulnerability, or an exception whose day is over
  3  the database did not answer, for example offline; then nothing is known

PyPI's own data is not asked: behind a mirror that lacks it, pip-audit skips every package and finds nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from dev.images.recipes import ROOT, mlflow_versions
from dev.uv import uv_program

EXCEPTIONS: Final = ROOT / "dev" / "audit-exceptions.toml"
DATABASE: Final = "https://api.osv.dev/v1/query"
FINE, TO_DO, NOT_ANSWERED = 0, 1, 3


class NotAnsweredError(Exception):
    """The database said nothing about some package; the message says why."""


@dataclass(frozen=True)
class Exemption:
    """A vulnerability that is put up with until the end of a day, and why."""

    id: str
    until: date
    reason: str


@dataclass(frozen=True)
class Vulnerability:
    """A known one, by all of its names."""

    package: str
    version: str
    ids: Sequence[str]
    fixed_in: Sequence[str]

    def __str__(self) -> str:
        """Return what it is and what to do."""
        todo = (
            f"fixed in {', '.join(self.fixed_in)}: `uv lock --upgrade-package {self.package}`"
            if self.fixed_in
            else f"not fixed yet: replace it, or put up with it for a while in {EXCEPTIONS.relative_to(ROOT)}"
        )
        return f"{self.package} {self.version} has {' alias '.join(self.ids)}, {todo}."


def main() -> int:
    """Ask about every lock, print what was found, and return the exit code of the documentation above."""
    exemptions = read_exemptions(EXCEPTIONS)
    over = [one for one in exemptions if one.until < datetime.now(UTC).date()]
    for one in over:
        print(f"{one.id} was put up with until {one.until} only ({one.reason}): mend it, or decide anew.")
    try:
        found = [each for folder in _locks(ROOT) for each in audit(folder)]
    except NotAnsweredError as error:
        print(f"Nothing is known about vulnerabilities: {error}", file=sys.stderr)
        return TO_DO if over else NOT_ANSWERED
    left = left_over(found, {one.id for one in exemptions})
    for each in left:
        print(each)
    return TO_DO if left or over else FINE


def read_exemptions(file: Path) -> list[Exemption]:
    """What the file permits."""
    return [Exemption(**one) for one in tomllib.loads(file.read_text()).get("exception", ())]


def left_over(found: Iterable[Vulnerability], permitted: set[str]) -> list[Vulnerability]:
    """Those that no exception names by any of their names, each once."""
    return [each for each in {str(one): one for one in found}.values() if permitted.isdisjoint(each.ids)]


def audit(folder: Path) -> list[Vulnerability]:
    """The vulnerabilities of what the lock of a folder installs. Raises NotAnsweredError: the database was not asked."""
    export = [uv_program(), "export", "--quiet", "--frozen", "--no-emit-project", "--all-extras"]
    with tempfile.TemporaryDirectory() as place:
        requirements = Path(place) / "requirements.txt"
        subprocess.run([*export, "--output-file", requirements], cwd=folder, check=True, capture_output=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"),
                *("--requirement", requirements, "--format", "json", "--progress-spinner", "off"),
                *("--vulnerability-service", "osv", "--osv-url", os.environ.get("OSV_URL") or DATABASE),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    return list(_vulnerabilities(_answer(done)))


def _answer(done: "subprocess.CompletedProcess[str]") -> Sequence[Mapping[str, Any]]:
    try:
        dependencies: Sequence[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError) as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotAnsweredError(f"the database cannot be asked ({last}).") from error
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    if skipped:
        raise NotAnsweredError(f"the database was not asked about {', '.join(skipped)}.")
    return dependencies


def _vulnerabilities(dependencies: Iterable[Mapping[str, Any]]) -> Iterator[Vulnerability]:
    for one in dependencies:
        for each in one["vulns"]:
            yield Vulnerability(
                one["name"], one["version"], sorted({each["id"], *each["aliases"]}), each["fix_versions"]
            )


def _locks(root: Path) -> list[Path]:
    return [root, *(root / "dev" / "images" / "mlflow" / version for version in mlflow_versions(root))]


if __name__ == "__main__":
    sys.exit(main())
