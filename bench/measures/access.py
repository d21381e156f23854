"""Servers behind an Ingress and a login: until their URL answers, and what the way costs beside MLflow started by hand."""

import asyncio
import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp

from bench.by_hand import ServerByHand
from bench.client_pod import ClientPod
from bench.measures.databases import server_of
from bench.measures.traffic import Loads, Target, measure_traffic, traffic_table
from bench.operator_pods import OperatorError
from bench.report import Table
from bench.samples import Samples, duration
from bench.servers import NAME, is_ready
from bench.stage import Stage
from dev.database import deploy_postgres
from dev.database.postgres import ClusterPostgres
from dev.ingress import ClusterIngress, deploy_ingress_controller
from dev.object_store import deploy_object_store
from tracking_operator.kube.objects import SECRET, KubeObject, namespace_of

HOST: Final = "mlflow.bench.test"
REACHABLE_PATIENCE_SECONDS: Final = 180.0
POLL_SECONDS: Final = 0.1
REPLICAS: Final = (1, 2)
WITHOUT_LOGIN: Final = "open"
SMALL: Final[KubeObject] = {
    "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
}
"""Eight pods side by side on a node of two cores; they may use all of them."""
USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


@dataclass(frozen=True)
class Stores:
    """What servers are made of."""

    class_name: str
    postgres: ClusterPostgres
    s3_endpoint: str


@dataclass(frozen=True)
class Access:
    """Everything that was measured about servers behind an Ingress."""

    reachable: Samples
    """From the request that made a server until its URL answered a user of it with 200."""
    ready: Samples
    traffic: Mapping[int, Loads]
    """By replicas."""


async def measure_access(stage: Stage) -> Access:
    """Start servers one after the other; put load on the last one and on one that was started by hand, by turns."""
    ingress = await asyncio.to_thread(deploy_ingress_controller, stage.cluster)
    store = await asyncio.to_thread(deploy_object_store, stage.cluster)
    postgres = await asyncio.to_thread(deploy_postgres, stage.cluster)
    s3 = {**store.class_spec(), "bucket": f"bench-access-{stage.run}"}
    name = await _offer(stage, ingress, {"postgres": postgres.class_spec(), "s3": s3})
    namespaces = await stage.make_namespaces("access", stage.repeat)
    starts = []
    for namespace in namespaces:
        starts.append(await _start(stage, ingress, name, namespace))
        if namespace != namespaces[-1]:
            await stage.remove_servers(namespace, [NAME], patience=REACHABLE_PATIENCE_SECONDS)
    reachable, ready = zip(*starts, strict=True)
    traffic = await _traffic(stage, ingress, Stores(name, postgres, store.endpoint), namespaces[-1])
    return Access(Samples.of(reachable), Samples.of(ready), traffic)


async def _traffic(
    stage: Stage, ingress: ClusterIngress, stores: Stores, namespace: str
) -> Mapping[int, Loads]:
    """Put load on the last server, on one without a login, and on two that were started by hand."""
    without_login: KubeObject = {"access": {"authentication": {"none": {}}}} | SMALL
    await stage.kube.create(server_of(stores.class_name, namespace, WITHOUT_LOGIN, without_login))
    hand = [
        await ServerByHand.start(stage, namespace, stores.postgres, has_login=has_login)
        for has_login in (False, True)
    ]
    client = await ClientPod.start(stage, namespace, stores.s3_endpoint)
    target = Target(
        ingress_url=ingress.service_url,
        host=HOST,
        open_path=f"/{namespace}/{WITHOUT_LOGIN}",
        login_path=f"/{namespace}/{NAME}",
        service_url=f"http://{NAME}",
        login=await _login(stage, namespace),
    )
    found = {}
    try:
        for replicas in REPLICAS:
            for server in hand:
                await server.scale(replicas)
            for name in (NAME, WITHOUT_LOGIN):
                await _scale(stage, namespace, name, replicas)
            found[replicas] = await measure_traffic(client, target, hand)
    finally:
        await client.stop()
    return found


