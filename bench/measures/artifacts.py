"""Servers with prefixes of their own: until they are Ready, many at once in one bucket, and the requests that takes."""

import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.aws import aws
from bench.client_pod import ClientPod
from bench.measures.databases import (
    NOWHERE,
    Phases,
    answers,
    condition,
    phases_table,
    pod,
    runs,
    server_of,
    start_server,
)
from bench.measures.throughput import measure_throughput, throughput_table
from bench.operator_pods import NAMESPACE as OPERATOR_NAMESPACE
from bench.operator_pods import OperatorError
from bench.report import Table
from bench.samples import Samples, duration, ratio, verdict
from bench.servers import NAME, is_ready
from bench.stage import Stage
from bench.store_requests import StoreRequest, StoreRequests, by_kind, without_probes
from bench.transfers import Throughput
from bench.watching import watching
from dev.database import deploy_postgres
from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore, deploy_object_store
from dev.object_store.manifests import NAME as DEPLOYMENT_OF_STORE
from tracking_operator.api.labels_and_annotations import WATCH_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import SECRET, KubeObject, name_of
from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.policy import PolicyPrincipals
from tracking_operator.stores.s3.tenant import Tenant

READY_AIM_SECONDS: Final = 30.0
POLICY_CROWD: Final = 30
TAGS_CROWD: Final = 100
CROWD_PATIENCE_SECONDS: Final = 600.0
CLASS_PATIENCE_SECONDS: Final = 60.0
RESYNC_SECONDS: Final = 5
RESYNCING_SECONDS: Final = 30.0
FOREIGN_LABEL: Final = "/metadata/labels"
PLAYED: Final = "aws-played"
IN_MEMORY: Final = "s3-in-memory"
"""The namespace of a store that keeps everything in memory. versitygw notes a bucket's policy in an attribute of its folder, which
on ext4 holds four kilobytes: a policy for thirty servers needs another file system."""

PHASES: Final[Phases] = (
    ("database, roles and Secret made, verified by a login", condition("BackendStoreReady")),
    ("prefix, user, statements and Secret made, tried out by a Job", condition("ArtifactStoreReady")),
    ("schema made (MLflow's own migrations), Job complete", condition("SchemaReady")),
    ("server's pod: init container, MLflow's container runs", pod(SERVER_COMPONENT, runs)),
    ("MLflow answers: pod Ready", pod(SERVER_COMPONENT, answers)),
    ("Deployment available, status says Ready", lambda sighting: is_ready(sighting.obj)),
)

BARE_ROUNDS: Final = """
import json, sys, tempfile, time
import boto3
from botocore.exceptions import ClientError

settings = json.load(sys.stdin)
with tempfile.NamedTemporaryFile("w") as ca:
    ca.write(settings["ca"])
    ca.flush()
    s3 = boto3.client("s3", aws_access_key_id=settings["id"], aws_secret_access_key=settings["secret"], endpoint_url=settings["endpoint"],
                      verify=ca.name)
    bucket, took = settings["bucket"], []
    s3.create_bucket(Bucket=bucket)
    for pair in settings["pairs"]:
        begun = time.monotonic()
        try:
            found = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        except ClientError:
            found = {"Version": "2012-10-17", "Statement": []}
        found["Statement"] += pair
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(found, separators=(",", ":")))
        took.append(time.monotonic() - begun)
print(json.dumps({"rounds": took}))
"""


@dataclass(frozen=True)
class Requests:
    """How many requests went to the object store."""

    per_create: Mapping[str, float]
    """By kind, per server."""
    creates: int
    looks: int
    """How many reconciles had nothing to do."""
    at_looks: int
    verifications: int
    per_verification: float
    per_look_at_class: float


@dataclass(frozen=True)
class Artifacts:
    """Everything that was measured about servers with prefixes of their own."""

    starts: Sequence[tuple[float, ...]]
    """For each server the seconds to the end of each phase."""
    throughput: Sequence[Throughput]
    requests: Requests
    floor: Sequence[float]
    """The seconds of each bare round of reading, merging and writing a policy."""
    by_policy: Samples
    """For each of many servers at once, the seconds from the first request until its Secret is there."""
    by_tags: Samples


