"""The floor: what the API server takes for the same kind of work without an operator."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.report import Table
from bench.samples import Samples, duration
from bench.servers import objects_of, tracking_server, unowned
from bench.stage import Floor, Stage
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import KubeObject

APPLIES: Final = 400
CONCURRENCIES: Final = (1, 8)


async def measure_floor(stage: Stage) -> Floor:
    """Apply ConfigMaps at several concurrencies, and whole sets of a tracking server's objects."""
    (namespace,) = await stage.make_namespaces("floor", 1)
    latencies: dict[int, Samples] = {}
    rates: dict[int, float] = {}
    for concurrency in CONCURRENCIES:
        objects = [_config_map(namespace, f"floor-{concurrency}-{number}") for number in range(APPLIES)]
        started = time.monotonic()
        latencies[concurrency] = await _apply_all(stage.kube, objects, concurrency)
        rates[concurrency] = APPLIES / (time.monotonic() - started)
    return Floor(latencies[1], rates, await _measure_sets(stage))


def floor_table(floor: Floor) -> Table:
    """Tell the floor."""
    count = len(objects_of(_stored_server("any")))
    return Table(
        "The floor: the API server without an operator",
        ("what", "p50", "p99", "per second"),
        (
            (
                "server-side apply of a new ConfigMap, one at a time",
                duration(floor.apply.median),
                duration(floor.apply.percentile(99)),
                f"{floor.applies_per_second[1]:.0f}",
            ),
            ("the same, eight at a time", "", "", f"{floor.applies_per_second[8]:.0f}"),
            (
                f"the {count} objects of a tracking server, side by side",
                duration(floor.all_objects.median),
                floor.all_objects.worst,
                "",
            ),
        ),
        (
            f"{APPLIES} applies each, {len(floor.all_objects)} sets, through the operator's own client from outside the cluster.",
        ),
    )


async def _measure_sets(stage: Stage) -> Samples:
    taken = []
    for namespace in await stage.make_namespaces("floor-set", stage.repeat):
        objects = [unowned(obj) for obj in objects_of(_stored_server(namespace))]
        started = time.monotonic()
        await asyncio.gather(*(stage.kube.apply(obj) for obj in objects))
        taken.append(time.monotonic() - started)
    return Samples.of(taken)


async def apply_one_by_one(kube: KubeClient, namespace: str, count: int) -> Samples:
    """Apply new ConfigMaps, one after the other; return what each took."""
    return await _apply_all(kube, [_config_map(namespace, f"floor-{number}") for number in range(count)], 1)


async def _apply_all(kube: KubeClient, objects: Sequence[KubeObject], concurrency: int) -> Samples:
    waiting = iter(objects)
    taken: list[float] = []

    async def apply_next() -> None:
        for obj in waiting:
            started = time.monotonic()
            await kube.apply(obj)
            taken.append(time.monotonic() - started)

    await asyncio.gather(*(apply_next() for _ in range(concurrency)))
    return Samples.of(taken)


def _stored_server(namespace: str) -> KubeObject:
    server = tracking_server(namespace, suspend=True)
    return server | {"metadata": server["metadata"] | {"uid": "00000000-0000-4000-8000-000000000000"}}


def _config_map(namespace: str, name: str) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name},
        "data": {"MLFLOW_TRACKING_URI": f"http://{name}.{namespace}.svc.cluster.local"},
    }
