"""``kubectl tracking completion``: what makes a shell complete commands, options and names of servers.

argcomplete finds the completions by the parser itself. Its shell functions ask the program by variables; kubectl asks a
program of its own for what follows the name of a plugin.
"""

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Final

SUMMARY = "Print what makes a shell complete this command: for bash, zsh, or kubectl itself."
EXAMPLES = """examples:
  source <(%(prog)s bash)                   # in ~/.bashrc
  source <(%(prog)s zsh)                    # in ~/.zshrc, after compinit
  %(prog)s kubectl > ~/.local/bin/kubectl_complete-tracking && chmod +x ~/.local/bin/kubectl_complete-tracking

kubectl completes `kubectl tracking` where a program kubectl_complete-tracking is in the PATH, and its own completion is on."""

PROGRAMS: Final = ("kubectl-tracking", "tracking-operator")
ASK: Final = "__complete"
"""The argument with which kubectl's program asks; nobody types it."""
FOR_KUBECTL: Final = f"""#!/bin/sh
# kubectl calls this for what follows `kubectl tracking`, and the words after it.
exec kubectl-tracking {ASK} "$@"
"""
NO_FILES: Final = ":4"
"""The last line of an answer to kubectl: names of files are not to be offered (github.com/spf13/cobra, ShellCompDirectiveNoFileComp)."""
SEPARATOR: Final = "\x0b"
"""Between argcomplete's answers, by its own default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("shell", choices=("bash", "zsh", "kubectl"), help="who is to complete")


def execute(options: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415 — the operator does without it

    if options.shell == "kubectl":
        sys.stdout.write(FOR_KUBECTL)
    else:
        print(shellcode(PROGRAMS, shell=options.shell))
    return 0


def complete_if_asked(parser: argparse.ArgumentParser) -> None:
    """Answer argcomplete's shell functions, which ends the process, or do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # noqa: PLC0415 — see above

        argcomplete.autocomplete(parser)


def answer_kubectl(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Print what may stand instead of the last of the words, each on a line."""
    from argcomplete import io as debugging  # noqa: PLC0415 — see above
    from argcomplete.completers import ChoicesCompleter  # noqa: PLC0415
    from argcomplete.finders import CompletionFinder  # noqa: PLC0415

    class Finder(CompletionFinder):
        """One that takes no file descriptor for its debugging, which may be somebody else's."""

        def _init_debug_stream(self) -> None:
            debugging.debug_stream = sys.stderr

    *before, last = words or ("",)
    line = " ".join(("program", *map(shlex.quote, before), last))
    os.environ |= {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line.encode()))}
    found = io.StringIO()
    nothing = ChoicesCompleter({})
    Finder()(
        parser,
        exit_method=lambda _: None,
        output_stream=found,
        append_space=False,
        default_completer=nothing,
    )
    for word in filter(None, found.getvalue().split(SEPARATOR)):
        print(word)
    print(NO_FILES)
    return 0