async def measure_artifacts(stage: Stage) -> Artifacts:
    """Start servers one after the other, then many at once; count requests apart from all that."""
    store = await asyncio.to_thread(deploy_object_store, stage.cluster)
    roomy = await asyncio.to_thread(_store_in_memory, stage.cluster)
    postgres = await asyncio.to_thread(deploy_postgres, stage.cluster)
    s3 = {**store.class_spec(), "bucket": f"bench-{stage.run}"}
    name = await _offer(stage, "ready", {"postgres": postgres.class_spec(), "s3": s3})
    *before, last = await stage.make_namespaces("artifacts", stage.repeat)
    starts = [await start_server(stage, namespace, name, PHASES) for namespace in before]
    starts.append(await start_server(stage, last, name, PHASES, keep=True))
    client = await ClientPod.start(stage, last, store.endpoint)
    try:
        throughput = await measure_throughput(client, str(s3["bucket"]), f"{last}/{NAME}")
        floor = await _bare_rounds(stage, client, roomy)
    finally:
        await client.stop()
    await stage.kube.delete(TRACKING_SERVER, last, NAME)
    return Artifacts(
        starts,
        throughput,
        await _requests(stage, roomy),
        floor,
        await _crowd_by_policy(stage, roomy),
        await _crowd_by_tags(stage),
    )


def _store_in_memory(cluster: DevelopmentCluster) -> ClusterObjectStore:
    """A second store, whose folders are in memory; its admin is told to it again after its restart."""
    store = deploy_object_store(cluster, namespace=IN_MEMORY, storage=False)
    volumes = [{"name": "data", "emptyDir": {"medium": "Memory"}}]
    change = json.dumps({"spec": {"template": {"spec": {"volumes": volumes}}}})
    cluster.kubectl("patch", f"deployment/{DEPLOYMENT_OF_STORE}", "--namespace", IN_MEMORY, "--patch", change)
    store.wait_until_it_answers()
    return store


async def _offer(stage: Stage, what: str, spec: KubeObject) -> str:
    """Make a class and wait until its bucket can be used; return its name."""
    name = await stage.offer(what, spec)
    found: KubeObject | None = None
    try:
        async with asyncio.timeout(CLASS_PATIENCE_SECONDS):
            while not _is_usable(found):
                await asyncio.sleep(0.1)
                found = await stage.kube.get(TRACKING_SERVER_CLASS, None, name)
    except TimeoutError as error:
        status = (found or {}).get("status")
        raise OperatorError(
            f"The bucket of class {name} could not be used in {CLASS_PATIENCE_SECONDS:g} s: {status}"
        ) from error
    return name


def _is_usable(class_: KubeObject | None) -> bool:
    conditions = ((class_ or {}).get("status") or {}).get("conditions") or ()
    return any(one["type"] == "ArtifactStoreReady" and one["status"] == "True" for one in conditions)


# Requests


async def _requests(stage: Stage, store: ClusterObjectStore) -> Requests:
    """Make servers one after the other, leave them alone, and have them verified again and again."""
    s3 = {**store.class_spec(), "bucket": f"bench-requests-{stage.run}"}
    name = await _offer(stage, "requests", {"s3": s3})
    (namespace,) = await stage.make_namespaces("requests", 1)
    counted = StoreRequests(store)
    await counted.mark()
    await counted.settled()
    await counted.mark()
    names = [f"s{number}" for number in range(stage.repeat)]
    for server in names:
        await _until_secrets(stage, name, namespace, [server])
        await counted.settled()
    created = by_kind(without_probes(await counted.since()))
    looks, at_looks = await _looks_without_news(stage, counted, namespace)
    await stage.operator.reconfigure(resync=str(RESYNC_SECONDS))
    with_servers = await _resyncs(counted)
    await stage.remove_servers(namespace, names, patience=CROWD_PATIENCE_SECONDS)
    await asyncio.sleep(RESYNC_SECONDS)
    without = await _resyncs(counted)
    await stage.operator.reconfigure(resync=None)
    per_look = len(without) / max(1, _looks_at_classes(without))
    marks = sum(one.kind == "GET mark" for one in with_servers)
    own = len(with_servers) - per_look * _looks_at_classes(with_servers)
    return Requests(
        per_create={kind: count / len(names) for kind, count in created.items()},
        creates=len(names),
        looks=looks,
        at_looks=at_looks,
        verifications=marks,
        per_verification=own / marks if marks else 0.0,
        per_look_at_class=per_look + 1,  # and the HEAD, which counts as a probe
    )


