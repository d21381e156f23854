"""Runs as the server's container: hands mounted credentials to MLflow, then becomes MLflow.

    start-server server --host 0.0.0.0 …

MLflow reads a database URI and the keys of an object store from its environment. They are read from
mounted files here, so that the pod's specification, which many people may read, holds none of them.
What it serves is changed (served_application.py): nothing trusts callers from localhost, and large artifacts stream.
It listens on every address that the pod has, of IPv6 as well (addresses.py). A server that proxies artifacts gets a plug-in that keeps it so (artifacts_through_server.py). One with a login gets the
settings of MLflow's own (mlflow/server/auth/config.py), which name the database and the admin's password, in a file.
One with metrics has a second process, which tells them on a port of its own (serve_metrics.py).
"""

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracking_operator.pod_tools.addresses import ALL_OF_IPV4, every_address
from tracking_operator.pod_tools.checks import CheckFailed, report
from tracking_operator.pod_tools.database_uri import read_uri
from tracking_operator.pod_tools.programs import (
    ARCHIVE,
    CREDENTIALS,
    METRICS_PORT_VARIABLE,
    S3_ENDPOINT_VARIABLES,
    SERVE_METRICS,
    SETTINGS_OF_OTHER_SERVERS,
    SINGLE_SIGN_ON_VARIABLE,
    command_line,
)
from tracking_operator.pod_tools.single_sign_on import require_settings

