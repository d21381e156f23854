"""How long until all objects of a new server exist, and what API calls that takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.calls import CallCount, is_write, sum_of
from bench.report import Table
from bench.samples import Samples, duration, ratio, verdict
from bench.servers import objects_of, tracking_server
from bench.stage import Floor, Stage
from bench.watching import Sighting, place_of
from tracking_operator.kube.objects import KubeObject

CHILDREN_AIM_SECONDS: Final = 0.060
FURTHER_WRITES_AIM: Final = 3
SERVERS_PER_REPETITION: Final = 5
"""A suspended server is cheap to make, and more of them make a better percentile."""


@dataclass(frozen=True)
class Creation:
    """One server that was made."""

    server: KubeObject
    asked: float
    """When it existed: the request was answered, or a watch showed it, by the monotonic clock."""
    children: tuple[Sighting, ...]
    since: int
    """The watcher's mark from before it was made."""

    @property
    def seconds_to_children(self) -> float:
        """How long until the last object existed."""
        return max(sighting.moment for sighting in self.children) - self.asked


@dataclass(frozen=True)
class Creations:
    """What came of making many suspended servers."""

    seconds: Samples
    counts: Sequence[CallCount]
    children: int


async def create(stage: Stage, namespace: str, *, suspend: bool) -> Creation:
    """Make one server and wait until all its objects exist."""
    since = stage.watcher.mark()
    server = await stage.kube.create(tracking_server(namespace, suspend=suspend))
    answered = time.monotonic()
    (seen,) = await stage.watcher.all_added([place_of(server)], since=since)
    children = await stage.watcher.all_added(map(place_of, objects_of(server)), since=since)
    return Creation(server, min(answered, seen.moment), tuple(children), since)


async def measure_creation(stage: Stage) -> Creations:
    """Make suspended servers one after the other, each in a namespace of its own; they stay."""
    seconds, counts = [], []
    children = 0
    for namespace in await stage.make_namespaces("created", stage.repeat * SERVERS_PER_REPETITION):
        stage.calls.mark()
        creation = await create(stage, namespace, suspend=True)
        counts.append(await stage.calls.settled())
        seconds.append(creation.seconds_to_children)
        children = len(creation.children)
    return Creations(Samples.of(seconds), counts, children)


def creation_table(creations: Creations, floor: Floor) -> Table:
    """Tell how long it takes until all objects exist."""
    taken = creations.seconds
    aim = verdict(taken.median, CHILDREN_AIM_SECONDS, duration(CHILDREN_AIM_SECONDS))
    return Table(
        "A new server: until all its objects exist",
        ("what", "n", "p50", "worst", "of the floor", "aim (p50)"),
        (
            (
                f"suspended server → all {creations.children} objects",
                str(len(taken)),
                duration(taken.median),
                taken.worst,
                ratio(taken.median, floor.all_objects.median),
                aim,
            ),
        ),
        (
            "From the answer to the request that makes the TrackingServer, or its ADDED event, if that comes first, "
            "to the arrival of the last object's ADDED event at a client outside the cluster. Suspended servers have every object but no pods, so that "
            "starting pods do not disturb. The floor is the same set of objects, applied side by side by that client.",
        ),
    )


def calls_table(creations: Creations) -> Table:
    """Tell the API calls of one creation, from the audit log."""
    every = sum_of(creations.counts)
    number = len(creations.counts)
    most = max(count.writes for count in creations.counts)
    limit = creations.children + FURTHER_WRITES_AIM
    rows = [
        (f"{verb} {resource}", "write" if is_write(verb, resource) else "read", f"{count / number:g}")
        for (verb, resource), count in sorted(every.calls.items())
    ]
    return Table(
        "API calls per new server",
        ("call", "kind", "per server"),
        (
            *rows,
            ("**all writes**", "", f"{every.writes / number:g}"),
            ("**all reads**", "", f"{every.reads / number:g}"),
            ("Events (apart)", "", f"{every.events / number:g}"),
        ),
        (
            f"Until the suspended server was settled; {number} servers, from the audit log, without Lease renewals. "
            f"The most writes for one server: {most}. "
            f"Aim: at most {creations.children} objects + {FURTHER_WRITES_AIM} = {limit} writes: "
            f"{'met' if most <= limit else '**missed**'}.",
        ),
    )
