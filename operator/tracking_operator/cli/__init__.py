"""The ``tracking-operator`` command."""

import argparse
import sys
from collections.abc import Sequence

from tracking_operator.cli import check, crds, render, run
from tracking_operator.cli import open as open_command

COMMANDS = {"run": run, "crds": crds, "render": render, "check": check, "open": open_command}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="tracking-operator", description="Gives every team its own isolated MLflow tracking server."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    options = parser.parse_args(arguments)
    exit_code: int = COMMANDS[options.command].execute(options)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