URI_OF_STORE = "MLFLOW_BACKEND_STORE_URI"
URI_FILE = "backend-store/uri"
CONTENT_VARIABLES = {
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
PASSWORD_LOGIN = "mlflow.server.auth:authenticate_request_basic_auth"  # noqa: S105 - the name of a function
SINGLE_SIGN_ON = f"{__package__}.single_sign_on:authenticate"
"""What MLflow calls to find out who asks."""
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

HOST_OPTION = "--host="
METRICS_OPTION = "--expose-prometheus="
EXPORTER = "prometheus_flask_exporter"

FIRST_LINES = """try:
    import tracking_operator.pod_tools.changes_to_mlflow as changes

    changes.install()
except BaseException:
    import os, traceback

    traceback.print_exc()
    os._exit(1)
"""
"""What Python runs first in each of MLflow's processes, as ``sitecustomize``. Python itself goes on where that fails, and MLflow
would start with its local routes open."""

MEMORY_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""Each block of a MiB or more, as parts of artifacts and bodies are, goes back to the system as soon as it is free (man 3 mallopt). By
default glibc comes to keep such blocks, for each thread apart, and a server grew by up to 30 MiB with every large upload."""

PROXY_OPTION = "--serve-artifacts"
PLUGIN = "artifacts_through_server"
PLUGIN_CLASSES = {
    "s3": "S3ThroughServer",
    "gs": "ArtifactsThroughServer",
    "wasbs": "ArtifactsThroughServer",
    "abfss": "ArtifactsThroughServer",
}
"""Scheme → the repository for it."""


def main(arguments: list[str]) -> None:
    """Become MLflow, with what it reads from its environment."""
    scratch = Path(tempfile.gettempdir())
    arguments = with_metrics(on_every_address(arguments))
    try:
        os.environ.update(credentials_environment(CREDENTIALS))
    except CheckFailed as failure:  # the Secret has changed since the init container looked at it
        sys.exit(report(failure.reason, failure.message))
    os.environ.update(settings_of_other_servers(os.environ))
    os.environ.update(MEMORY_VARIABLES)
    os.environ.update(plugin_environment(arguments, scratch))
    if login := login_environment(arguments, CREDENTIALS, scratch):
        os.environ.update(login)
        for contradicting in CONTRADICTING_VARIABLES:
            os.environ.pop(contradicting, None)
    os.execvp("mlflow", ["mlflow", *arguments])  # noqa: S606, S607 - the image's own mlflow, no shell


def on_every_address(arguments: Sequence[str]) -> list[str]:
    """The arguments of a server that is reached by IPv6, too, where the pod is; it is not known before the pod runs."""
    default = f"{HOST_OPTION}{ALL_OF_IPV4}"
    return [f"{HOST_OPTION}{every_address()}" if one == default else one for one in arguments]


def with_metrics(arguments: Sequence[str]) -> list[str]:
    """Start what tells the metrics, if there are to be any; an image that cannot count serves without them."""
    folders = [one.removeprefix(METRICS_OPTION) for one in arguments if one.startswith(METRICS_OPTION)]
    if not folders:
        return list(arguments)
    if importlib.util.find_spec(EXPORTER) is None:
        sentence = (
            "tracking-operator: there are no metrics, because the image has no prometheus-flask-exporter."
        )
        print(sentence, file=sys.stderr, flush=True)
        return [one for one in arguments if not one.startswith(METRICS_OPTION)]
    folder = Path(folders[-1])
    # What an earlier container of the pod has counted: Prometheus takes the new beginning for what it is.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Before any credential is in the environment.
    port = os.environ[METRICS_PORT_VARIABLE]
    subprocess.Popen(command_line(SERVE_METRICS, str(folder), port, str(os.getpid())))
    return list(arguments)


DECIDED_BY = {
    "AWS_CA_BUNDLE": ("AWS_CA_BUNDLE", "MLFLOW_S3_IGNORE_TLS"),
    "MLFLOW_S3_ENDPOINT_URL": S3_ENDPOINT_VARIABLES,
}
"""What a variable of the container, which is the specification's word, leaves no key of a Secret to say."""


def credentials_environment(folder: Path) -> Mapping[str, str]:
    """Collect the variables for every credential that is mounted below ``folder``."""
    variables = {}
    for name, variable in CONTENT_VARIABLES.items():
        if (folder / name).is_file():
            variables[variable] = (folder / name).read_text().strip()
    if (folder / URI_FILE).is_file():
        variables[URI_OF_STORE] = read_uri(folder / URI_FILE)
    for file in (folder / "artifact-store").glob("*"):
        if file.name.startswith(VARIABLE_PREFIXES) and file.is_file() and not is_decided(file.name):
            variables[file.name] = file.read_text().strip()
    for name, variable in PATH_VARIABLES.items():
        if (folder / name).is_file():
            variables[variable] = str(folder / name)
    return variables


def is_decided(name: str) -> bool:
    """Whether the specification has an endpoint or a CA, which a key of the Secret would contradict."""
    return any(name in names and variable in os.environ for variable, names in DECIDED_BY.items())


def settings_of_other_servers(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What an S3 server needs that is not AWS's, wherever its URL was named, unless the environment says otherwise."""
    if not any(environment.get(name) for name in S3_ENDPOINT_VARIABLES):
        return {}
    return {name: value for name, value in SETTINGS_OF_OTHER_SERVERS.items() if name not in environment}


def install_plugin(folder: Path) -> Path:
    """Put the plug-in into ``folder`` as an installed distribution, which is how MLflow finds plug-ins; return it.

    The image's own packages cannot be written to, and may be of any image. Its code stays in the archive.
    """
    metadata = folder / f"{PLUGIN}-1.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1\n")
    entries = [f"{scheme} = {__package__}.{PLUGIN}:{name}\n" for scheme, name in PLUGIN_CLASSES.items()]
    (metadata / "entry_points.txt").write_text("".join(["[mlflow.artifact_repository]\n", *entries]))
    return folder


def plugin_environment(arguments: Sequence[str], scratch: Path) -> Mapping[str, str]:
    """The variable by which Python finds what changes MLflow: the plug-in, if the server proxies artifacts, and the rest."""
    folder = scratch / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(FIRST_LINES)
    if PROXY_OPTION in arguments:
        install_plugin(folder)
    known = os.environ.get("PYTHONPATH")
    found = [str(folder), str(ARCHIVE), *([known] if known else [])]
    return {"PYTHONPATH": os.pathsep.join(found)}


def login_environment(arguments: Sequence[str], folder: Path, scratch: Path) -> Mapping[str, str]:
    """The variable by which MLflow finds the settings of its login; none where nobody has to log in."""
    if LOGIN_OPTION not in arguments:
        return {}
    named = [one.removeprefix(STORE_OPTION) for one in arguments if one.startswith(STORE_OPTION)]
    uri = named[-1] if named else os.environ[URI_OF_STORE]
    file, function = scratch / LOGIN_FILE, PASSWORD_LOGIN
    if SINGLE_SIGN_ON_VARIABLE in os.environ:
        require_settings(folder, os.environ)
        function = SINGLE_SIGN_ON
    write_login_file(file, uri, folder, function)
    return {"MLFLOW_AUTH_CONFIG_PATH": str(file)}


def write_login_file(file: Path, uri: str, folder: Path, function: str = PASSWORD_LOGIN) -> None:
    """Write the settings of MLflow's login, for nobody else to read; its tables are in the database ``uri``."""
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "default_permission": os.environ.get(PERMISSION_VARIABLE, "EDIT"),
        "database_uri": literally(uri),
        "admin_username": literally((folder / "login" / "username").read_text()),
        "admin_password": literally((folder / "login" / "password").read_text()),
        "authorization_function": function,
        "auth_cache_ttl_seconds": str(SECONDS_A_LOGIN_IS_REMEMBERED),
    }
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, LOGIN_FILE_MODE), "w") as opened:  # noqa: PTH123
        settings.write(opened)


def literally(text: str) -> str:
    """The text as MLflow's parser gives it back: to that one a percent sign is special."""
    return text.strip().replace("%", "%%")
