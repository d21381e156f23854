"""When, on which machine and of which versions figures are."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.report import Circumstances
from dev.development_cluster import DevelopmentCluster

ROOT: Final = Path(__file__).parent.parent
LIBRARIES: Final = ("kopf", "aiohttp", "pydantic", "kubernetes")


def circumstances(
    cluster: DevelopmentCluster, operator_image: str, repeat: int, load_before: float
) -> Circumstances:
    """Describe this run; ``load_before`` is the machine's load when nothing of it had begun."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return Circumstances(
        (
            *circumstances_without_cluster(load_before).lines,
            ("Kubernetes", _kubernetes(cluster)),
            ("operator", f"`{operator_image}`, {libraries}"),
            ("repetitions", str(repeat)),
        )
    )


def circumstances_without_cluster(load_before: float) -> Circumstances:
    """Describe a run of nothing but measures that say themselves what they measure, and how often."""
    return Circumstances(
        (
            ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
            ("commit", _commit()),
            ("machine", f"{os.cpu_count()} cores ({_processor()}), {_memory()}, Linux {platform.release()}"),
            ("load before the run (1 min)", load(load_before, os.cpu_count() or 1)),
        )
    )


def load(average: float, cores: int) -> str:
    """Write the machine's load, and warn where other work has slowed everything down."""
    warning = "; **other work was running on this machine: times are too long**"
    return f"{average:.1f}" + (warning if average > cores else "")


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", "operator", "manifests", "Dockerfile"
    )
    return f"`{commit}`" + (", with changes that are not committed" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    found = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return f"{int(found[1]) / 1024**2:.0f} GiB" if found else "memory unknown"


def _kubernetes(cluster: DevelopmentCluster) -> str:
    info = cluster.kubectl("get", "node", "--output=jsonpath={.items[0].status.nodeInfo.kubeletVersion}")
    return f"{info}, one node, everything on this machine"
