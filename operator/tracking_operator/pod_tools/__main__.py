"""Starts a program of the archive, and gives its exit code.

    python3 -I tools.pyz PROGRAM …

The archive is a zip file with a ``__main__.py``, which Python runs as it is: nothing is installed or unpacked, and
modules import each other by their names in the operator's package.
"""

import importlib
import signal
import sys

from tracking_operator.pod_tools.checks import report
from tracking_operator.pod_tools.programs import PROGRAMS


def main() -> None:
    """Become the program that the command line names."""
    program, *arguments = sys.argv[1:] or [""]
    if program not in PROGRAMS:
        sys.exit(f"{program!r} is no program: name one of {', '.join(PROGRAMS)}.")
    end_when_told()
    try:
        module = importlib.import_module(f"{__package__}.{program.replace('-', '_')}")
        sys.exit(module.main(arguments))
    except ModuleNotFoundError as missing:
        sys.exit(without(str(missing.name)))


def without(module: str) -> int:
    """Tell the operator what the image lacks, which may be a team's own; return the exit code."""
    return report(
        "ImageIncomplete",
        f"The image has no Python module {module!r}, which this server needs for its stores: install it in the image, for the "
        "Python that 'python3' starts, or take the class's image.",
    )


def end_when_told() -> None:
    """End on SIGTERM: the first process of a container ignores it otherwise, and holds up the pod's deletion."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


if __name__ == "__main__":
    main()