async def _offer(stage: Stage, ingress: ClusterIngress, stores: KubeObject) -> str:
    access = {
        "ingress": {"className": ingress.class_name},
        "authentication": {"basic": {"defaultPermission": "READ"}},
        "networkPolicy": {"ingressFrom": [ingress.peer]},
    }
    spec = stores | {"naming": {"host": HOST, "path": "/{{ namespace }}/{{ name }}"}, "access": access}
    spec["permissions"] = {"anonymousAccess": True}
    return await stage.offer("access", spec)


async def _start(
    stage: Stage, ingress: ClusterIngress, class_name: str, namespace: str
) -> tuple[float, float]:
    """Make a server; return the seconds until its URL answers its user, and until it is Ready."""
    since, asked = stage.watcher.mark(), time.monotonic()
    await stage.kube.create(server_of(class_name, namespace, NAME, SMALL))
    reachable = asyncio.create_task(_until_reachable(stage, ingress, namespace))
    ready = await stage.watcher.first(
        lambda sighting: namespace_of(sighting.obj) == namespace and is_ready(sighting.obj),
        f"the server in namespace {namespace} is Ready",
        since=since,
        patience=REACHABLE_PATIENCE_SECONDS,
    )
    return await reachable - asked, ready.moment - asked


async def _until_reachable(stage: Stage, ingress: ClusterIngress, namespace: str) -> float:
    """The moment at which a client gets 200 through the Ingress."""
    url = f"{ingress.url}/{namespace}/{NAME}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        async with asyncio.timeout(REACHABLE_PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            authorization = aiohttp.BasicAuth(*await _login(stage, namespace))
            while True:
                async with session.get(url, headers={"Host": HOST}, auth=authorization) as answer:
                    if answer.status == HTTPStatus.OK:
                        return time.monotonic()
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise OperatorError(
            f"The server in namespace {namespace} did not answer through the Ingress in {REACHABLE_PATIENCE_SECONDS:g} s."
        ) from error


async def _login(stage: Stage, namespace: str) -> tuple[str, str]:
    """The user of the client Secret, as soon as it is there."""
    while True:
        secret = await stage.kube.get(SECRET, namespace, f"{NAME}-client")
        data = (secret or {}).get("data") or {}
        if USERNAME in data and PASSWORD in data:
            username, password = (base64.b64decode(data[key]).decode() for key in (USERNAME, PASSWORD))
            return username, password
        await asyncio.sleep(POLL_SECONDS)


async def _scale(stage: Stage, namespace: str, name: str, replicas: int) -> None:
    change = f'{{"spec":{{"replicas":{replicas}}}}}'
    words = ("--namespace", namespace, f"trackingserver/{name}")
    await asyncio.to_thread(stage.cluster.kubectl, "patch", *words, "--type=merge", f"--patch={change}")
    for condition in (f"jsonpath={{.status.replicas}}={replicas}", "condition=Ready"):
        await asyncio.to_thread(stage.cluster.kubectl, "wait", *words, f"--for={condition}", "--timeout=180s")


# Telling


def access_tables(found: Access) -> list[Table]:
    """Tell all of it."""
    return [_reachable_table(found), traffic_table(found.traffic)]


def _reachable_table(found: Access) -> Table:
    number = str(len(found.reachable))
    return Table(
        "A new server behind an Ingress, with a login: until its URL answers",
        ("what", "n", "p50", "worst"),
        (
            (
                "server → its URL answers a user with 200",
                number,
                duration(found.reachable.median),
                found.reachable.worst,
            ),
            ("server → Ready", number, duration(found.ready.median), found.ready.worst),
        ),
        (
            "One after the other, images on the node, database and prefix of its own, Traefik as the Ingress controller.",
        ),
    )
