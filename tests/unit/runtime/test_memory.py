"""What tenants put into their namespaces does not fill the operator's memory: a real process, measured."""

import asyncio
import sys

import pytest

from tests.unit.runtime.flood import Flood

OBJECTS = 250
MOST_GROWTH_MIB = 64

FOLLOW = """
import asyncio, os, re, sys
from pathlib import Path
from kubernetes.aio.client import Configuration
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.controllers.watches import requests_for
from tracking_operator.runtime.informers import Informers
from tracking_operator.runtime.work_queue import WorkQueue

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024

async def main(url, objects):
    cache = ObjectCache(owner_label=SERVER_LABEL)
    async with KubeClient(Configuration(host=url)) as client:
        before = peak()
        informers = Informers(client, cache, WorkQueue(), requests_for)
        await informers.start()
        await informers.wait_until_synced()
        while len(cache) < objects:
            await asyncio.sleep(0.02)
        print(peak() - before, flush=True)
        os._exit(0)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def growth(flood: Flood, objects: int) -> int:
    """How many MiB a process that follows the flood has taken at most, beyond what it began with."""
    async with flood.serve() as url, asyncio.timeout(240):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FOLLOW, url, str(objects), stdout=asyncio.subprocess.PIPE
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return int(said)


@pytest.mark.parametrize(
    ("flood", "objects"),
    [
        (Flood("configmaps", "secrets", at_start=OBJECTS // 2), OBJECTS),
        (Flood("configmaps", "secrets", later=OBJECTS // 2), OBJECTS),
    ],
    ids=["listed", "watched"],
)
async def test_large_objects_of_a_team_cost_little(flood: Flood, objects: int) -> None:
    """225 MB of ConfigMaps and Secrets; the pod's limit is 256 MiB."""
    assert await growth(flood, objects) < MOST_GROWTH_MIB
