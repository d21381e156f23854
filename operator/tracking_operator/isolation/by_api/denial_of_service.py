"""What a team tries in order to be a burden to others: more than its share of anything, and answers without an end."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Final

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import MANAGED_BY_LABEL, SERVER_LABEL
from tracking_operator.api.reserved_names import POLICY_NAME as RESERVED_NAMES
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.isolation.attempts import (
    Area,
    Attempt,
    Book,
    By,
    CannotTryError,
    NotApplicable,
    Refused,
    Verdict,
)
from tracking_operator.isolation.by_api.scene import ApiScene
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, KubeObject

BOOK: Final = Book[ApiScene](Area.DENIAL_OF_SERVICE)
LIMITED: Final = "^(LimitExceeded|ConnectionBudgetTooSmall|NotPermitted|InvalidSpec)|^422|^403"
OPERATOR: Final = "the operator"
UNHARMED: Final = "^the operator was not restarted"
CONFIG_MAPS: Final = 150
SIZE: Final = 900_000
SECONDS_TO_LOOK: Final = 20.0
SHARE: Final = {"limits.maxBucketPolicyPercentPerNamespace": 8, "limits.maxServersPerNamespace": 20}
"""Of a bucket's policy: enough for two servers."""
MOST_SERVERS: Final = 6

AMOUNTS: Final[tuple[tuple[str, str, KubeObject], ...]] = (
    ("replicas", "ask for 500 replicas", {"replicas": 500}),
    (
        "memory",
        "ask for 4 TiB of memory",
        {"resources": {"requests": {"memory": "4Ti"}, "limits": {"memory": "4Ti"}}},
    ),
    ("cpu", "ask for 1,000 CPUs", {"resources": {"requests": {"cpu": "1000"}}}),
    (
        "connections",
        "ask for 5,000 database connections",
        {"backendStore": {"postgres": {"connectionLimit": 5000}}},
    ),
    ("workers", "ask for 10,000 workers", {"workers": 10_000}),
)


async def _ask(scene: ApiScene, spec: KubeObject) -> str:
    await scene.ask_for(spec)
    return "the operator carries it out"


for _name, _tried, _spec in AMOUNTS:
    BOOK.add(
        Attempt(
            f"denial-of-service/{_name}",
            Area.DENIAL_OF_SERVICE,
            By.TENANT,
            "the cluster",
            _tried,
            LIMITED,
            harmless=False,
        ),
        partial(_ask, spec=_spec),
    )


async def _scale(scene: ApiScene, replicas: int) -> str:
    """Set the number of replicas as `kubectl scale` and autoscalers do."""
    namespace, name = scene.own.namespace, "isolation-attempt"
    async with scene.a_server(name):
        change: KubeObject = {"op": "add", "path": "/spec/replicas", "value": replicas}
        await scene.tenant.json_patch(TRACKING_SERVER, namespace, name, [change], subresource="scale")
        return f"accepted with {(await scene.accepted(name)).spec.replicas} replicas"


BOOK.attempt("own-scale", "scale its server to 2 replicas", against="the cluster", harmless=False)(
    partial(_scale, replicas=2)
)
BOOK.attempt(
    "scale", "scale its server to 500 replicas", against="the cluster", refusal=LIMITED, harmless=False
)(partial(_scale, replicas=500))


@BOOK.attempt(
    "scale-deployment",
    "scale its server's Deployment to 20 replicas, past the TrackingServer",
    against="the cluster",
    refusal="^the operator has set it back to",
    harmless=False,
)
async def scale_past_the_server(scene: ApiScene) -> str:
    """What a class limits is limited in the Deployment, too, which a team may write."""
    victim = scene.victim
    place = (DEPLOYMENT, victim.own.namespace, victim.own.server)
    before = await scene.platform.get(*place)
    if before is None:
        raise CannotTryError("the server has no Deployment")
    change: KubeObject = {"op": "replace", "path": "/spec/replicas", "value": 20}
    scaled = await victim.tenant.json_patch(*place, [change], subresource="scale")
    for _ in range(int(SECONDS_TO_LOOK / 0.2)):
        live = await scene.platform.get(*place)
        if live and live["spec"]["replicas"] == before["spec"]["replicas"]:
            raise Refused(
                f"the operator has set it back to {live['spec']['replicas']} from {scaled['spec']['replicas']}"
            )
        await asyncio.sleep(0.2)
    return f"the Deployment has {scaled['spec']['replicas']} replicas"


