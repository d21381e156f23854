"""``tracking-operator crds``: the custom resource definitions."""

import argparse
import sys

from tracking_operator.api.crds import all_crds, as_yaml

SUMMARY = "Print the custom resource definitions of this version."
EXAMPLES = """examples:
  %(prog)s | kubectl apply --server-side -f -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options: none."""


def execute(_options: argparse.Namespace) -> int:
    """Print both definitions as YAML."""
    sys.stdout.write(as_yaml(*all_crds()))
    return 0
