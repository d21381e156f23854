"""How long nobody is active after the active operator ends, orderly or killed."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.operator_pods import NAMESPACE, OperatorError
from bench.report import Table
from bench.samples import Samples, duration, verdict
from bench.stage import Stage
from bench.watching import Sighting, Watcher, watching
from tracking_operator.kube.objects import LEASE

REPETITIONS: Final = 3
AFTER_RELEASE_SECONDS: Final = 2.0
AFTER_KILL_SECONDS: Final = 17.0


@dataclass(frozen=True)
class Takeovers:
    """How long it took, each time."""

    from_release: Samples
    from_sigterm: Samples
    from_sigkill: Samples


async def measure_takeover(stage: Stage) -> Takeovers:
    """End the active operator, several times orderly and several times by force."""
    repetitions = min(REPETITIONS, stage.repeat)
    released, stopped, killed = [], [], []
    async with watching(stage.kube, [LEASE], NAMESPACE) as leases:
        for _ in range(repetitions):
            from_sigterm, from_release = await _after_stop(stage, leases)
            stopped.append(from_sigterm)
            released.append(from_release)
        for _ in range(repetitions):
            killed.append(await _after_kill(stage, leases))
    await stage.operator.wait_until_ready()
    return Takeovers(Samples.of(released), Samples.of(stopped), Samples.of(killed))


async def _after_stop(stage: Stage, leases: Watcher) -> tuple[float, float]:
    """Seconds from the request to stop the active pod, and from its release of the Lease, to the successor."""
    active = await stage.operator.active_pod()
    before = await stage.operator.holder()
    since = leases.mark()
    asked = time.monotonic()
    await stage.operator.stop(active)
    released = await leases.first(_holder(lambda holder: holder == ""), "the Lease is released", since=since)
    taken = await leases.first(
        _holder(lambda holder: holder not in ("", before)), "a successor holds the Lease", since=since
    )
    return taken.moment - asked, taken.moment - released.moment


async def _after_kill(stage: Stage, leases: Watcher) -> float:
    """Seconds from the SIGKILL of the active process to its successor."""
    active, *_ = await stage.operator.processes()
    if not active.is_active:
        raise OperatorError("None of the operator's pods holds the Lease.")
    before = await stage.operator.holder()
    since = leases.mark()
    os.kill(active.pid, signal.SIGKILL)
    killed = time.monotonic()
    taken = await leases.first(
        _holder(lambda holder: holder not in ("", before)), "a successor holds the Lease", since=since
    )
    return taken.moment - killed


def _holder(is_so: Callable[[str], bool]) -> Callable[[Sighting], bool]:
    return lambda sighting: is_so(sighting.obj["spec"].get("holderIdentity") or "")


def takeover_table(takeovers: Takeovers) -> Table:
    """Tell how long the operator is without an active pod."""
    rows: Sequence[tuple[str, Samples, float | None]] = (
        ("Lease released → successor", takeovers.from_release, AFTER_RELEASE_SECONDS),
        ("active pod asked to stop → successor", takeovers.from_sigterm, None),
        ("active process killed → successor", takeovers.from_sigkill, AFTER_KILL_SECONDS),
    )
    return Table(
        "Takeover: until the other pod is active",
        ("what", "n", "p50", "worst", "aim (worst)"),
        tuple(
            (
                what,
                str(len(samples)),
                duration(samples.median),
                samples.worst,
                verdict(max(samples.seconds), limit, duration(limit)) if limit else "",
            )
            for what, samples, limit in rows
        ),
        ("The successor is active when the Lease names it; its cache is warm, so it works at once.",),
    )
