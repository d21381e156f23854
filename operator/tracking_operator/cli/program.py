"""What both programs of the command line are made of: a table of commands, and how a process of theirs ends."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from tracking_operator.cli.completion import complete_if_asked

ENDED_BY_SIGPIPE, ENDED_BY_SIGINT = 128 + signal.SIGPIPE, 128 + signal.SIGINT
"""How shells tell of programs that a signal has ended."""
NO_PLACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Why what is printed cannot be written to a file."""
DISTRIBUTION: Final = "tracking-operator"


class Command(Protocol):
    """One command: a module of this folder."""

    SUMMARY: str
    EXAMPLES: str
    """What stands at the end of its help; %(prog)s is how the command is called."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's options."""

    def execute(self, options: argparse.Namespace, /) -> int:
        """Do it, and return the exit code."""


@dataclass(frozen=True)
class Program:
    """A program of several commands, by the names that people type."""

    name: str
    description: str
    commands: Mapping[str, Command]

    def parser(self) -> argparse.ArgumentParser:
        """What understands the program's arguments."""
        parser = argparse.ArgumentParser(prog=self.name, description=self.description)
        parser.add_argument("--version", action="version", version=f"{self.name} {own_version()}")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, module in self.commands.items():
            command = commands.add_parser(
                name,
                help=module.SUMMARY,
                description=module.SUMMARY,
                epilog=module.EXAMPLES,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(command)
        return parser

    def run(self, arguments: Sequence[str] | None = None) -> int:
        """Run one command and return its exit code."""
        parser = self.parser()
        complete_if_asked(parser)
        options = parser.parse_args(arguments)
        try:
            exit_code = self.commands[options.command].execute(options)
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


def own_version() -> str:
    """The version of this package, as its installation says."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "of a source tree that is not installed"


def _drop_what_is_left() -> None:
    """Give what is in the buffer a place to go to at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
