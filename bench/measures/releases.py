"""How long each release of MLflow that is on offer takes to start, and what it has in memory then. Needs no cluster."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.report import Table
from bench.samples import Samples, duration
from dev.images.recipes import mlflow_versions
from dev.mlflow_process import mlflow_process

MEBIBYTE: Final = 2**20
REPETITIONS: Final = 3


@dataclass(frozen=True)
class Starts:
    """What was measured of one release."""

    version: str
    seconds: Samples
    """Until it answered."""
    memory: Sequence[int]
    """In bytes, when it had answered."""


def measure_releases() -> list[Starts]:
    """Start each release several times, by turns: a machine is not always as fast."""
    with tempfile.TemporaryDirectory(prefix="releases-") as name:
        folders = {version: Path(name) / version for version in mlflow_versions()}
        for version, folder in folders.items():
            folder.mkdir()
            # The first start makes the database's schema, which in a pod the init container does.
            _start(version, folder)
        rounds = [
            {version: _start(version, folder) for version, folder in folders.items()}
            for _ in range(REPETITIONS)
        ]
    return [
        Starts(version, Samples.of([one[version][0] for one in rounds]), [one[version][1] for one in rounds])
        for version in folders
    ]


def _start(version: str, folder: Path) -> tuple[float, int]:
    """Start a server once; the seconds until it answers, and its memory then."""
    with mlflow_process(folder, version, artifacts=str(folder / "artifacts"), variables={}) as server:
        return server.seconds_to_answer, server.memory()


def releases_table(measured: Sequence[Starts]) -> Table:
    """Tell how the releases differ."""
    oldest, *_ = measured
    rows = [
        (
            one.version,
            str(len(one.seconds)),
            duration(one.seconds.median),
            one.seconds.worst,
            f"{one.seconds.median - oldest.seconds.median:+.1f} s",
            f"{median(one.memory) / MEBIBYTE:.0f} MiB",
            f"{(median(one.memory) - median(oldest.memory)) / MEBIBYTE:+.0f} MiB",
        )
        for one in measured
    ]
    return Table(
        "The releases of MLflow: until a server answers, and its memory then",
        (
            "release",
            "n",
            "p50",
            "worst",
            f"time beside {oldest.version}",
            "memory (p50)",
            f"memory beside {oldest.version}",
        ),
        tuple(rows),
        (
            "As the container starts it, a process of this machine: one worker, SQLite whose schema is there already, no login. From the start of "
            "the process to the first 200 of `/health`, asked every 50 ms. Memory: what its processes have of their own (`RssAnon`).",
        ),
    )
