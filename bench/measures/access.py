"""Servers behind an Ingress and a login: until their URL answers, and what the way costs beside MLflow started by hand."""

import asyncio
import base64
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp

from bench.by_hand import ServerByHand
from bench.client_pod import ClientPod
from bench.measures.databases import server_of
from bench.operator_pods import OperatorError
from bench.report import Table
from bench.samples import Samples, duration, verdict
from bench.servers import NAME, is_ready
from bench.stage import Stage
from dev.database import deploy_postgres
from dev.ingress import ClusterIngress, deploy_ingress_controller
from dev.object_store import deploy_object_store
from tracking_operator.api.marks import API_VERSION
from tracking_operator.kube.objects import SECRET, KubeObject, namespace_of
from tracking_operator.reconcile.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS

HOST: Final = "mlflow.bench.test"
REACHABLE_PATIENCE_SECONDS: Final = 180.0
POLL_SECONDS: Final = 0.1
REPLICAS: Final = (1, 2)
ROUNDS: Final = 5
REQUESTS: Final = 200
"""In each round, of each kind, to each server."""
CONNECTIONS: Final = 4
SLOWER_AIM: Final = 1.10
USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"

LOAD: Final = """
import json, sys, threading, time
import requests

settings = json.load(sys.stdin)
took = {}

def call(session, way, path, body):
    answer = session.post(way["url"] + "/api/2.0/mlflow/" + path, json=body)
    if not answer.ok:
        raise RuntimeError(f"{answer.status_code} {answer.text[:300]}")
    return answer.json()

def opened(way):
    session = requests.Session()
    session.headers["Host"] = way["host"] or session.headers.get("Host")
    session.auth = tuple(way["login"]) if way["login"] else None
    return session

def batch(step):
    return [{"key": f"m{number}", "value": number / 7, "timestamp": 1, "step": step} for number in range(50)]

for name, way in settings["ways"].items():
    session = opened(way)
    experiment = call(session, way, "experiments/create", {"name": f"load-{time.time()}"})["experiment_id"]
    runs = [call(session, way, "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"] for _ in range(48)]
    for run in runs:
        call(session, way, "runs/log-batch", {"run_id": run, "metrics": batch(0)[:10]})
    way["work"] = {
        "log-batch": lambda session, number, way=way, runs=runs: call(
            session, way, "runs/log-batch", {"run_id": runs[number % len(runs)], "metrics": batch(number)}),
        "search-runs": lambda session, number, way=way, experiment=experiment: call(
            session, way, "runs/search", {"experiment_ids": [experiment], "filter": "metrics.m1 > 0", "max_results": 50}),
    }

# Each connection has runs of its own, as programs do: 48 runs for 4 connections, and a step for every batch.
def share(way, work, numbers, latencies):
    session = opened(way)
    for number in numbers:
        begun = time.monotonic()
        work(session, number)
        latencies.append(time.monotonic() - begun)

def round_of(turn, name, way, kind):
    latencies = []
    connections, first_step = settings["connections"], (turn + 1) * settings["requests"]
    threads = [
        threading.Thread(target=share, args=(way, way["work"][kind], range(first_step + first, first_step + settings["requests"], connections), latencies))
        for first in range(connections)
    ]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(latencies) == settings["requests"], f"{name}: {len(latencies)} of {settings['requests']} {kind} succeeded"
    took.setdefault(f"{name} {kind} seconds", []).append(time.monotonic() - begun)
    took.setdefault(f"{name} {kind} latencies", []).extend(latencies)

ways = list(settings["ways"].items())
for number in range(settings["rounds"]):
    for kind in ("log-batch", "search-runs"):
        for name, way in ways if number % 2 == 0 else ways[::-1]:
            round_of(number, name, way, kind)
print(json.dumps(took))
"""


@dataclass(frozen=True)
class Load:
    """How one kind of request did against one server."""

    kind: str
    per_second: float
    """Requests, in the median round."""
    p99: float
    """Of all requests of all rounds, in seconds."""


@dataclass(frozen=True)
class Access:
    """Everything that was measured about servers behind an Ingress."""

    reachable: Samples
    """From the request that made a server until its URL answered a user of it with 200."""
    ready: Samples
    loads: Mapping[int, Mapping[str, Sequence[Load]]]
    """By replicas, then by the way there: each kind of request."""


OURS, WITHOUT_INGRESS, BY_HAND = "ours", "service", "hand"
WAYS: Final = {
    OURS: "Ingress, login, prefix",
    WITHOUT_INGRESS: "the same server, at its Service",
    BY_HAND: "started by hand, at its Service",
}


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
            await _remove(stage, namespace)
    by_hand = await ServerByHand.start(stage, namespaces[-1], postgres)
    client = await ClientPod.start(stage, namespaces[-1], store.endpoint)
    try:
        loads = {replicas: await _load(stage, ingress, client, by_hand, replicas) for replicas in REPLICAS}
    finally:
        await client.stop()
    reachable, ready = zip(*starts, strict=True)
    return Access(Samples.of(reachable), Samples.of(ready), loads)


