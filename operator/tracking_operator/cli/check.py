"""``tracking-operator check``: could the operator work in this cluster?"""

import argparse
import asyncio
import sys

from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import NoClusterError
from tracking_operator.kube.errors import ApiError
from tracking_operator.runtime import preflight
from tracking_operator.runtime.settings import OperatorSettings, SettingsError, read_settings
from tracking_operator.runtime.watched import WATCHED

SUMMARY = "Check that the definitions are installed and that all permissions are granted; change nothing."
EXAMPLES = """examples:
  tracking-operator check
  kubectl -n tracking-operator-system exec deployment/tracking-operator -- tracking-operator check"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options: none, settings come from the environment."""


def execute(_options: argparse.Namespace) -> int:
    """Say what is missing; 0 if nothing is."""
    try:
        asyncio.run(_check(read_settings()))
    except (SettingsError, NoClusterError, preflight.PreflightError, ApiError) as error:
        print(error, file=sys.stderr)
        return 1
    print("The definitions are installed and all permissions are granted.")
    return 0


async def _check(settings: OperatorSettings) -> None:
    async with await KubeClient.connect() as client:
        await preflight.check(
            client, WATCHED, namespaces=settings.watch_namespaces, own_namespace=settings.namespace
        )
