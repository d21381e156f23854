"""Runs first in every container of ours: becomes another of our programs, with the variables that it is meant to have.

    python3 -I tools.pyz in-clean-environment --ours=HOME,PGSERVICEFILE --permitted='AWS_*' -- start-server server …

Variables reach a container in many ways: the specification's env and envFrom, the image, a webhook, links to Services. Some
of them steer MLflow, Python, the dynamic loader, libpq or the SDKs of clouds: to another database, another identity, other
code. Those are taken away here, unless the operator set them (``--ours``) or the class lets teams set them (``--permitted``).
So all programs of a pod, and MLflow itself, use what was checked.

Python itself is started with ``-I``, because it reads its own variables before the first line here; and the operator sets those of
the loader to nothing in the container's specification, which counts more than envFrom and image.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping

from tracking_operator.pod_tools.programs import command_line

STEERING = (
    "ALEMBIC_",
    "AWS_",
    "AZURE_",
    "BOTO",
    "CLOUDSDK_",
    "CURL_CA_BUNDLE",
    "DATABRICKS_",
    "FLASK_",
    "FORWARDED_ALLOW_IPS",
    "GCE_METADATA_",
    "GCLOUD_",
    "GLIBC_TUNABLES",
    "GOOGLE_",
    "GUNICORN_",
    "HOSTALIASES",
    "LD_",
    "LOCALDOMAIN",
    "MALLOC_",
    "MLFLOW_",
    "MYSQL_",
    "NETRC",
    "OPENSSL_",
    "OTEL_",
    "PG",
    "PYTHON",
    "REQUESTS_CA_BUNDLE",
    "RES_OPTIONS",
    "SQLALCHEMY_",
    "SSLKEYLOGFILE",
    "SSL_",
    "TRACKING_OPERATOR_",
    "UVICORN_",
    "WEB_CONCURRENCY",
    "WERKZEUG_",
    "_MLFLOW_",
)
"""How variables begin that decide what is run, who asks, or whom: of MLflow 3.17.2, Python, glibc, libpq, the SDKs of AWS,
Azure and Google, OpenSSL, requests, gunicorn and uvicorn. A proxy (HTTPS_PROXY) is only on the way."""

ALWAYS = {"PYTHONNOUSERSITE": "1"}
"""Packages under HOME, which is a folder that the pod can write to, are not ours."""


def steers(name: str) -> bool:
    """Whether a variable decides what is run, who asks, or whom."""
    return name.startswith(STEERING)


def means(pattern: str, name: str) -> bool:
    """Whether a pattern, a name or its beginning with a star behind it, means a variable."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def clean(
    variables: Mapping[str, str], ours: Iterable[str], permitted: Iterable[str], reserved: Iterable[str]
) -> dict[str, str]:
    """The variables that may stay: ours, those that are permitted and not reserved, and those that steer nothing."""
    set_by_us, patterns, refused = set(ours), tuple(permitted), set(reserved)

    def stays(name: str) -> bool:
        if name in set_by_us:
            return True
        if not steers(name):
            return name not in refused
        return name not in refused and any(means(pattern, name) for pattern in patterns)

    return {name: value for name, value in variables.items() if stays(name)} | ALWAYS


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser.add_argument("--ours", type=names, default=[], help="the variables that the operator has set")
    parser.add_argument("--permitted", type=names, default=[], help="names, or beginnings and a star")
    parser.add_argument("--reserved", type=names, default=[], help="names that are never permitted")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the program and its arguments")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Become the program that the command line names."""
    options = parse_arguments(arguments)
    program, *rest = [one for at, one in enumerate(options.command) if at or one != "--"]
    environment = clean(os.environ, options.ours, options.permitted, options.reserved)
    os.execve(sys.executable, command_line(program, *rest), environment)  # noqa: S606 - Python again, no shell