@BOOK.attempt(
    "policy-share",
    "make servers until its share of the bucket's policy is full, while another team makes one",
    against="the bucket's policy, which all teams share",
    refusal="^the other team's new server is accepted; LimitExceeded: .*policy of bucket",
    harmless=False,
)
async def fill_the_policy(scene: ApiScene) -> str:
    """S3 allows a bucket 20 KB for all of its servers."""
    live = await scene.platform.get(TRACKING_SERVER_CLASS, None, scene.class_name)
    if (live or {}).get("spec", {}).get("s3", {}).get("isolation") == "abac" or not scene.own.prefix:
        raise NotApplicable("a server of this class takes nothing of a bucket's policy")
    async with scene.class_like("share", SHARE) as mine, AsyncExitStack() as made:
        refusal = ""
        for number in range(MOST_SERVERS):
            try:
                await made.enter_async_context(mine.a_server(f"{scene.mark}-share-{number}"))
            except Refused as error:
                refusal = str(error)
                break
        theirs = replace(scene.victim, class_name=mine.class_name)
        try:
            async with theirs.a_server(f"{scene.mark}-beside"):
                beside = "the other team's new server is accepted"
        except Refused as error:
            return f"the other team's new server is refused: {error}"
    if not refusal:
        return f"made {MOST_SERVERS} servers"
    raise Refused(f"{beside}; {refusal}")


@BOOK.attempt(
    "servers",
    "make one server more than the class allows",
    against="the cluster",
    refusal="^LimitExceeded",
    harmless=False,
)
async def make_too_many_servers(scene: ApiScene) -> str:
    """The class says how many a namespace may have."""
    live = await scene.platform.get(TRACKING_SERVER_CLASS, None, scene.class_name)
    limit = (live or {}).get("spec", {}).get("limits", {}).get("maxServersPerNamespace")
    if limit is None:
        return "the class sets no limit"
    there = len(await scene.tenant.list(TRACKING_SERVER, scene.own.namespace))
    names = [f"{scene.mark}-{number}" for number in range(limit - there + 1)]
    try:
        for name in names:
            await scene.tenant.create(scene.server(name, {}))
        for name in names:  # which of them is one too many depends on when they were made, to the second
            await scene.accepted(name)
    finally:
        for name in names:
            await scene.tenant.delete(TRACKING_SERVER, scene.own.namespace, name)
        for name in names:
            await scene.remove(name)
    return f"made {limit + 1} servers"


@BOOK.attempt(
    "long-lists",
    "make a server with 5,000 peers and 5,000 hosts",
    against="the operator's memory",
    refusal="^422|^400|^413",
)
async def ask_for_long_lists(scene: ApiScene) -> str:
    """Every list in the definition has an end."""
    spec: KubeObject = {
        "networkPolicy": {"from": [{"podSelector": {"matchLabels": {"n": str(n)}}} for n in range(5000)]},
        "access": {"allowedHosts": [f"host-{number}.example.com" for number in range(5000)]},
    }
    await scene.tenant.create(scene.server(scene.mark, spec), dry_run=True)
    return "the API server admits it"


@BOOK.attempt(
    "long-text",
    "make a server with a label of its pods that is 100 kB long",
    against="the operator's memory",
    refusal="^422|^400|^413",
)
async def ask_for_long_text(scene: ApiScene) -> str:
    """So has every text."""
    spec: KubeObject = {
        "podTemplate": {"annotations": {"text": "x" * 100_000}, "labels": {"text": "x" * 100_000}}
    }
    await scene.tenant.create(scene.server(scene.mark, spec), dry_run=True)
    return "the API server admits it"


