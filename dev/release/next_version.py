"""`make next-version VERSION=x`: after a release, collect its notes in CHANGELOG.md and name the next version everywhere.

What it writes is for a commit of its own.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from dev.chart.__main__ import main as write_chart
from dev.images.recipes import ROOT
from dev.release import OPERATOR_IMAGE, ReleaseError
from dev.release.notes import collect, fragments
from dev.release.version import DEPLOYMENT, check_versions, checked_version, source_date_epoch, version_of
from dev.uv import uv_program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    (given,) = sys.argv[1:] if arguments is None else arguments
    try:
        _go_on_to(checked_version(given), ROOT)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _go_on_to(version: str, root: Path) -> None:
    released = version_of(root)
    if Version(version) <= Version(released):
        raise ReleaseError(f"{version} does not come after {released}, which is the version of the tree.")
    if fragments(root):
        collect(root, released, source_date_epoch(root))
    subprocess.run([uv_program(), "version", "--quiet", "--frozen", version], cwd=root, check=True)
    _name_in_lock(version, root / "uv.lock")
    deployment = root / DEPLOYMENT
    image = re.compile(rf"(?<=image: {OPERATOR_IMAGE}:)\S+")
    deployment.write_text(image.sub(version, deployment.read_text()))
    write_chart([])
    check_versions(version, root)
    print(f"The tree is at {version}. Look at CHANGELOG.md, then commit.")


def _name_in_lock(version: str, lock: Path) -> None:
    """Change nothing but our own version: uv would choose all versions of others again, and would have to ask the index for it."""
    own = re.compile(r'(?<=^name = "tracking-operator"\nversion = ")[^"]+', re.MULTILINE)
    lock.write_text(own.sub(str(Version(version)), lock.read_text(), count=1))


if __name__ == "__main__":
    sys.exit(main())
