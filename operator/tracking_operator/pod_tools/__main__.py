"""Starts a program of the archive, and gives its exit code.

    python3 -I tools.pyz PROGRAM …

The archive is a zip file with a ``__main__.py``, which Python runs as it is: nothing is installed or unpacked, and
modules import each other by their names in the operator's package.
"""

import importlib
import signal
import sys

from tracking_operator.pod_tools.programs import PROGRAMS


def main() -> None:
    """Become the program that the command line names."""
    program, *arguments = sys.argv[1:] or [""]
    if program not in PROGRAMS:
        sys.exit(f"{program!r} is no program: name one of {', '.join(PROGRAMS)}.")
    end_when_told()
    module = importlib.import_module(f"{__package__}.{program.replace('-', '_')}")
    sys.exit(module.main(arguments))


def end_when_told() -> None:
    """End on SIGTERM: the first process of a container ignores it otherwise, and holds up the pod's deletion."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


if __name__ == "__main__":
    main()
