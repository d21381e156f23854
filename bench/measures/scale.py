"""A thousand servers: how fast they come and go, what they take in memory, and what else the operator does beside them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bench.calls import CallCount
from bench.measures.databases import server_of
from bench.operator_pods import OperatorError
from bench.processor import busy_seconds, seconds_of
from bench.report import Table
from bench.samples import Samples, duration, verdict
from bench.servers import CHILD_KINDS
from bench.stage import Stage
from bench.watching import Sighting, Watcher, watching
from dev.database import deploy_postgres
from dev.local_cluster.progress import say
from tracking_operator.api.labels_and_annotations import GROUP, SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import DEPLOYMENT, SECRET, KubeObject, KubeObjects, name_of, namespace_of

SERVERS: Final = 1000
SERVERS_PER_REPETITION: Final = 100
"""Fewer repetitions than ten make fewer servers: a trial."""
SERVERS_PER_NAMESPACE: Final = 10
STEPS: Final = (0.25, 0.5, 1.0)
"""At which parts of the servers memory is read."""
WORKERS: Final = 8
"""The operator's, and how many sets of objects the floor makes at a time."""
FLOOR_PART: Final = 0.1
"""How many sets, of the number of servers, the floor makes before them, and again after them."""
EDITS: Final = 100
EDITS_PER_SECOND: Final = 2.0
RESYNC_SECONDS: Final = 60
QUIET_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 900.0
POLL_SECONDS: Final = 0.5

RATE_AIM: Final = 0.5
SERVER_AIM_MIB: Final = 0.06
MEMORY_AIM_MIB: Final = 160.0
EDIT_AIM_SECONDS: Final = 0.5
RESTART_AIM_SECONDS: Final = 15.0

_NAMED_BY_THE_API: Final = (
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
)


@dataclass(frozen=True)
class Use:
    """What both operator processes have taken by now."""

    active_mib: float
    standby_mib: float
    active_seconds: float
    standby_seconds: float
    """Of processor time."""


@dataclass(frozen=True)
class Step:
    """Servers that were made at once, after ``before`` others."""

    before: int
    servers: int
    seconds: float
    """From the first request until the last of them was settled."""
    active_seconds: float
    standby_seconds: float
    busy: float
    """Processors of the machine that were busy meanwhile."""
    use: Use
    """When all were settled."""

    @property
    def total(self) -> int:
        """How many servers there are after it."""
        return self.before + self.servers

    @property
    def rate(self) -> float:
        """Servers per second."""
        return self.servers / self.seconds


@dataclass(frozen=True)
class Restart:
    """Operators that began anew beside servers that were settled."""

    seconds: float
    """Until the active one had looked at every server, and had nothing more to do."""
    processor_seconds: float
    """What its process has taken of a processor by then, from its start on."""
    count: CallCount


@dataclass(frozen=True)
class Crowd:
    """Everything that was measured about servers of one class."""

    what: str
    objects: int
    """How many each server has."""
    floor: tuple[float, float]
    """Sets of the same objects per second, applied by this client before and after the servers were made."""
    empty: Use
    steps: Sequence[Step]
    creation: CallCount
    quiet: CallCount
    takeover: Restart
    restart: Restart
    edits: Samples
    requests: Samples
    """What the API server took to answer the edits themselves."""
    resynced: int
    """How many reconciles there were while servers were edited."""
    deletion_seconds: float
    after: Use
    """When all servers were gone."""

    @property
    def servers(self) -> int:
        """How many there were in the end."""
        return self.steps[-1].total

    @property
    def rate(self) -> float:
        """Servers per second, of all steps together."""
        return self.servers / sum(step.seconds for step in self.steps)

    @property
    def floor_rate(self) -> float:
        """The floor in the middle of the run."""
        return sum(self.floor) / len(self.floor)

    @property
    def mib_per_server(self) -> float:
        """What each server takes in the memory of the active operator."""
        return (self.steps[-1].use.active_mib - self.empty.active_mib) / self.servers


