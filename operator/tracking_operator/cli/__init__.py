"""The ``tracking-operator`` command."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from tracking_operator.cli import check, crds, render, run
from tracking_operator.cli import open as open_command

COMMANDS = {"run": run, "crds": crds, "render": render, "check": check, "open": open_command}

ENDED_BY_SIGPIPE, ENDED_BY_SIGINT = 128 + signal.SIGPIPE, 128 + signal.SIGINT
"""How shells tell of programs that a signal has ended."""
NO_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Why what is printed cannot be written to a file."""


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
    try:
        exit_code: int = COMMANDS[options.command].execute(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_what_is_left()  # who reads has enough, as with `| head`
        return ENDED_BY_SIGPIPE
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        _drop_what_is_left()
        print(f"What was to be printed cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return ENDED_BY_SIGINT
    return exit_code


def _drop_what_is_left() -> None:
    """Give what is in the buffer a place to go to at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