def _looks_at_classes(requests: Sequence[StoreRequest]) -> int:
    return sum(one.begins_look_at_class for one in requests)


async def _looks_without_news(stage: Stage, counted: StoreRequests, namespace: str) -> tuple[int, int]:
    """Add a label that nobody minds to every server; return how many reconciles that made, and how many requests."""
    before = await stage.operator.reconciles()
    await counted.mark()
    for server in await stage.kube.list(TRACKING_SERVER, namespace):
        await stage.stranger.change(
            server, ({"op": "add", "path": FOREIGN_LABEL, "value": {"somebody": stage.run}},)
        )
    asked = await counted.settled()
    return await stage.operator.reconciles() - before, len(asked)


async def _resyncs(counted: StoreRequests) -> list[StoreRequest]:
    """What the operator asks in a while in which it looks at everything every few seconds."""
    await counted.mark()
    await asyncio.sleep(RESYNCING_SECONDS)
    return without_probes(await counted.since())


# Many at once


async def _bare_rounds(stage: Stage, client: ClientPod, store: ClusterObjectStore) -> Sequence[float]:
    """Read, merge and write a policy that grows as that of the crowd does, with nothing around it."""
    bucket = f"bench-floor-{stage.run}"
    names = (f"s{number:02}" for number in range(POLICY_CROWD))
    tenants = [Tenant.named(bucket, f"crowd/{name}", Mark("bench", "crowd", name)) for name in names]
    who = PolicyPrincipals((store.admin.access_key_id,))
    settings = {
        "id": store.admin.access_key_id,
        "secret": store.admin.secret_access_key,
        "ca": store.ca_certificate,
        "endpoint": store.endpoint,
        "bucket": bucket,
        "pairs": [policy.server_statements(tenant, who) for tenant in tenants],
    }
    return (await client.run(BARE_ROUNDS, settings))["rounds"]


async def _crowd_by_policy(stage: Stage, store: ClusterObjectStore) -> Samples:
    bucket = f"bench-crowd-{stage.run}"
    name = await _offer(stage, "crowd", {"s3": {**store.class_spec(), "bucket": bucket}})
    (namespace,) = await stage.make_namespaces("crowd", 1)
    names = [f"s{number:02}" for number in range(POLICY_CROWD)]
    seconds = await _until_secrets(stage, name, namespace, names)
    written = await asyncio.to_thread(replace(store, bucket=bucket).policy)
    pairs = sum(map(policy.is_of_a_server, policy.statements_of(written))) / 2  # type: ignore[arg-type]
    if pairs != POLICY_CROWD:
        raise OperatorError(f"The policy has {pairs:g} pairs of statements for {POLICY_CROWD} servers.")
    await stage.remove_servers(namespace, names, patience=CROWD_PATIENCE_SECONDS)
    return seconds


async def _crowd_by_tags(stage: Stage) -> Samples:
    with aws(stage.cluster.host_address) as endpoint:
        await stage.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": PLAYED,
                    "namespace": OPERATOR_NAMESPACE,
                    "labels": {WATCH_LABEL: "true"},
                },
                "stringData": {"accessKeyId": "anybody", "secretAccessKey": "anything"},
            }
        )
        s3 = {
            "bucket": f"bench-tags-{stage.run}",
            "endpoint": endpoint,
            "isolation": "abac",
            "identity": {"iamUser": {"endpoint": endpoint}},
            "adminSecretRef": {"name": PLAYED},
            "create": {},
        }
        name = await _offer(stage, "tags", {"s3": s3})
        (namespace,) = await stage.make_namespaces("tags", 1)
        names = [f"s{number:03}" for number in range(TAGS_CROWD)]
        seconds = await _until_secrets(stage, name, namespace, names)
        await stage.remove_servers(namespace, names, patience=CROWD_PATIENCE_SECONDS)
        await stage.kube.delete(TRACKING_SERVER_CLASS, None, name)
        return seconds


