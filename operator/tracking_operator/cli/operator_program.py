"""The ``tracking-operator`` command: the operator, and what is done about it."""

import sys
from collections.abc import Sequence
from typing import Final

from tracking_operator.cli import (
    backup,
    check,
    crds,
    environment,
    logs,
    render,
    rotate,
    run,
    status,
    suspend,
    upgrade,
    wake,
)
from tracking_operator.cli import open as open_command
from tracking_operator.cli.program import Program

PROGRAM: Final = Program(
    "tracking-operator",
    "Gives every team its own isolated MLflow tracking server.",
    {
        "run": run,
        "crds": crds,
        "render": render,
        "check": check,
        "open": open_command,
        "env": environment,
        "status": status,
        "logs": logs,
        "rotate": rotate,
        "suspend": suspend,
        "wake": wake,
        "upgrade": upgrade,
        "backup": backup,
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return PROGRAM.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
