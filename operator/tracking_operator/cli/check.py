"""``tracking-operator check``: could the operator work in this cluster? And does what it makes keep teams apart?"""

import argparse
import asyncio
import sys

from tracking_operator.cli import check_isolation
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import NoClusterError
from tracking_operator.kube.errors import ApiError
from tracking_operator.runtime import preflight
from tracking_operator.runtime.settings import OperatorSettings, SettingsError, read_settings
from tracking_operator.runtime.watched_kinds import watched_kinds

SUMMARY = "Check that the definitions are installed and that all permissions are granted; change nothing."
EXAMPLES = """examples:
  %(prog)s
  kubectl -n tracking-operator-system exec deployment/tracking-operator -- tracking-operator check
  %(prog)s isolation --help               # does the boundary between two teams hold?"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be checked beside the operator's own installation, whose settings come from the environment."""
    parts = parser.add_subparsers(dest="part", metavar="PART")
    isolation = parts.add_parser(
        "isolation",
        help=check_isolation.SUMMARY,
        description=check_isolation.SUMMARY,
        epilog=check_isolation.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check_isolation.add_arguments(isolation)


def execute(options: argparse.Namespace) -> int:
    """Say what is missing; 0 if nothing is."""
    if options.part == "isolation":
        return check_isolation.execute(options)
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
            client,
            watched_kinds(secrets=settings.watch_secrets),
            namespaces=settings.watch_namespaces,
            own_namespace=settings.namespace,
        )