async def _until_secrets(stage: Stage, class_name: str, namespace: str, names: Sequence[str]) -> Samples:
    """Make servers at once, whose pods no node takes; wait for the Secrets, which come after everything in the store."""
    async with watching(stage.kube, (SECRET,), namespace) as secrets:
        started = time.monotonic()
        await asyncio.gather(
            *(stage.kube.create(server_of(class_name, namespace, name, NOWHERE)) for name in names)
        )
        return Samples.of(
            [
                (
                    await secrets.first(
                        lambda sighting, name=name: name_of(sighting.obj) == f"{name}-artifacts",  # type: ignore[misc]
                        f"server {name} has its keys",
                        since=0,
                        patience=CROWD_PATIENCE_SECONDS,
                    )
                ).moment
                - started
                for name in names
            ]
        )


# Telling


def artifact_tables(found: Artifacts) -> list[Table]:
    """Tell all of it."""
    return [
        _ready_table(found),
        phases_table("Where the time with both stores goes", PHASES, found.starts),
        _requests_table(found.requests),
        _crowd_table(found),
        throughput_table(found.throughput),
    ]


def _ready_table(found: Artifacts) -> Table:
    ready = Samples.of([reached[-1] for reached in found.starts])
    aim = verdict(ready.median, READY_AIM_SECONDS, duration(READY_AIM_SECONDS))
    return Table(
        "A new server with a database and a prefix of its own: until it is Ready",
        ("what", "n", "p50", "worst", "aim (p50)"),
        (("server → Ready", str(len(ready)), duration(ready.median), ready.worst, aim),),
        (
            "One after the other, images on the node, PostgreSQL 18 and versitygw in the cluster, both with TLS; no volume.",
        ),
    )


def _requests_table(found: Requests) -> Table:
    total = sum(found.per_create.values())
    kinds = ", ".join(f"{count:g} {kind}" for kind, count in sorted(found.per_create.items()))
    return Table(
        "Requests to the object store",
        ("what", "times", "requests each", "aim"),
        (
            ("a new server, until its Secret is there", str(found.creates), f"{total:g}", ""),
            (
                "a look that finds no news",
                str(found.looks),
                f"{found.at_looks / max(1, found.looks):g}",
                f"0: {'**missed**' if found.at_looks else 'met'}",
            ),
            (
                "a verification at a resync (every 10 minutes)",
                str(found.verifications),
                f"{found.per_verification:.2g}",
                "",
            ),
            ("a look at a class's bucket, at a resync", "", f"{found.per_look_at_class:.2g}", ""),
            ("a probe of a class's bucket, every 4 s", "", "1", ""),
        ),
        (
            f"From versitygw's own log, without probes; bucketPolicy with versitygw's users, no pod runs. A new server: {kinds}.",
        ),
    )


def _crowd_table(found: Artifacts) -> Table:
    floor = sum(found.floor)
    last = max(found.by_policy.seconds)
    rounds = statistics.median(found.floor)
    return Table(
        "Many servers at once in one bucket, until identity, policy and Secret are made",
        ("isolation", "servers", "p50", "last", "servers per second", "of the floor"),
        (
            (
                "bucketPolicy, versitygw's users",
                str(len(found.by_policy)),
                duration(found.by_policy.median),
                duration(last),
                f"{len(found.by_policy) / last:.1f}",
                ratio(last, floor),
            ),
            (
                "abac, IAM users",
                str(len(found.by_tags)),
                duration(found.by_tags.median),
                duration(max(found.by_tags.seconds)),
                f"{len(found.by_tags) / max(found.by_tags.seconds):.1f}",
                "",
            ),
        ),
        (
            f"From the first request; no pod runs. The floor is {len(found.floor)} bare rounds of reading, merging and writing such a "
            f"policy, one after the other from a pod with boto3: {duration(floor)} together, {duration(rounds)} each (p50). "
            "IAM and S3 of the second row are played by moto, one Python process on this machine, which says how fast "
            "moto is more than how fast AWS would be.",
        ),
    )
