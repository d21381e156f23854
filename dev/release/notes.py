"""The notes of a release, from the fragments in changes/, which towncrier puts together."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from dev.release import ReleaseError

HEADER = "## "


def release_notes(root: Path, version: str, epoch: int) -> str:
    """What changed, as Markdown. Raises ReleaseError: nobody wrote it down."""
    if not fragments(root):
        raise ReleaseError(
            f"{version} has no release notes: write what changes for users into changes/, as changes/README.md says."
        )
    said = towncrier(root, "--draft", version=version, epoch=epoch)
    return said[said.index(HEADER) :]


def fragments(root: Path) -> list[Path]:
    """The files that each tell of one change."""
    return sorted(path for path in (root / "changes").glob("*.md") if path.name != "README.md")


def collect(root: Path, version: str, epoch: int) -> None:
    """Move the fragments into CHANGELOG.md, under this version."""
    towncrier(root, "--yes", version=version, epoch=epoch)


def towncrier(root: Path, *options: str, version: str, epoch: int) -> str:
    """What `towncrier build` says."""
    day = datetime.fromtimestamp(epoch, UTC).date().isoformat()
    command = [
        *(sys.executable, "-m", "towncrier", "build", *options),
        *("--version", version, "--date", day, "--dir", str(root)),
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"towncrier cannot put the notes of {version} together: {done.stderr.strip()}")
    return done.stdout