@dataclass
class Standing(Watcher):
    """Knows which servers are settled, and since when, and forgets everything else that it sees."""

    settled: dict[tuple[str, str], float] = field(default_factory=dict)
    gone: dict[tuple[str, str], float] = field(default_factory=dict)

    def remember(self, sighting: Sighting) -> None:
        """Take note of how a server stands."""
        server = namespace_of(sighting.obj) or "", name_of(sighting.obj)
        if sighting.change == "DELETED":
            self.gone[server] = sighting.moment
        elif is_settled(sighting.obj):
            self.settled.setdefault(server, sighting.moment)

    async def all_in(
        self, moments: dict[tuple[str, str], float], servers: Iterable[tuple[str, str]], what: str
    ) -> float:
        """Wait until all of the servers are in ``moments``; return when the last one came. Raises NotSeenError."""
        wanted = set(servers)
        started = said = time.monotonic()
        while missing := wanted - moments.keys():
            await asyncio.sleep(POLL_SECONDS)
            now = time.monotonic()
            if now - started > PATIENCE_SECONDS:
                raise OperatorError(
                    f"{len(missing)} of {len(wanted)} servers are not {what}, as {missing.pop()}."
                )
            if now - said > 10:
                said = now
                say(f"  {len(wanted) - len(missing)} of {len(wanted)} servers are {what}")
        return max(moments[one] for one in wanted)


def is_settled(server: KubeObject) -> bool:
    """Whether the operator has nothing more to do for a suspended server: its store is there, and the rest sleeps."""
    status = server.get("status") or {}
    if status.get("observedGeneration") != server["metadata"].get("generation"):
        return False
    reasons = {one["type"]: one["reason"] for one in status.get("conditions") or ()}
    has_database = bool((status.get("placement") or {}).get("database"))
    is_there = reasons.get("BackendStoreReady") == "AsExpected" or not has_database
    return reasons.get("WorkloadReady") == "Suspended" and is_there


async def measure_scale(stage: Stage) -> list[Crowd]:
    """Measure servers on volumes, then servers with a database each on one PostgreSQL."""
    count = min(SERVERS, SERVERS_PER_REPETITION * stage.repeat)
    volumes = await _measure(stage, "volumes", {}, count)
    postgres = await asyncio.to_thread(deploy_postgres, stage.cluster, max_connections=400)
    databases = await _measure(stage, "databases", {"postgres": postgres.class_spec()}, count)
    return [volumes, databases]