async def _offer(stage: Stage, ingress: ClusterIngress, stores: KubeObject) -> str:
    name = f"bench-access-{stage.run}"
    access = {
        "ingress": {"className": ingress.class_name},
        "authentication": {"basic": {"defaultPermission": "READ"}},
        "networkPolicy": {"ingressFrom": [ingress.peer]},
    }
    spec = stores | {"naming": {"host": HOST, "path": "/{{ namespace }}"}, "access": access}
    await stage.kube.apply(
        {
            "apiVersion": API_VERSION,
            "kind": TRACKING_SERVER_CLASS.kind,
            "metadata": {"name": name},
            "spec": spec,
        }
    )
    return name


async def _start(
    stage: Stage, ingress: ClusterIngress, class_name: str, namespace: str
) -> tuple[float, float]:
    """Make a server; return the seconds until its URL answers its user, and until it is Ready."""
    since, asked = stage.watcher.mark(), time.monotonic()
    await stage.kube.create(server_of(class_name, namespace, NAME, {}))
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
    url = f"{ingress.url}/{namespace}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        async with asyncio.timeout(REACHABLE_PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            login = await _login(stage, namespace)
            while True:
                authorization = aiohttp.BasicAuth(*login)
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


async def _remove(stage: Stage, namespace: str) -> None:
    since = stage.watcher.mark()
    await stage.kube.delete(TRACKING_SERVER, namespace, NAME)
    await stage.watcher.first(
        lambda sighting: (
            sighting.change == "DELETED" and sighting.place == (TRACKING_SERVER, namespace, NAME)
        ),
        f"the server in namespace {namespace} is gone",
        since=since,
        patience=REACHABLE_PATIENCE_SECONDS,
    )


async def _load(
    stage: Stage, ingress: ClusterIngress, client: ClientPod, by_hand: ServerByHand, replicas: int
) -> Mapping[str, Sequence[Load]]:
    await by_hand.scale(replicas)
    await _scale(stage, client.namespace, replicas)
    login = await _login(stage, client.namespace)
    path = f"/{client.namespace}"
    ways = {
        OURS: {"url": f"{ingress.service_url}{path}", "host": HOST, "login": login},
        WITHOUT_INGRESS: {"url": f"http://{NAME}{path}", "host": "", "login": login},
        BY_HAND: {"url": by_hand.url, "host": "", "login": None},
    }
    settings = {"ways": ways, "rounds": ROUNDS, "requests": REQUESTS, "connections": CONNECTIONS}
    took = await client.run(LOAD, settings)
    return {way: [_load_in(took, way, kind) for kind in ("log-batch", "search-runs")] for way in ways}


async def _scale(stage: Stage, namespace: str, replicas: int) -> None:
    change = f'{{"spec":{{"replicas":{replicas}}}}}'
    words = ("--namespace", namespace, f"trackingserver/{NAME}")
    await asyncio.to_thread(stage.cluster.kubectl, "patch", *words, "--type=merge", f"--patch={change}")
    for condition in (f"jsonpath={{.status.replicas}}={replicas}", "condition=Ready"):
        await asyncio.to_thread(stage.cluster.kubectl, "wait", *words, f"--for={condition}", "--timeout=180s")


def _load_in(took: Mapping[str, Sequence[float]], way: str, kind: str) -> Load:
    seconds, latencies = took[f"{way} {kind} seconds"], took[f"{way} {kind} latencies"]
    return Load(kind, REQUESTS / statistics.median(seconds), Samples.of(latencies).percentile(99))


# Telling


def access_tables(found: Access) -> list[Table]:
    """Tell all of it."""
    return [_reachable_table(found), _load_table(found)]


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


def _load_table(found: Access) -> Table:
    rows = []
    for replicas, ways in found.loads.items():
        for way, loads in ways.items():
            for load, floor in zip(loads, ways[BY_HAND], strict=True):
                slower = floor.per_second / load.per_second
                aim = verdict(slower, SLOWER_AIM, "1.1 ×") if way == OURS else ""
                rows.append(
                    (
                        f"{load.kind}, {WAYS[way]}",
                        str(replicas),
                        f"{load.per_second:.0f}",
                        duration(load.p99),
                        "" if way == BY_HAND else f"{slower:.2f} ×",
                        aim,
                    )
                )
    return Table(
        "Requests through Ingress and login, beside the same MLflow started by hand",
        ("request, and the way there", "replicas", "per second (p50)", "p99", "time of by hand", "aim"),
        tuple(rows),
        (
            f"{ROUNDS} rounds by turns of {REQUESTS} requests each on {CONNECTIONS} connections, from one pod; per second: the median "
            "round; p99: of all. log-batch has 50 metrics, search-runs gives 48 runs. By hand: the same image and resources, the "
            "same PostgreSQL, no Ingress, login, prefix or NetworkPolicy. Servers, PostgreSQL, Traefik and the client share this "
            "machine's cores, so that what the Ingress takes is taken from all.",
        ),
    )
