"""A repository on the Git server, and commits to it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from dev.local_cluster.commands import plain_environment, run

BRANCH: Final = "main"
WHO: Final = {
    "GIT_AUTHOR_NAME": "Platform",
    "GIT_AUTHOR_EMAIL": "platform@example.com",
    "GIT_COMMITTER_NAME": "Platform",
    "GIT_COMMITTER_EMAIL": "platform@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
}
"""Nobody's own settings of Git count here."""


@dataclass(frozen=True)
class Repository:
    """A repository; ``url`` is that of this machine, ``url_of_pods`` what Argo CD reads it by."""

    url: str
    url_of_pods: str

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Push a commit that writes these files, and removes those that are None, folders with all in them; return its id.

        Nothing is pushed when they are as they should be. Raises ClusterError: Git refuses, or the server does not answer.
        """
        with TemporaryDirectory(prefix="repository-") as name:
            folder = Path(name)
            self._git(folder, "clone", "--quiet", self.url, ".")
            self._git(folder, "checkout", "--quiet", "-B", BRANCH)
            for path, text in files.items():
                write(folder / path, text)
            self._git(folder, "add", "--all")
            if self._git(folder, "status", "--porcelain"):
                self._git(folder, "commit", "--quiet", f"--message={message}")
                self._git(folder, "push", "--quiet", "origin", BRANCH)
            return self._git(folder, "rev-parse", "HEAD").strip()

    def read(self, path: str) -> str:
        """A file as the newest commit has it. Raises FileNotFoundError."""
        with TemporaryDirectory(prefix="repository-") as name:
            self._git(Path(name), "clone", "--quiet", "--depth=1", self.url, ".")
            return (Path(name) / path).read_text(encoding="utf-8")

    def _git(self, folder: Path, *words: str) -> str:
        return run("git", *words, cwd=folder, env=plain_environment() | WHO, seconds=60)


def write(file: Path, text: str | None) -> None:
    """Write a file with its folders, or remove it; a folder goes with all in it."""
    if text is None and file.is_dir():
        shutil.rmtree(file)
        return
    if text is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