async def _measure(stage: Stage, what: str, stores: KubeObject, count: int) -> Crowd:
    class_name = await stage.offer(f"scale-{what}", stores)
    floor = round(count * FLOOR_PART)
    stage.watcher.overlooked = ()
    stage.calls.mark()
    (place,) = await stage.make_namespaces(f"scale-{what}-sample", 1)
    places = await _namespaces(stage, f"scale-{what}", count)
    before_places = await _namespaces(stage, f"scale-{what}-before", floor)
    after_places = await _namespaces(stage, f"scale-{what}-after", floor)
    # Reading what nobody here waits for would take time from those who are measured.
    stage.watcher.overlooked = (f'"namespace":"scale-{what}-'.encode(),)
    servers = [(places[number // SERVERS_PER_NAMESPACE], f"s{number:04}") for number in range(count)]
    async with _standing(stage) as standing:
        sets = await _sample(stage, standing, class_name, place)
        empty = await _use(stage)
        before = await _floor(stage, sets, before_places, floor)
        stage.calls.mark()
        steps: list[Step] = []
        for part in STEPS:
            chosen = servers[len(servers[: steps[-1].total if steps else 0]) : round(count * part)]
            steps.append(await _make(stage, standing, class_name, chosen, steps[-1].total if steps else 0))
        creation = stage.calls.count()
        after = await _floor(stage, sets, after_places, floor)
        say(f"{what}: {QUIET_SECONDS:g} s of silence")
        quiet = await _quiet(stage)
        active, _ = await stage.operator.processes()
        takeover = await _restarted(stage, count, [active.pod])
        both = await stage.operator.processes()
        restart = await _restarted(stage, count, [process.pod for process in both])
        await stage.operator.reconfigure(resync=str(RESYNC_SECONDS))
        await stage.operator.until_looked_at(count)
        edits, requests, resynced = await _edit(stage, servers)
        await stage.operator.reconfigure(resync=None)
        deletion = await _delete(stage, standing, servers)
        return Crowd(
            what,
            objects=len(sets),
            floor=(before, after),
            empty=empty,
            steps=steps,
            creation=creation,
            quiet=quiet,
            takeover=takeover,
            restart=restart,
            edits=edits,
            requests=requests,
            resynced=resynced,
            deletion_seconds=deletion,
            after=await _use(stage),
        )


@asynccontextmanager
async def _standing(stage: Stage) -> AsyncIterator[Standing]:
    standing = Standing()
    async with watching(stage.kube, [TRACKING_SERVER], watcher=standing):
        yield standing


async def _namespaces(stage: Stage, prefix: str, servers: int) -> Sequence[str]:
    return await stage.make_namespaces(prefix, -(-servers // SERVERS_PER_NAMESPACE))


async def _sample(stage: Stage, standing: Standing, class_name: str, namespace: str) -> KubeObjects:
    """Make one server, and return what the operator made for it, as anybody could apply it."""
    stage.calls.mark()
    await stage.kube.create(server_of(class_name, namespace, "sample", {"suspend": True}))
    await standing.all_in(standing.settled, [(namespace, "sample")], "settled")
    await stage.calls.settled()
    found: KubeObjects = []
    for kind in (*CHILD_KINDS, SECRET):
        found += await stage.kube.list(kind, namespace, f"{SERVER_LABEL}=sample")
    return [as_anybodys(obj) for obj in found]


def as_anybodys(obj: KubeObject) -> KubeObject:
    """Return an object as somebody else would apply it: without what the API server states, and unseen by the operator."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _NAMED_BY_THE_API}
    for words in ("labels", "annotations"):
        known = metadata.get(words) or {}
        metadata[words] = {key: value for key, value in known.items() if f"{GROUP}/" not in key}
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if not key.startswith("clusterIP")}
    rest = {key: value for key, value in obj.items() if key not in ("status", "spec", "metadata")}
    return rest | {"metadata": metadata} | ({"spec": spec} if spec else {})


async def _floor(stage: Stage, objects: KubeObjects, namespaces: Sequence[str], count: int) -> float:
    """Apply sets of objects, as many at a time as the operator has workers; return sets per second."""

    def set_of(number: int) -> KubeObjects:
        place = {"namespace": namespaces[number // SERVERS_PER_NAMESPACE]}
        return [
            obj | {"metadata": obj["metadata"] | place | {"name": f"{name_of(obj)}-{number}"}}
            for obj in objects
        ]

    async def apply_set(number: int) -> None:
        await asyncio.gather(*(stage.kube.apply(obj) for obj in set_of(number)))

    started = time.monotonic()
    await _side_by_side([partial(apply_set, number) for number in range(count)])
    rate = count / (time.monotonic() - started)
    say(f"floor: {count} sets of {len(objects)} objects, {rate:.1f} per second")
    return rate


async def _side_by_side(tasks: Sequence[Callable[[], Awaitable[object]]]) -> None:
    waiting = iter(tasks)

    async def work() -> None:
        for task in waiting:
            await task()

    await asyncio.gather(*(work() for _ in range(WORKERS)))


async def _make(
    stage: Stage, standing: Standing, class_name: str, servers: Sequence[tuple[str, str]], before: int
) -> Step:
    used, busy, started = await _use(stage), busy_seconds(), time.monotonic()
    await _side_by_side(
        [
            partial(stage.kube.create, server_of(class_name, namespace, name, {"suspend": True}))
            for namespace, name in servers
        ]
    )
    settled = await standing.all_in(standing.settled, servers, "settled")
    taken = settled - started
    busy = (busy_seconds() - busy) / (time.monotonic() - started)
    await stage.operator.until_idle()
    now = await _use(stage)
    step = Step(
        before,
        len(servers),
        taken,
        now.active_seconds - used.active_seconds,
        now.standby_seconds - used.standby_seconds,
        busy,
        now,
    )
    say(
        f"{step.total} servers: {step.rate:.1f} per second, active {now.active_mib:.0f} MiB and "
        f"{step.active_seconds:.0f} s, standby {now.standby_mib:.0f} MiB and {step.standby_seconds:.0f} s"
    )
    return step


async def _use(stage: Stage) -> Use:
    active, standby = await stage.operator.processes()
    return Use(
        active.memory.resident / 1024,
        standby.memory.resident / 1024,
        seconds_of(active.pid),
        seconds_of(standby.pid),
    )


async def _quiet(stage: Stage) -> CallCount:
    stage.calls.mark()
    await asyncio.sleep(QUIET_SECONDS)
    return stage.calls.count()


async def _restarted(stage: Stage, servers: int, pods: Sequence[str]) -> Restart:
    """Ask pods to stop; return when another one than these has looked at every server."""
    stage.calls.mark()
    started = time.monotonic()
    for pod in pods:
        await stage.operator.stop(pod)
    await stage.operator.until_looked_at(servers, other_than=pods)
    taken = time.monotonic() - started
    say(f"{servers} servers were looked at {taken:.1f} s after {len(pods)} of 2 pods were asked to stop")
    active, _ = await stage.operator.processes()
    return Restart(taken, seconds_of(active.pid), await stage.calls.settled())


async def _edit(stage: Stage, servers: Sequence[tuple[str, str]]) -> tuple[Samples, Samples, int]:
    """Edit servers here and there, at an even pace, while all of them are looked at again and again."""
    say(f"edit {EDITS} servers while every server is looked at every {RESYNC_SECONDS} s")
    before = await stage.operator.reconciles()
    chosen = [servers[number * len(servers) // EDITS % len(servers)] for number in range(EDITS)]
    async with watching(stage.kube, [DEPLOYMENT]) as deployments:
        taken = await asyncio.gather(
            *(_edited(stage, deployments, server, number) for number, server in enumerate(chosen))
        )
    resynced = await stage.operator.reconciles() - before
    answered = Samples.of([answered for answered, _ in taken])
    return Samples.of([seen for _, seen in taken]), answered, resynced


async def _edited(
    stage: Stage, deployments: Watcher, server: tuple[str, str], number: int
) -> tuple[float, float]:
    """Seconds from the request that changes a server's resources until it is answered, and until its Deployment has them."""
    await asyncio.sleep(number / EDITS_PER_SECOND)
    namespace, name = server
    wanted = f"{300 + number}m"
    since, sent = deployments.mark(), time.monotonic()
    await stage.kube.json_patch(
        TRACKING_SERVER,
        namespace,
        name,
        [{"op": "add", "path": "/spec/resources", "value": {"requests": {"cpu": wanted}}}],
    )
    answered = time.monotonic()
    seen = await deployments.first(
        lambda sighting: (
            namespace_of(sighting.obj) == namespace
            and name_of(sighting.obj) == name
            and wanted in json.dumps(sighting.obj["spec"]["template"]["spec"]["containers"][0]["resources"])
        ),
        f"the Deployment of {namespace}/{name} has the CPUs that were asked for",
        since=since,
    )
    return answered - sent, seen.moment - sent


async def _delete(stage: Stage, standing: Standing, servers: Sequence[tuple[str, str]]) -> float:
    started = time.monotonic()
    await _side_by_side(
        [partial(stage.kube.delete, TRACKING_SERVER, namespace, name) for namespace, name in servers]
    )
    gone = await standing.all_in(standing.gone, servers, "gone")
    await stage.operator.until_idle()
    return gone - started


def scale_tables(crowds: Sequence[Crowd]) -> list[Table]:
    """Tell how they came, and what went on beside them."""
    return [table for crowd in crowds for table in (_coming(crowd), _staying(crowd))]


def _title(crowd: Crowd) -> str:
    stores = "SQLite and volumes" if crowd.what == "volumes" else "a database each on one PostgreSQL"
    return f"{crowd.servers:,} suspended servers, {stores}"


def _coming(crowd: Crowd) -> Table:
    rows = [_step_row(step, crowd) for step in crowd.steps]
    share = crowd.rate / crowd.floor_rate
    return Table(
        f"{_title(crowd)}: until they are settled",
        (
            "servers",
            "time",
            "per second",
            "of the floor",
            "processor time of the active, the standby operator, per server",
            "resident, active (MiB)",
            "resident, standby (MiB)",
        ),
        (
            ("0", "", "", "", "", f"{crowd.empty.active_mib:.0f}", f"{crowd.empty.standby_mib:.0f}"),
            *rows,
            (
                "0, all deleted",
                duration(crowd.deletion_seconds),
                f"{crowd.servers / crowd.deletion_seconds:.1f}",
                "",
                "",
                f"{crowd.after.active_mib:.0f}",
                f"{crowd.after.standby_mib:.0f}",
            ),
        ),
        (
            f"The floor: the same {crowd.objects} objects as a server has, with the same content, applied by one client, {WORKERS} sets at a "
            f"time: {crowd.floor[0]:.1f} sets per second before the servers were made, {crowd.floor[1]:.1f} after. "
            f"All servers: {crowd.rate:.1f} per second, {share:.2f} of the floor (aim: ≥ {RATE_AIM:g}: "
            f"{'met' if share >= RATE_AIM else '**missed**'}), with {crowd.creation.writes / crowd.servers:.1f} writes and "
            f"{crowd.creation.reads / crowd.servers:.1f} reads each. "
            f"Memory: {crowd.mib_per_server:.3f} MiB per server (aim: "
            f"{verdict(crowd.mib_per_server, SERVER_AIM_MIB, f'{SERVER_AIM_MIB:g}')}), "
            f"{crowd.steps[-1].use.active_mib:.0f} MiB in the end (aim: "
            f"{verdict(crowd.steps[-1].use.active_mib, MEMORY_AIM_MIB, f'{MEMORY_AIM_MIB:g}')}). "
            f"Ten servers in each namespace; the machine's processors were busy by "
            f"{max(step.busy for step in crowd.steps):.1f} at most, with the API server, etcd, both operators and this client.",
        ),
    )


def _step_row(step: Step, crowd: Crowd) -> tuple[str, ...]:
    return (
        f"{step.before} → {step.total}",
        duration(step.seconds),
        f"{step.rate:.1f}",
        f"{step.rate / crowd.floor_rate:.2f}",
        f"{duration(step.active_seconds / step.servers)}, {duration(step.standby_seconds / step.servers)}",
        f"{step.use.active_mib:.0f}",
        f"{step.use.standby_mib:.0f}",
    )


def _staying(crowd: Crowd) -> Table:
    calls = crowd.quiet.total + crowd.quiet.events
    return Table(
        f"{_title(crowd)}: what goes on beside them",
        ("what", "measured", "writes", "aim"),
        (
            (
                f"{QUIET_SECONDS:g} s without a change",
                f"{calls} calls",
                str(crowd.quiet.writes),
                verdict(calls, 0, "0 calls"),
            ),
            _restart_row(
                "active pod asked to stop → its successor has looked at all servers", crowd.takeover
            ),
            _restart_row("both pods asked to stop → a new one has looked at all servers", crowd.restart),
            (
                "the request of an edit itself: p50, p99",
                f"{duration(crowd.requests.median)}, {duration(crowd.requests.percentile(99))}",
                "",
                "",
            ),
            (
                f"edit → its Deployment, p50 of {len(crowd.edits)}, {crowd.resynced} other looks meanwhile",
                duration(crowd.edits.median),
                "",
                "",
            ),
            (
                "edit → its Deployment, p99",
                duration(crowd.edits.percentile(99)),
                "",
                verdict(crowd.edits.percentile(99), EDIT_AIM_SECONDS, duration(EDIT_AIM_SECONDS)),
            ),
        ),
        (
            f"Writes and calls from the audit log. Edits change what a server asks of the processor, {EDITS_PER_SECOND:g} per second, "
            f"while every server is looked at every {RESYNC_SECONDS} s.",
        ),
    )


def _restart_row(what: str, restart: Restart) -> tuple[str, ...]:
    is_met = restart.seconds <= RESTART_AIM_SECONDS and restart.count.writes == 0
    return (
        what,
        f"{duration(restart.seconds)} ({duration(restart.processor_seconds)} of a processor)",
        str(restart.count.writes),
        f"≤ {duration(RESTART_AIM_SECONDS)}, 0 writes: {'met' if is_met else '**missed**'}",
    )
