"""How long until an object that somebody changed or deleted is right again, and what writes that takes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.calls import CallCount, sum_of
from bench.measures.creation import create
from bench.report import Table
from bench.samples import Samples, duration, ratio, verdict
from bench.stage import Floor, Stage
from bench.watching import Place, Sighting
from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    KubeObject,
)

DRIFT_AIM_SECONDS: Final = 0.050
WRITES_AIM: Final = 1
QUIET_SECONDS: Final = 0.3

Read = Callable[[KubeObject], object]


@dataclass(frozen=True)
class Drift:
    """One way in which an object of a server goes wrong."""

    kind: Kind
    name: str
    what: str
    operations: tuple[JsonPatchOperation, ...] = ()
    """None: the object is deleted."""
    read: Read = lambda obj: obj.get("spec")
    """What has to be as it was before."""


def _replace(path: str, value: object) -> tuple[JsonPatchOperation, ...]:
    return ({"op": "replace", "path": path, "value": value},)


def _add(path: str, value: object) -> tuple[JsonPatchOperation, ...]:
    return ({"op": "add", "path": path, "value": value},)


def _data(obj: KubeObject) -> object:
    return obj["data"]


def _component(obj: KubeObject) -> object:
    return obj["metadata"]["labels"].get(COMPONENT_LABEL)


def _mounts_token(obj: KubeObject) -> object:
    return obj["automountServiceAccountToken"]


_LABEL: Final = f"/metadata/labels/{COMPONENT_LABEL.replace('/', '~1')}"
_CONTAINER: Final = "/spec/template/spec/containers/0"
_PORT: Final = {"name": "other", "port": 8081, "protocol": "TCP", "targetPort": 8081}

DRIFTS: Final = (
    Drift(SERVICE_ACCOUNT, "mlflow", "deleted"),
    Drift(
        SERVICE_ACCOUNT,
        "mlflow",
        "value changed",
        _replace("/automountServiceAccountToken", value=True),
        _mounts_token,
    ),
    Drift(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store", "deleted"),
    Drift(
        PERSISTENT_VOLUME_CLAIM,
        "mlflow-backend-store",
        "label changed",
        _replace(_LABEL, "other"),
        _component,
    ),
    Drift(CONFIG_MAP, "mlflow-client", "deleted"),
    Drift(
        CONFIG_MAP,
        "mlflow-client",
        "value changed",
        _replace("/data/MLFLOW_TRACKING_URI", "http://elsewhere"),
        _data,
    ),
    Drift(CONFIG_MAP, "mlflow-client", "key added", _add("/data/OTHER", "value"), _data),
    Drift(SERVICE, "mlflow", "deleted"),
    Drift(SERVICE, "mlflow", "selector changed", _add("/spec/selector/other", "value")),
    Drift(SERVICE, "mlflow", "port number changed", _replace("/spec/ports/0/port", 8080)),
    Drift(SERVICE, "mlflow", "port added", _add("/spec/ports/-", _PORT)),
    Drift(DEPLOYMENT, "mlflow", "deleted"),
    Drift(DEPLOYMENT, "mlflow", "image changed", _replace(f"{_CONTAINER}/image", "elsewhere/mlflow:1")),
    Drift(
        DEPLOYMENT,
        "mlflow",
        "variable added",
        _add(f"{_CONTAINER}/env/-", {"name": "MLFLOW_OTHER", "value": "1"}),
    ),
)


@dataclass(frozen=True)
class Repairs:
    """How one kind of drift was put right, time after time."""

    drift: Drift
    seconds: Samples
    counts: Sequence[CallCount]


async def measure_drift(stage: Stage) -> list[Repairs]:
    """Do every kind of harm to one suspended server, time after time."""
    (namespace,) = await stage.make_namespaces("drift", 1)
    await create(stage, namespace, suspend=True)
    await stage.calls.settled()
    return [await _measure(stage, drift, namespace) for drift in DRIFTS]


async def _measure(stage: Stage, drift: Drift, namespace: str) -> Repairs:
    seconds, counts = [], []
    for _ in range(stage.repeat):
        stage.calls.mark()
        seconds.append(await seconds_to_repair(stage, drift, namespace))
        counts.append(await stage.calls.settled(QUIET_SECONDS))
    return Repairs(drift, Samples.of(seconds), counts)


async def seconds_to_repair(stage: Stage, drift: Drift, namespace: str) -> float:
    """Do one kind of harm to the server in a namespace; return how long it stays."""
    place: Place = (drift.kind, namespace, drift.name)
    before = await stage.kube.get(*place)
    if before is None:
        raise LookupError(f"{drift.kind} {namespace}/{drift.name} is not there to be harmed.")
    since = stage.watcher.mark()
    sent = time.monotonic()
    if drift.operations:
        await stage.stranger.change(before, drift.operations)
    else:
        await stage.kube.delete(*place)
    harm = await stage.watcher.first(
        lambda sighting: sighting.place == place and _is_harm(sighting, drift, before),
        f"{drift.kind} {namespace}/{drift.name} is wrong ({drift.what})",
        since=since,
    )
    repair = await stage.watcher.first(
        lambda sighting: (
            sighting.place == place and sighting.moment > harm.moment and _is_repair(sighting, drift, before)
        ),
        f"{drift.kind} {namespace}/{drift.name} is right again ({drift.what})",
        since=since,
    )
    # A claim's finalizer keeps it for a moment after the answer.
    is_kept = not drift.operations and before["metadata"].get("finalizers")
    return repair.moment - (harm.moment if is_kept else sent)


def _is_harm(sighting: Sighting, drift: Drift, before: KubeObject) -> bool:
    if not drift.operations:
        return sighting.change == "DELETED"
    return drift.read(sighting.obj) != drift.read(before)


def _is_repair(sighting: Sighting, drift: Drift, before: KubeObject) -> bool:
    if not drift.operations:
        return sighting.change == "ADDED"
    return drift.read(sighting.obj) == drift.read(before)


def drift_table(repairs: Sequence[Repairs], floor: Floor) -> Table:
    """Tell every kind of drift, and the worst of them."""
    return Table(
        "Drift: until an object that somebody touched is right again",
        (
            "object",
            "what happened to it",
            "p50",
            "worst",
            "of one apply",
            "writes (object + status)",
            "aim (p50)",
        ),
        tuple(_row(each, floor) for each in repairs),
        (
            f"n = {len(repairs[0].seconds)} each, on a suspended server. From the moment in which the stranger sends the "
            "request (the operator often has put the object right before that request is answered) to the arrival of "
            "the event that shows the object as it was, or its successor. A deleted claim, which its finalizer keeps "
            "for a moment, counts from its DELETED event. "
            "Writes are the mean of all writes until nothing more happened, from the audit log; "
            f"aim: {WRITES_AIM}.",
        ),
    )


def _row(repairs: Repairs, floor: Floor) -> tuple[str, ...]:
    count = sum_of(repairs.counts)
    number = len(repairs.counts)
    median = repairs.seconds.median
    return (
        f"{repairs.drift.kind} `{repairs.drift.name}`",
        repairs.drift.what,
        duration(median),
        repairs.seconds.worst,
        ratio(median, floor.apply.median),
        f"{(count.writes - count.status_writes) / number:g} + {count.status_writes / number:g}",
        verdict(median, DRIFT_AIM_SECONDS, duration(DRIFT_AIM_SECONDS)),
    )
