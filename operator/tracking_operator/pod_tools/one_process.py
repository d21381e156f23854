"""One process in the place of two: what starts uvicorn becomes uvicorn.

``mlflow server`` imports MLflow, starts uvicorn as a child, which imports it again, and waits for it (3.16.1 to 3.18.0:
mlflow/server/__init__.py, ``_run_server``). So more than half of the memory of an idle server, about 220 MiB, was its parent's.
"""

import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType, ModuleType
from typing import Final, Protocol, TypeGuard

START_OF_UVICORN: Final = ["-m", "uvicorn"]
"""Behind the interpreter."""
JOBS_VARIABLE: Final = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
FALSE: Final = ("false", "0")
FIRST_PROCESS: Final = 1


class Execute(Protocol):
    """What ``mlflow.utils.process._exec_cmd`` does."""

    def __call__(
        self, cmd: object, *, extra_env: Mapping[str, str] | None = None, **options: object
    ) -> object:
        """Run a program."""


def become_uvicorn(process: ModuleType) -> None:
    """Have MLflow's process become uvicorn where it would start it, and have all others started as they are."""
    execute: Execute | None = getattr(process, "_exec_cmd", None)
    if execute is None:  # another release, which has its two processes
        return

    def execute_or_become(
        cmd: object, *, extra_env: Mapping[str, str] | None = None, **options: object
    ) -> object:
        if is_uvicorn(cmd) and not has_jobs(os.environ):
            program = [str(one) for one in cmd]
            sys.stdout.flush()
            sys.stderr.flush()
            os.execve(program[0], program, {**os.environ, **(extra_env or {})})  # noqa: S606 - no shell
        return execute(cmd, extra_env=extra_env, **options)

    process._exec_cmd = execute_or_become  # type: ignore[attr-defined]


def is_uvicorn(command: object) -> TypeGuard[list[object]]:
    """Whether a command is the one that serves."""
    return isinstance(command, list) and command[1:3] == START_OF_UVICORN


def has_jobs(environment: Mapping[str, str]) -> bool:
    """Whether MLflow runs jobs beside the server, which its first process starts and watches."""
    return environment.get(JOBS_VARIABLE, "").lower() not in FALSE


def end_when_told() -> None:
    """End a container's first process when it is told to, from its first moment.

    Linux gives such a process no signal that it has not asked for (man 7 pid_namespaces), and uvicorn asks only once it serves: a pod
    that is deleted while it starts would take its whole grace period.
    """
    if os.getpid() == FIRST_PROCESS:
        signal.signal(signal.SIGTERM, _end)


def _end(_signal: int, _frame: FrameType | None) -> None:
    # uvicorn has answered what it had to when it sends the signal again. Threads that still hang are not waited for.
    os._exit(0)
