"""``tracking-operator run``: the operator itself."""

import argparse
import asyncio
import sys

from tracking_operator.cli.program import own_version
from tracking_operator.runtime.operator import run
from tracking_operator.runtime.settings import OperatorSettings, SettingsError, read_settings

SUMMARY = "Run the operator until it is told to stop."
EXAMPLES = """examples:
  tracking-operator run                                  # in a pod, with its ServiceAccount
  KUBECONFIG=~/.kube/dev tracking-operator run           # on a laptop, against that cluster
  TRACKING_OPERATOR_LOG_LEVEL=DEBUG tracking-operator run

settings are environment variables:
""" + "\n".join(
    f"  TRACKING_OPERATOR_{name.upper():18} {field.description}"
    for name, field in OperatorSettings.model_fields.items()
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options: none, settings come from the environment."""


def execute(_options: argparse.Namespace) -> int:
    """Run the operator; the exit code is 0 after SIGTERM, 1 if it cannot start."""
    try:
        settings = read_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    return asyncio.run(run(settings, version=own_version()))
