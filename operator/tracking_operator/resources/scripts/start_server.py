"""Runs as the server's container: hands mounted credentials to MLflow, then becomes MLflow.

    start_server.py server --host 0.0.0.0 …

MLflow reads a database URI and the keys of an object store from its environment. They are read from
mounted files here, so that the pod's specification, which many people may read, holds none of them.
"""

import os
import sys
from collections.abc import Mapping
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


if __name__ == "__main__":
    os.environ.update(credentials_environment(CREDENTIALS))
    os.execvp("mlflow", ["mlflow", *sys.argv[1:]])  # noqa: S606, S607 - the image's own mlflow, no shell
