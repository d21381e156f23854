"""Starting a program so that it outlives us, and finding it again without mistaking another process for it."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.local_cluster.cgroups import system_group
from dev.local_cluster.commands import plain_environment
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import Layout
from dev.local_cluster.waiting import wait_until

# Writes its own id, joins the cluster's group, enters the node's network and becomes the program: the id stays.
LAUNCHER = 'echo $$ >"$1" && echo $$ >"$2" && shift 2 && exec nsenter "$@"'


@dataclass(frozen=True)
class Process:
    """One started program; its start time tells it from a later process with the same id."""

    name: str
    pid: int
    started: int
    boot: str

    @property
    def is_running(self) -> bool:
        """Whether the program that was started still runs."""
        return self.boot == _boot() and _start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, and to no other process."""
        if self.is_running:
            os.kill(self.pid, number)


def start(layout: Layout, name: str, command: Sequence[str | Path], **environment: str) -> Process:
    """Start `command` in the node's network as a program of its own; its output goes to `logs/<name>.log`."""
    layout.processes.mkdir(parents=True, exist_ok=True)
    layout.logs.mkdir(parents=True, exist_ok=True)
    pid_file = layout.processes / f"{name}.pid"
    pid_file.unlink(missing_ok=True)
    words = [str(word) for word in command]
    group = system_group(layout) / "cgroup.procs"
    launch = ["sh", "-c", LAUNCHER, "sh", pid_file, group, f"--net={layout.namespace_file}", "--", *words]
    with (layout.logs / f"{name}.log").open("ab") as log:
        subprocess.run(
            ["setsid", "--fork", *map(str, launch)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**plain_environment(), **environment},
            check=True,
        )
    return _record(layout, name, pid_file)


def recorded_processes(layout: Layout) -> list[Process]:
    """The programs that were started, running or not."""
    return [Process(**json.loads(file.read_text())) for file in sorted(layout.processes.glob("*.json"))]


def last_lines(layout: Layout, name: str, count: int = 15) -> str:
    """The end of a program's log."""
    log = layout.logs / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else "(no log)"


def _record(layout: Layout, name: str, pid_file: Path) -> Process:
    wait_until(
        lambda: pid_file.exists() and pid_file.read_text().endswith("\n"),
        seconds=10,
        otherwise=lambda: f"{name} did not start: {last_lines(layout, name)}",
        interval=0.005,
    )
    pid = int(pid_file.read_text())
    started = _start_time(pid)
    if started is None:
        raise ClusterError(f"{name} ended at once: {last_lines(layout, name)}")
    process = Process(name, pid, started, _boot())
    (layout.processes / f"{name}.json").write_text(json.dumps(asdict(process)))
    pid_file.unlink()
    return process


def _start_time(pid: int) -> int | None:
    """Clock ticks after boot at which process `pid` started; None if it is gone or only waits to be reaped."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
