"""What processes take of the machine's processors."""

import os
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
IDLE, IO_WAIT = 3, 4


def seconds_of(pid: int) -> float:
    """The processor time that a process has taken, all its threads together (``/proc/PID/stat``, man 5 proc)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / TICKS_PER_SECOND


def busy_seconds() -> float:
    """The processor time that all processes of the machine have taken since it started (``/proc/stat``, man 5 proc)."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    ticks = [int(field) for field in line.split()[1:9]]
    return (sum(ticks) - ticks[IDLE] - ticks[IO_WAIT]) / TICKS_PER_SECOND
