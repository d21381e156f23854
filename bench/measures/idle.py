"""What the operator costs while nothing is to do: memory, and calls at a restart and in no-op reconciles."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.calls import CallCount
from bench.operator_pods import Memory, OperatorError
from bench.report import Table
from bench.samples import duration, verdict
from bench.stage import Stage
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import DEPLOYMENT

MEMORY_AIM_KIB: Final = 100 * 1024
RESYNC_SECONDS: Final = 2
RESYNCING_SECONDS: Final = 10.0
FOREIGN_LABEL: Final = "/metadata/labels/somebody~1s-label"


@dataclass(frozen=True)
class Idle:
    """What the two pods occupy with a number of servers."""

    servers: int
    active: Memory
    standby: Memory


@dataclass(frozen=True)
class Noop:
    """Reconciles that found everything as it should be."""

    what: str
    servers: int
    reconciles: int
    count: CallCount


@dataclass(frozen=True)
class Restart:
    """What both pods called while they were replaced one after the other."""

    servers: int
    seconds: float
    count: CallCount


async def measure_memory(stage: Stage) -> Idle:
    """Read what both operator processes occupy when nothing is to do."""
    await stage.calls.settled()
    active, standby = await stage.operator.processes()
    return Idle(await _number_of_servers(stage), active.memory, standby.memory)


async def measure_restart(stage: Stage) -> tuple[Restart, list[Noop]]:
    """Replace both pods by ones that look at every server every two seconds, and count what they call."""
    servers = await _number_of_servers(stage)
    touched = await _measure_touches(stage)
    stage.calls.mark()
    started = time.monotonic()
    await stage.operator.reconfigure(resync=str(RESYNC_SECONDS))
    taken = time.monotonic() - started
    restart = Restart(servers, taken, await stage.calls.settled())
    resynced = await _measure_resyncs(stage, servers)
    await stage.operator.reconfigure(resync=None)
    return restart, [touched, resynced]


async def _measure_touches(stage: Stage) -> Noop:
    """Add a label that nobody minds to every server's Deployment."""
    await stage.calls.settled()
    before = await stage.operator.reconciles()
    stage.calls.mark()
    deployments = await stage.kube.list(DEPLOYMENT, label_selector="tracking-operator.dev/tracking-server")
    label: tuple[JsonPatchOperation, ...] = ({"op": "add", "path": FOREIGN_LABEL, "value": stage.run},)
    for deployment in deployments:
        await stage.stranger.change(deployment, label)
    count = await stage.calls.settled()
    reconciles = await stage.operator.reconciles() - before
    return Noop("somebody adds a label to the Deployment", len(deployments), reconciles, count)


async def _measure_resyncs(stage: Stage, servers: int) -> Noop:
    before = await stage.operator.reconciles()
    stage.calls.mark()
    await asyncio.sleep(RESYNCING_SECONDS)
    count = stage.calls.count()
    reconciles = await stage.operator.reconciles() - before
    if reconciles < servers:
        raise OperatorError(
            f"Only {reconciles} of {servers} servers were looked at: that they cost no call is not shown."
        )
    return Noop("resync", servers, reconciles, count)


async def _number_of_servers(stage: Stage) -> int:
    return len(await stage.kube.list(TRACKING_SERVER))


def memory_table(measured: list[Idle]) -> Table:
    """Tell what the pods occupy."""
    rows = [
        (
            f"{role}, {idle.servers} servers",
            _mib(memory.resident),
            _mib(memory.proportional),
            _mib(memory.peak),
            _aim(memory),
        )
        for idle in measured
        for role, memory in (("active", idle.active), ("standby", idle.standby))
    ]
    return Table(
        "Memory of an idle operator",
        ("pod", "resident", "proportional", "highest so far", "aim (resident)"),
        tuple(rows),
        (
            "MiB of the pod's process, from `/proc`: resident counts pages that both pods share in each of them, "
            "proportional counts them once.",
        ),
    )


def noop_table(measured: list[Noop]) -> Table:
    """Tell what a reconcile costs that finds nothing to do."""
    return Table(
        "API calls of reconciles that find nothing to do",
        ("what happens", "servers", "reconciles", "calls", "aim"),
        tuple(
            (
                each.what,
                str(each.servers),
                str(each.reconciles),
                str(each.count.total + each.count.events),
                verdict(each.count.total + each.count.events, 0, "0"),
            )
            for each in measured
        ),
        (
            f"Reconciles by the operator's own metrics, calls from the audit log, Lease renewals apart. "
            f"For the resync both pods were set to look at every server every {RESYNC_SECONDS} s, "
            f"for {RESYNCING_SECONDS:g} s. A label that nobody minds is not among what is kept of an object, so that it "
            "is no news, and nothing is looked at.",
        ),
    )


def restart_table(restart: Restart) -> Table:
    """Tell what a restart costs."""
    calls: Mapping[tuple[str, str], int] = restart.count.calls
    return Table(
        "API calls of a restart",
        ("call", "both pods together"),
        (
            *((f"{verb} {resource}", str(count)) for (verb, resource), count in sorted(calls.items())),
            ("**all writes**", str(restart.count.writes)),
            ("Events (apart)", str(restart.count.events)),
        ),
        (
            f"Both pods replaced one after the other in {duration(restart.seconds)}, with {restart.servers} healthy servers; "
            "without watches and Lease renewals. A SelfSubjectAccessReview is a question and writes nothing. "
            f"Aim: no write: {'met' if restart.count.writes == 0 else '**missed**'}.",
        ),
    )


def _mib(kibibytes: int) -> str:
    return f"{kibibytes / 1024:.0f}"


def _aim(memory: Memory) -> str:
    return f"≤ 100: {'met' if memory.resident <= MEMORY_AIM_KIB else '**missed**'}"
