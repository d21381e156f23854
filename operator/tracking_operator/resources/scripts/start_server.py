"""Runs as the server's container: hands mounted credentials to MLflow, then becomes MLflow.

    start_server.py server --host 0.0.0.0 …

MLflow reads a database URI and the keys of an object store from its environment. They are read from
mounted files here, so that the pod's specification, which many people may read, holds none of them.
A server that proxies artifacts gets a plug-in that keeps it so (artifacts_through_server.py).
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CREDENTIALS = Path(os.environ.get("TRACKING_OPERATOR_CREDENTIALS", "/etc/mlflow"))

CONTENT_VARIABLES = {
    "backend-store/uri": "MLFLOW_BACKEND_STORE_URI",
    "artifact-store/accessKeyId": "AWS_ACCESS_KEY_ID",
    "artifact-store/secretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "artifact-store/sessionToken": "AWS_SESSION_TOKEN",
    "artifact-store/connectionString": "AZURE_STORAGE_CONNECTION_STRING",
    "artifact-store/accountKey": "AZURE_STORAGE_ACCESS_KEY",
}
"""Mounted file → the variable that takes its content."""

VARIABLE_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "MLFLOW_S3_")
"""Keys of an artifact store's Secret that are the names of their variables already. No others: a class may
forbid its teams variables of their own, and a Secret must not be a way around that."""

PATH_VARIABLES = {
    "artifact-store/credentials": "AWS_SHARED_CREDENTIALS_FILE",
    "artifact-store/credentials.json": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""Mounted file → the variable that takes its path."""

PROXY_OPTION = "--serve-artifacts"
PLUGIN_MODULE = "artifacts_through_server"
PLUGIN_CLASS = "ArtifactsThroughServer"
PLUGIN_SCHEMES = ("s3", "gs", "wasbs", "abfss")


def credentials_environment(folder: Path) -> Mapping[str, str]:
    """Collect the variables for every credential that is mounted below ``folder``."""
    variables = {}
    for name, variable in CONTENT_VARIABLES.items():
        if (folder / name).is_file():
            variables[variable] = (folder / name).read_text().strip()
    for file in (folder / "artifact-store").glob("*"):
        if file.name.startswith(VARIABLE_PREFIXES) and file.is_file():
            variables[file.name] = file.read_text().strip()
    for name, variable in PATH_VARIABLES.items():
        if (folder / name).is_file():
            variables[variable] = str(folder / name)
    return variables


def install_plugin(folder: Path) -> Path:
    """Put the plug-in into ``folder`` as an installed distribution, which is how MLflow finds plug-ins; return it.

    The image's own packages cannot be written to, and may be of any image.
    """
    metadata = folder / f"{PLUGIN_MODULE}-1.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name(f"{PLUGIN_MODULE}.py"), folder / f"{PLUGIN_MODULE}.py")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN_MODULE}\nVersion: 1\n")
    entries = [f"{scheme} = {PLUGIN_MODULE}:{PLUGIN_CLASS}\n" for scheme in PLUGIN_SCHEMES]
    (metadata / "entry_points.txt").write_text("".join(["[mlflow.artifact_repository]\n", *entries]))
    return folder


def plugin_environment(arguments: Sequence[str], scratch: Path) -> Mapping[str, str]:
    """The variable by which Python finds the plug-in; none where the server does not proxy artifacts."""
    if PROXY_OPTION not in arguments:
        return {}
    known = os.environ.get("PYTHONPATH")
    folder = str(install_plugin(scratch / "plugins"))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{known}" if known else folder}


if __name__ == "__main__":
    os.environ.update(credentials_environment(CREDENTIALS))
    os.environ.update(plugin_environment(sys.argv[1:], Path(tempfile.gettempdir())))
    os.execvp("mlflow", ["mlflow", *sys.argv[1:]])  # noqa: S606, S607 - the image's own mlflow, no shell
