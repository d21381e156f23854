"""The commands of docs/tutorials/wine.md, typed one after the other."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dev.demo.failures import DemoError
from dev.images.recipes import ROOT
from dev.site.blocks import commands
from dev.uv import uv_program

PAGE: Final = ROOT / "docs" / "tutorials" / "wine.md"
TO_FILL_IN: Final = "…"
"""What stands in a command where the reader has something of their own."""
AUTHOR: Final = {"NAME": "A reader", "EMAIL": "reader@example.com"}
LAST: Final = 30
"""Lines that are enough to see what failed."""
FOREIGN: Final = ("GIT_", "MLFLOW_", "DVC_", "VIRTUAL_ENV")


def read_through(home: Path, variables: Mapping[str, str], show: Callable[[str], None]) -> None:
    """Do what the page says, in a home that is made anew; `variables` are the three that the page lets the reader set.

    Each command and each line that it prints is given to `show`.

    Raises:
        DemoError: a command fails.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    script = home / "page.sh"
    script.write_text("".join(f"{line}\n" for line in typed_lines(PAGE.read_text(encoding="utf-8"))))
    printed = list[str]()
    with subprocess.Popen(
        ["bash", "-e", "-o", "pipefail", "-v", str(script)],
        cwd=ROOT,
        env=_environment(home) | dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            printed.append(line.rstrip("\n"))
            show(printed[-1])
    if process.returncode:
        raise DemoError(f"A command of {PAGE.relative_to(ROOT)} failed:\n" + "\n".join(printed[-LAST:]))


def typed_lines(page: str) -> list[str]:
    """The lines that a reader types as they stand."""
    return [line for line in commands(page) if TO_FILL_IN not in line]


def _environment(home: Path) -> dict[str, str]:
    """A reader's, in whose home nothing is: where uv keeps what it has downloaded stays as it is."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    people = {f"GIT_{role}_{key}": text for role in ("AUTHOR", "COMMITTER") for key, text in AUTHOR.items()}
    uv = Path(uv_program())
    return inherited | people | {
        "HOME": str(home),
        "PATH": f"{uv.parent}:{inherited['PATH']}",
        "UV_CACHE_DIR": _cache_of_uv(uv),
        "UV_FROZEN": "1",
        "UV_PROJECT_ENVIRONMENT": str(home / ".venv"),  # a colleague's machine would install it once more
    }  # fmt: skip


def _cache_of_uv(uv: Path) -> str:
    return subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
