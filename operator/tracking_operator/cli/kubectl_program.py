"""``kubectl tracking``: the same commands as a plugin of kubectl, without the operator itself.

kubectl runs a program ``kubectl-tracking`` that is in the PATH for ``kubectl tracking``, with the words that follow.
"""

import sys
from collections.abc import Sequence
from typing import Final

from tracking_operator.cli import (
    backup,
    check,
    check_isolation,
    completion,
    environment,
    logs,
    render,
    rotate,
    status,
    suspend,
    upgrade,
    wake,
)
from tracking_operator.cli import open as open_command
from tracking_operator.cli.program import Program

PROGRAM: Final = Program(
    "kubectl tracking",
    "Looks after MLflow tracking servers that tracking-operator runs.",
    {
        "status": status,
        "open": open_command,
        "env": environment,
        "logs": logs,
        "rotate": rotate,
        "suspend": suspend,
        "wake": wake,
        "upgrade": upgrade,
        "backup": backup,
        "render": render,
        "check": check,
        "isolation": check_isolation,
        "completion": completion,
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == [completion.ASK]:
        return completion.answer_kubectl(PROGRAM.parser(), given[1:])
    return PROGRAM.run(given)


if __name__ == "__main__":
    sys.exit(main())
