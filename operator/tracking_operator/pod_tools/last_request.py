"""When a server was asked something last: noted by each process that serves, told to whoever asks at the pod's own address.

All processes of a pod note it in the time of one file. What was refused, or was not there, is no use of the server: others than its
users send such requests, too. The operator's own do not count either.
"""

import ipaddress
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tracking_operator.pod_tools.programs import OPERATORS_AGENT

NOT_COUNTED: Final = frozenset({401, 403, 404, 405})
SECONDS_BETWEEN_NOTES: Final = 1.0
"""A file that is touched for each of a thousand requests a second tells no more."""

Headers = Iterable[tuple[bytes, bytes]]


class LastRequest:
    """The file, as one process sees it."""

    def __init__(self, file: Path) -> None:
        self._file, self._noted = file, 0.0
        if not file.exists():  # a process that takes another one's place is no request
            file.touch()

    def note(self, status: int) -> None:
        """Note that a request is answered now."""
        now = time.monotonic()
        if status not in NOT_COUNTED and now - self._noted >= SECONDS_BETWEEN_NOTES:
            self._noted = now
            os.utime(self._file)

    def seconds_ago(self) -> int:
        """How long ago the last one was."""
        return max(0, int(time.time() - self._file.stat().st_mtime))


def is_by_the_operator(headers: Headers) -> bool:
    """Whether a request says that the operator has sent it."""
    return _value(headers, b"user-agent") == OPERATORS_AGENT.encode()


def is_at_the_pods_address(headers: Headers) -> bool:
    """Whether a request was sent to an address instead of a name. Ways in from outside lead to names."""
    host = _value(headers, b"host").decode("latin-1")
    address = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _value(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key.lower() == name), b"")
