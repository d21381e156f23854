"""Real MLflow, without an image: what the image of a version holds, as a virtual environment in the cache folder."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from dev.images.recipes import ROOT
from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.commands import run

SECONDS_TO_INSTALL = 900


def mlflow_python(version: str, *extras: str) -> Path:
    """The Python interpreter that has this MLflow; installed from the image's lock when it is not in the cache.

    ``extras`` are the image's: ``azure`` and ``gcs``.
    """
    project = ROOT / "dev" / "images" / "mlflow" / version
    key = "-".join([version, digest_of([(project / "uv.lock").read_text()]), *extras])
    return built_once("mlflow", key, lambda folder: _install(project, folder, extras)) / "bin" / "python"


def _install(project: Path, folder: Path, extras: Sequence[str]) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
    # Not in the project's own folder, where it would become part of the image's build context.
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    run(
        uv, "sync", "--frozen", "--no-dev", "--quiet", *(f"--extra={one}" for one in extras), f"--project={project}",
        cwd=project, env=environment, seconds=SECONDS_TO_INSTALL,
    )  # fmt: skip
