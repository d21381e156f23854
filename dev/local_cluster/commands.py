"""Other programs, run to their end, whose failures become sentences."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.local_cluster.failures import ClusterError

LAST_LINES = 20
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    *command: str | Path,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 600,
) -> str:
    """Run `command` and return what it printed on stdout.

    Raises:
        ClusterError: it is not installed, does not end within `seconds`, or exits with another code than 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(f"`{words[0]}` is not installed; `make` run as root installs it.") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(words)}` did not end within {seconds:.0f} s.") from error
    if done.returncode != 0:
        raise ClusterError(
            f"`{' '.join(words)}` ended with code {done.returncode}:\n{_last_lines(done.stderr or done.stdout)}"
        )
    return done.stdout


def succeeds(*command: str | Path, env: Mapping[str, str] | None = None) -> bool:
    """Whether `command` exits with code 0."""
    return _exit_code([str(word) for word in command], env) == 0


def plain_environment() -> dict[str, str]:
    """An environment without proxies and credentials, for everything that runs in the cluster."""
    return {"PATH": SYSTEM_PATH, "HOME": os.environ.get("HOME", "/root"), "LANG": "C.UTF-8"}


def _exit_code(command: Sequence[str], env: Mapping[str, str] | None) -> int:
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])
