"""How long until a new server with real pods is Ready, and where that time goes."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.calls import CallCount, sum_of
from bench.measures.creation import CHILDREN_AIM_SECONDS, Creation, create
from bench.report import Table
from bench.samples import Samples, duration, ratio, verdict
from bench.servers import is_ready
from bench.stage import Floor, Stage
from bench.watching import Sighting, place_of
from tracking_operator.kube.objects import POD, KubeObject, kind_of, namespace_of

READY_AIM_SECONDS: Final = 20.0
READY_PATIENCE_SECONDS: Final = 180.0

Matches = Callable[[Sighting], bool]


def _pod(is_so: Callable[[KubeObject], bool]) -> Matches:
    return lambda sighting: kind_of(sighting.obj) == POD and is_so(sighting.obj)


def _init_state(pod: KubeObject, *states: str) -> bool:
    containers = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return any(state in container["state"] for container in containers for state in states)


def _runs(pod: KubeObject) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (container.get("state") or {}) for container in containers)


def _pod_is_ready(pod: KubeObject) -> bool:
    return any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in (pod.get("status") or {}).get("conditions") or ()
    )


PHASES: Final[tuple[tuple[str, Matches], ...]] = (
    ("pod created", _pod(lambda pod: True)),
    ("volumes bound, pod scheduled", _pod(lambda pod: bool(pod["spec"].get("nodeName")))),
    (  # a container that ends at once is never reported as running
        "sandbox and volumes ready, init container runs",
        _pod(lambda pod: _init_state(pod, "running", "terminated")),
    ),
    ("schema brought up to date (init container ended)", _pod(lambda pod: _init_state(pod, "terminated"))),
    ("MLflow's container runs", _pod(_runs)),
    ("MLflow answers: pod Ready", _pod(_pod_is_ready)),
    ("Deployment available, status says Ready", lambda sighting: is_ready(sighting.obj)),
)


@dataclass(frozen=True)
class Start:
    """How one server with pods came up."""

    seconds_to_children: float
    seconds_to_phase: tuple[float, ...]
    """From the answer to the request to the end of each phase."""
    count: CallCount


async def measure_readiness(stage: Stage) -> list[Start]:
    """Start servers one after the other; each is deleted before the next one is made, the last one stays.

    Volumes stay: their deletion would run pods of the provisioner while the next server starts.
    """
    starts = []
    namespaces = await stage.make_namespaces("ready", stage.repeat)
    for namespace in namespaces:
        stage.calls.mark()
        creation = await create(stage, namespace, suspend=False)
        reached = await _phases(stage, creation, namespace)
        count = await stage.calls.settled()
        starts.append(Start(creation.seconds_to_children, reached, count))
        if namespace != namespaces[-1]:
            await _delete(stage, creation, namespace)
    return starts


async def _phases(stage: Stage, creation: Creation, namespace: str) -> tuple[float, ...]:
    reached = []
    for what, matches in PHASES:
        sighting = await stage.watcher.first(
            lambda sighting, matches=matches: (  # type: ignore[misc]
                namespace_of(sighting.obj) == namespace and matches(sighting)
            ),
            f"{what} in namespace {namespace}",
            since=creation.since,
            patience=READY_PATIENCE_SECONDS,
        )
        reached.append(sighting.moment - creation.asked)
    return tuple(reached)


async def _delete(stage: Stage, creation: Creation, namespace: str) -> None:
    since = stage.watcher.mark()
    await stage.kube.delete(*place_of(creation.server))
    await stage.watcher.first(
        _in_namespace(namespace, _pod_is_gone), f"the pod in namespace {namespace} is gone", since=since
    )
    await stage.calls.settled()


def _in_namespace(namespace: str, matches: Matches) -> Matches:
    return lambda sighting: namespace_of(sighting.obj) == namespace and matches(sighting)


def _pod_is_gone(sighting: Sighting) -> bool:
    return kind_of(sighting.obj) == POD and sighting.change == "DELETED"


def readiness_table(starts: Sequence[Start], floor: Floor) -> Table:
    """Tell how long it takes until a server with pods has its objects, and is Ready."""
    children = Samples.of([start.seconds_to_children for start in starts])
    ready = Samples.of([start.seconds_to_phase[-1] for start in starts])
    calls = sum_of(start.count for start in starts)
    number = len(starts)
    return Table(
        "A new server with real pods: until it is Ready",
        ("what", "n", "p50", "worst", "of the floor", "aim (p50)"),
        (
            (
                "server → all objects",
                str(number),
                duration(children.median),
                children.worst,
                ratio(children.median, floor.all_objects.median),
                verdict(children.median, CHILDREN_AIM_SECONDS, duration(CHILDREN_AIM_SECONDS)),
            ),
            (
                "server → Ready",
                str(number),
                duration(ready.median),
                ready.worst,
                "",
                verdict(ready.median, READY_AIM_SECONDS, duration(READY_AIM_SECONDS)),
            ),
        ),
        (
            "One after the other, image on the node, SQLite and volumes (`spec: {}`). "
            f"Until Ready the operator made {calls.writes / number:g} writes per server, "
            f"of which {calls.status_writes / number:g} of the status, {calls.reads / number:g} reads, "
            f"and {calls.events / number:g} Events.",
        ),
    )


def phases_table(starts: Sequence[Start]) -> Table:
    """Tell where the time until Ready goes."""
    rows = []
    before = [0.0] * len(starts)
    for number, (what, _) in enumerate(PHASES):
        reached = [start.seconds_to_phase[number] for start in starts]
        own = [max(0.0, now - then) for now, then in zip(reached, before, strict=True)]
        rows.append((what, duration(statistics.median(own)), duration(statistics.median(reached))))
        before = reached
    return Table("Where the time until Ready goes", ("phase", "p50", "p50 since the request"), tuple(rows))
