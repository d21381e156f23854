"""What an honest team notices of hostile ones: its drift repair and its new server, in peace and beside attackers."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.attackers import CONFIG_MAPS, PATCHED_SERVERS, PATCHES_PER_SECOND, SERVERS, SLOW_READERS, attackers
from bench.measures.creation import create
from bench.measures.databases import PHASES, start_server
from bench.measures.drift import DRIFTS, seconds_to_repair
from bench.measures.floor import apply_one_by_one
from bench.processor import busy_seconds, seconds_of
from bench.report import Table
from bench.samples import Samples, duration, ratio, verdict
from bench.stage import Stage
from dev.database import deploy_postgres
from dev.local_cluster.progress import say

DRIFT_AIM: Final = 2.0
READY_AIM: Final = 1.5
MEMORY_AIM_MIB: Final = 256
SERVERS_PER_NAMESPACE: Final = 10
"""What a class permits unless it says otherwise."""
LIGHT_DRIFTS: Final = tuple(drift for drift in DRIFTS if drift.operations)
MOST_STARTS: Final = 4
APPLIES: Final = 50
ENOUGH_REPETITIONS: Final = 3
"""With fewer it is a trial, with a tenth of the attack."""


@dataclass(frozen=True)
class Honest:
    """How the honest team fared, and what the API server and the machine were at."""

    floor: Samples
    drift: Samples
    starts: Sequence[tuple[float, ...]]
    """For each new server the seconds to the end of each phase."""
    operator_share: float
    """Of one processor, by the active pod."""
    busy_processors: float

    @property
    def ready(self) -> Samples:
        """Seconds until a new server was Ready."""
        return self.phase(len(PHASES) - 1)

    def phase(self, number: int) -> Samples:
        """Seconds from a new server's request to the end of one of its phases."""
        return Samples.of([start[number] for start in self.starts])


@dataclass(frozen=True)
class Neighbours:
    """How it fared without attackers and with them, and the operator."""

    in_peace: Honest
    beside: Honest
    restarts: int
    peak_mib: float
    """The most memory that a process of the operator ever had."""
    part: int
    """What the numbers of the attack were divided by."""


async def measure_neighbours(stage: Stage) -> Neighbours:
    """Measure in peace, then with three attackers."""
    postgres = await asyncio.to_thread(deploy_postgres, stage.cluster)
    limits = {"maxServersPerNamespace": SERVERS_PER_NAMESPACE}
    class_name = await stage.offer("neighbours", {"postgres": postgres.class_spec(), "limits": limits})
    part = 1 if stage.repeat >= ENOUGH_REPETITIONS else 10
    restarts = await stage.operator.restarts()
    starts = min(stage.repeat, MOST_STARTS)
    # Beside attackers the operator is never at rest, which namespaces are made at.
    places = await stage.make_namespaces("honest", 2 * (starts + 1))
    in_peace = await _fare(stage, class_name, places[: starts + 1])
    async with attackers(stage, class_name, part):
        say("attackers are at work")
        beside = await _fare(stage, class_name, places[starts + 1 :])
        peak = max(process.memory.peak for process in await stage.operator.processes()) / 1024
        restarts = await stage.operator.restarts() - restarts
    return Neighbours(in_peace, beside, restarts, peak, part)


async def _fare(stage: Stage, class_name: str, namespaces: Sequence[str]) -> Honest:
    first, *others = namespaces
    active, *_ = await stage.operator.processes()
    began, busy, used = time.monotonic(), busy_seconds(), seconds_of(active.pid)
    floor = await apply_one_by_one(stage.kube, first, APPLIES)
    await create(stage, first, suspend=True)
    drift = [await seconds_to_repair(stage, one, first) for _ in range(stage.repeat) for one in LIGHT_DRIFTS]
    starts = [await start_server(stage, one, class_name, PHASES) for one in others]
    took = time.monotonic() - began
    return Honest(
        floor,
        Samples.of(drift),
        starts,
        operator_share=(seconds_of(active.pid) - used) / took,
        busy_processors=(busy_seconds() - busy) / took,
    )


def neighbours_table(found: Neighbours) -> Table:
    """Tell it beside the aims."""
    return Table(
        "An honest team beside three hostile ones",
        ("what", "n", "in peace (p50)", "beside attackers (p50)", "worst there", "ratio", "aim"),
        (
            _row("the floor: one apply of a ConfigMap", found.in_peace.floor, found.beside.floor),
            _row("drift repaired", found.in_peace.drift, found.beside.drift, DRIFT_AIM),
            *(
                _row(f"new server: {what}", found.in_peace.phase(number), found.beside.phase(number))
                for number, (what, _) in enumerate(PHASES[:-1])
            ),
            _row("new server with a database → Ready", found.in_peace.ready, found.beside.ready, READY_AIM),
            (
                "processors that the operator occupied, of those that were busy",
                "",
                f"{found.in_peace.operator_share:.2f} of {found.in_peace.busy_processors:.2f}",
                f"{found.beside.operator_share:.2f} of {found.beside.busy_processors:.2f}",
                "",
                "",
                "",
            ),
            (
                "restarts of the operator",
                "",
                "",
                str(found.restarts),
                "",
                "",
                verdict(found.restarts, 0, "0"),
            ),
            (
                "memory of the operator, peak",
                "",
                "",
                f"{found.peak_mib:.0f} MiB",
                "",
                "",
                verdict(found.peak_mib, MEMORY_AIM_MIB, f"{MEMORY_AIM_MIB} MiB"),
            ),
        ),
        (
            f"The attackers, all at once: databases whose table of MLflow's is locked, has other columns, or holds 600 MB; "
            f"{CONFIG_MAPS // found.part} ConfigMaps of 0.9 MB with the operator's labels; {SERVERS // found.part:,} TrackingServers in "
            f"one namespace, of which the class permits {SERVERS_PER_NAMESPACE}; {PATCHED_SERVERS} servers edited {PATCHES_PER_SECOND} times a second, each edit a new problem and so an "
            f"Event; a Service whose pods take requests and never answer; {SLOW_READERS} connections each to the ports of metrics "
            "and of probes that say nothing, or ask and do not read. They load the API server and the machine, too, "
            "which the honest team shares with them: the floor tells how much. Phases count from the request.",
        ),
    )


def _row(what: str, peace: Samples, beside: Samples, aim: float | None = None) -> tuple[str, ...]:
    times = beside.median / peace.median
    return (
        what,
        str(len(beside)),
        duration(peace.median),
        duration(beside.median),
        beside.worst,
        ratio(beside.median, peace.median),
        verdict(times, aim, f"{aim:g} ×") if aim else "",
    )
