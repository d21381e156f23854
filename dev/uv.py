"""Where uv is: as make says, in the PATH, or where `dev/prepare.py` puts it."""

import os
import shutil

from dev.images.recipes import ROOT


def uv_program() -> str:
    """The program, by its name or path."""
    return os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