async def require_unharmed(scene: ApiScene) -> str:
    """Raise Refused if neither the operator nor the other team has noticed anything."""
    after = await scene.operator_restarts()
    if after != scene.before:
        return f"the operator was restarted: {scene.before}, {after}"
    live = await scene.platform.get(TRACKING_SERVER, scene.other.namespace, scene.other.server)
    conditions = {one["type"]: one for one in (live or {}).get("status", {}).get("conditions", [])}
    ready = conditions.get(ConditionType.READY, {})
    if ready.get("status") != "True":
        return f"the other server is not Ready: {ready.get('reason')} {ready.get('message')}"
    raise Refused("the operator was not restarted, and the other server is Ready")


@BOOK.attempt(
    "config-maps",
    f"make {CONFIG_MAPS} ConfigMaps of 0.9 MB with the operator's labels",
    against="the operator's memory",
    refusal=f"{UNHARMED}|^403.*{RESERVED_NAMES}",
    harmless=False,
)
async def flood_the_cache(scene: ApiScene) -> str:
    """The API server refuses the labels; where it does not, the operator keeps nothing of objects that are not its own."""
    victim = scene.victim
    labels = {MANAGED_BY_LABEL: "tracking-operator", SERVER_LABEL: victim.own.server}
    names = [f"{scene.mark}-flood-{number}" for number in range(CONFIG_MAPS)]

    async def make(name: str) -> None:
        await victim.tenant.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": victim.own.namespace, "labels": labels},
                "data": {"x": "x" * SIZE},
            }
        )

    try:
        for start in range(0, CONFIG_MAPS, 10):
            await asyncio.gather(*(make(name) for name in names[start : start + 10]))
        await asyncio.sleep(3)
        return await require_unharmed(scene)
    finally:
        for start in range(0, CONFIG_MAPS, 10):
            await asyncio.gather(
                *(
                    victim.tenant.delete(CONFIG_MAP, victim.own.namespace, name)
                    for name in names[start : start + 10]
                )
            )


async def _touch(scene: ApiScene, limit: int) -> None:
    """Have the operator look into a server's database again, and wait until it has looked."""
    change: KubeObject = {
        "op": "add",
        "path": "/spec/backendStore",
        "value": {"postgres": {"connectionLimit": limit}},
    }
    namespace, name = scene.own.namespace, scene.own.server
    await scene.tenant.json_patch(TRACKING_SERVER, namespace, name, [change])

    def is_seen(server: TrackingServer) -> bool:
        ready = server.status.condition(ConditionType.READY)
        return ready is not None and ready.observed_generation == server.metadata.generation

    with suppress(CannotTryError):  # whether it can be looked into is for others to judge
        await scene.until(name, is_seen, "looked at", SECONDS_TO_LOOK)
    await asyncio.sleep(2)


@BOOK.attempt(
    "endless-answer",
    "let its database answer 600 rows of 1 MB where the schema's revision is",
    against=OPERATOR,
    refusal=UNHARMED,
    harmless=False,
)
async def answer_without_an_end(scene: ApiScene) -> str:
    """`alembic_version` may be a view."""
    victim = scene.victim
    seen = await victim.pods.run("flood")
    if seen["flood"].verdict is not Verdict.DONE:
        raise CannotTryError(f"no view could be made: {seen['flood'].words}")
    try:
        await _touch(victim, 70)
        return await require_unharmed(scene)
    finally:
        await victim.pods.run("drain")


@BOOK.attempt(
    "shadows",
    "leave shadows of functions, aggregates and operators in its database, and change connectionLimit",
    against="the class's admin",
    refusal="^the canary is silent",
    harmless=False,
)
async def shadow_the_catalog(scene: ApiScene) -> str:
    """What the operator runs there as the admin would sing."""
    victim = scene.victim
    seen = await victim.pods.run("plant")
    if seen["plant"].verdict is not Verdict.DONE:
        raise CannotTryError(f"nothing could be planted: {seen['plant'].words}")
    await _touch(victim, 72)
    found = (await victim.pods.run("look"))["look"]
    if found.verdict is Verdict.REFUSED:
        raise Refused(found.words)
    if found.verdict is Verdict.NOT_TRIED:
        raise CannotTryError(found.words)
    return found.words
