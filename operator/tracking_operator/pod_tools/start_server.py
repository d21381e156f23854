"""Runs as the server's container: hands mounted credentials to MLflow, then becomes MLflow.

    start-server server --host 0.0.0.0 …

MLflow reads a database URI and the keys of an object store from its environment. They are read from
mounted files here, so that the pod's specification, which many people may read, holds none of them.
What trusts callers from localhost is taken out of it (without_local_routes.py).
A server that proxies artifacts gets a plug-in that keeps it so (artifacts_through_server.py). One with a login gets the
settings of MLflow's own (mlflow/server/auth/config.py), which name the database and the admin's password, in a file.
"""

import configparser
import os
import pkgutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracking_operator.pod_tools.programs import CREDENTIALS

CONTENT_VARIABLES = {
    "backend-store/uri": "MLFLOW_BACKEND_STORE_URI",
    "artifact-store/accessKeyId": "AWS_ACCESS_KEY_ID",
    "artifact-store/secretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "artifact-store/sessionToken": "AWS_SESSION_TOKEN",
    "artifact-store/connectionString": "AZURE_STORAGE_CONNECTION_STRING",
    "artifact-store/accountKey": "AZURE_STORAGE_ACCESS_KEY",
    "login/secretKey": "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "encryption/kekPassphrase": "MLFLOW_CRYPTO_KEK_PASSPHRASE",
    "encryption/kekVersion": "MLFLOW_CRYPTO_KEK_VERSION",
    "encryption/webhookKey": "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
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

LOGIN_OPTION = "--app-name=basic-auth"
STORE_OPTION = "--backend-store-uri="
LOGIN_FILE = "login.ini"
LOGIN_FILE_MODE = 0o600
PERMISSION_VARIABLE = "TRACKING_OPERATOR_DEFAULT_PERMISSION"
SECONDS_A_LOGIN_IS_REMEMBERED = 30
"""MLflow computes a slow hash (scrypt) for every request, 100 ms and more of CPU, unless it may remember for so long
which passwords were right. For so long, too, an old password may go on working in some worker processes."""
CONTRADICTING_VARIABLES = (
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_BASIC_AUTH_FAIL_CLOSED",
)
"""What would go before the settings in the file, or open what MLflow keeps closed."""

LOCAL_ROUTES_MODULE = "without_local_routes.py"
PROXY_OPTION = "--serve-artifacts"
PLUGIN_MODULE = "artifacts_through_server"
PLUGIN_CLASS = "ArtifactsThroughServer"
PLUGIN_SCHEMES = ("s3", "gs", "wasbs", "abfss")


def main(arguments: list[str]) -> None:
    """Become MLflow, with what it reads from its environment."""
    scratch = Path(tempfile.gettempdir())
    os.environ.update(credentials_environment(CREDENTIALS))
    os.environ.update(plugin_environment(arguments, scratch))
    if login := login_environment(arguments, CREDENTIALS, scratch):
        os.environ.update(login)
        for contradicting in CONTRADICTING_VARIABLES:
            os.environ.pop(contradicting, None)
    os.execvp("mlflow", ["mlflow", *arguments])  # noqa: S606, S607 - the image's own mlflow, no shell


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
    (folder / f"{PLUGIN_MODULE}.py").write_bytes(source_of(f"{PLUGIN_MODULE}.py"))
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN_MODULE}\nVersion: 1\n")
    entries = [f"{scheme} = {PLUGIN_MODULE}:{PLUGIN_CLASS}\n" for scheme in PLUGIN_SCHEMES]
    (metadata / "entry_points.txt").write_text("".join(["[mlflow.artifact_repository]\n", *entries]))
    return folder


def source_of(module: str) -> bytes:
    """A module of the archive as text: MLflow's processes load it from a folder, as they know nothing of the archive."""
    source = pkgutil.get_data(__package__, module)
    if source is None:
        raise FileNotFoundError(module)
    return source


def plugin_environment(arguments: Sequence[str], scratch: Path) -> Mapping[str, str]:
    """The variable by which Python finds what changes MLflow: the plug-in, if the server proxies artifacts, and the rest."""
    folder = scratch / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_bytes(source_of(LOCAL_ROUTES_MODULE))
    if PROXY_OPTION in arguments:
        install_plugin(folder)
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{known}" if known else str(folder)}


def login_environment(arguments: Sequence[str], folder: Path, scratch: Path) -> Mapping[str, str]:
    """The variable by which MLflow finds the settings of its login; none where nobody has to log in."""
    if LOGIN_OPTION not in arguments:
        return {}
    named = [one.removeprefix(STORE_OPTION) for one in arguments if one.startswith(STORE_OPTION)]
    uri = named[-1] if named else os.environ["MLFLOW_BACKEND_STORE_URI"]
    file = scratch / LOGIN_FILE
    write_login_file(file, uri, folder)
    return {"MLFLOW_AUTH_CONFIG_PATH": str(file)}


def write_login_file(file: Path, uri: str, folder: Path) -> None:
    """Write the settings of MLflow's login, for nobody else to read; its tables are in the database ``uri``."""
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "default_permission": os.environ.get(PERMISSION_VARIABLE, "EDIT"),
        "database_uri": literally(uri),
        "admin_username": literally((folder / "login" / "username").read_text()),
        "admin_password": literally((folder / "login" / "password").read_text()),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(SECONDS_A_LOGIN_IS_REMEMBERED),
    }
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, LOGIN_FILE_MODE), "w") as opened:  # noqa: PTH123
        settings.write(opened)


def literally(text: str) -> str:
    """The text as MLflow's parser gives it back: to that one a percent sign is special."""
    return text.strip().replace("%", "%%")
