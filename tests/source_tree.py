"""Copies of this repository in which tests make releases: as it is now."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dev.images.recipes import ROOT
from dev.uv import uv_program
from tests.waiting import patient

SECONDS = 300.0
EPOCH = 1_800_000_000
"""When everything in a copy was committed, in seconds since 1970."""


class Tree:
    """A folder with the files of this repository, in a repository of its own with one commit."""

    def __init__(self, folder: Path) -> None:
        """``folder`` has the files already."""
        self.folder = folder
        self._git("init", "--quiet")
        self.commit()

    @classmethod
    def of_this(cls, folder: Path) -> "Tree":
        """A copy of what this repository has now, committed or not."""
        listed = _git("ls-files", "--cached", "--others", "--exclude-standard")
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
                shutil.copymode(ROOT / name, folder / name)
        return cls(folder)

    def commit(self) -> None:
        """Make everything part of a commit, always at the same time."""
        self._git("add", ".")
        self._git("commit", "--quiet", "--message", "x")

    def run(self, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of the tree."""
        environment = os.environ | {
            "PYTHONPATH": f"{self.folder}{os.pathsep}{self.folder / 'operator'}",
            "UV": shutil.which(uv_program()) or uv_program(),
        }
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patient(SECONDS),
            check=False,
        )

    def _git(self, *arguments: str) -> None:
        day = f"@{EPOCH} +0000"
        author = {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.com", "GIT_AUTHOR_DATE": day}
        committer = {name.replace("AUTHOR", "COMMITTER"): value for name, value in author.items()}
        command = ["git", "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(command, cwd=self.folder, env=os.environ | author | committer, check=True)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout
