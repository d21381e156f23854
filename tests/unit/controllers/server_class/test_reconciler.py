"""The loop of a class: can servers be made from it?"""

from datetime import UTC, datetime
from typing import cast

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import POSTGRES, S3, SETTINGS, Manifest, placed, plan_of, server, tracking_class
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.api.tracking_server_class import PostgresStoreSpec
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.controllers.server_class.reconciler import (
    PROBE_SECONDS,
    ClassReconciler,
    class_result,
)
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.controllers.server_class.scratch_databases import scratch_owner
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Invalid, Unavailable
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.finalize import MarkedAccess

ROLE = "arn:aws:iam::123456789012:role"


@pytest.mark.parametrize(
    "naming",
    [
        {},
        {"host": "{{ name }}.{{ namespace }}.mlflow.example.com", "path": "/{{ class }}"},
        {"host": "{{ name }}.{{ namespaceLabels.stage }}.example.com", "path": "/{{ namespace }}"},
    ],
)
def test_a_class_whose_templates_work_can_be_used(naming: Manifest) -> None:
    assert class_result(tracking_class({"naming": naming})).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("naming", "named"),
    [
        ({"host": "{{ nme }}.example.com"}, "naming.host"),
        ({"host": "UPPER"}, "naming.host"),
        ({"path": "{{ name }}"}, "naming.path"),
        ({"path": "{{ 1 / 0 }}"}, "naming.path"),
    ],
)
def test_a_class_whose_template_is_broken_says_which(naming: Manifest, named: str) -> None:
    condition_result = class_result(tracking_class({"naming": naming}))
    assert (condition_result.verdict, condition_result.reason) == (Verdict.BLOCKED, Reason.INVALID_SPEC)
    assert named in condition_result.message
    assert "platform team" not in condition_result.message


AMBIGUOUS_ROLE = S3 | {
    "identity": {"irsa": {"roleArnTemplate": f"{ROLE}/{{{{ namespace }}}}-{{{{ name }}}}"}}
}
SHARED_SECRET = S3 | {"identity": {"secret": {"nameTemplate": "keys"}}}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"naming": {"host": "{{ name }}-{{ namespace }}.example.com"}},
            ("naming.host", "would both get", "Write {{ name }}.{{ namespace }}"),
        ),
        (
            {"naming": {"host": "{{ namespace }}.example.com"}},
            ("naming.host", "naming.path", "a.example.com/"),
        ),
        ({"naming": {"host": "mlflow.example.com", "path": "/{{ namespace }}"}}, ("mlflow.example.com/a",)),
        (
            {"naming": {"host": "{{ namespaceLabels.stage }}.example.com"}},
            ("naming.host", "cannot be proved"),
        ),
        ({"access": {"publicURL": "http://localhost:7006"}}, ("access.publicURL", "'localhost/'")),
        ({"s3": AMBIGUOUS_ROLE}, ("s3.identity.irsa.roleArnTemplate", "Write it like arn:aws:iam")),
        ({"s3": SHARED_SECRET}, ("s3.identity.secret.nameTemplate", "'keys'", "{{ name }}-s3")),
    ],
    ids=str,
)
def test_a_class_that_gives_two_servers_one_name_says_so_and_its_servers_are_refused(
    spec: Manifest, said: tuple[str, ...]
) -> None:
    condition_result = class_result(tracking_class(spec))
    assert (condition_result.verdict, condition_result.reason) == (Verdict.BLOCKED, Reason.AMBIGUOUS_TEMPLATE)
    assert [word for word in said if word not in condition_result.message] == []
    with pytest.raises(Invalid) as refusal:
        plan_of(server(), tracking_class(spec, is_default=True), namespace_labels={"stage": "test"})
    assert refusal.value.reason is Reason.AMBIGUOUS_TEMPLATE
    assert "sk the platform team" not in condition_result.message
    assert "Ask the platform team to write" in refusal.value.message


@pytest.mark.parametrize(
    "spec",
    [
        {
            "naming": {"host": "mlflow.example.com", "path": "/{{ namespace }}"},
            "limits": {"maxServersPerNamespace": 1},
        },
        {
            "naming": {"host": "mlflow.example.com", "path": "/{{ name }}"},
            "allowedNamespaces": {"matchLabels": {"kubernetes.io/metadata.name": "team-a"}},
        },
        {"naming": {"path": "/{{ namespace }}"}},
    ],
    ids=["one server a namespace", "one namespace", "no host"],
)
def test_a_class_whose_servers_cannot_meet_can_be_used(spec: Manifest) -> None:
    assert class_result(tracking_class(spec)).verdict is Verdict.OK


def test_prefixes_that_only_their_marks_keep_apart_are_told_and_given() -> None:
    shared = tracking_class({"s3": S3, "naming": {"artifactPrefix": "{{ name }}"}}, is_default=True)
    condition_result = class_result(shared)
    assert (condition_result.verdict, condition_result.reason) == (Verdict.OK, Reason.AMBIGUOUS_TEMPLATE)
    assert "naming.artifactPrefix" in condition_result.message
    plan_of(server(), shared)


def test_a_server_that_has_its_host_keeps_it_when_the_class_becomes_ambiguous() -> None:
    before = tracking_class({"naming": {"host": "{{ name }}.{{ namespace }}.example.com"}}, is_default=True)
    created = plan_of(server(), before)
    after = tracking_class({"naming": {"host": "{{ name }}-{{ namespace }}.example.com"}}, is_default=True)
    assert plan_of(server(status=placed(created)), after).placement.host == created.placement.host


async def test_the_status_is_written_once() -> None:
    api, cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
    metadata = {"name": "standard"}
    stored = api.store(
        {"apiVersion": API_VERSION, "kind": "TrackingServerClass", "metadata": metadata, "spec": {}}
    )
    cache.upsert(stored)
    postgres = PostgresAdmin(api.as_client(), cache, StoreExecutor(), SETTINGS.namespace)
    buckets = S3Admin(api.as_client(), cache, StoreExecutor(), SETTINGS.namespace)
    loop = ClassReconciler(
        api.as_client(),
        cache,
        postgres,
        buckets,
        GatewayApi(),
        settings=SETTINGS,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    for _ in range(2):
        assert await loop.reconcile("standard", resync=False) == Outcome()
    assert api.calls == ["apply TrackingServerClass/status"]
    conditions = api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
    assert [(one["type"], one["status"]) for one in conditions] == [("Ready", "True"), ("SpecValid", "True")]


class Postgres:
    """A class's PostgreSQL with what three servers left on it, one of which is there."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.left: frozenset[str] = frozenset()
        self.taken: list[str] = []
        self.admin = "admin"
        self.access_asked = 0
        self.stuck = ""
        self.namespace_uid = ""
        self.owners = ["living", "dead", "deader"]

    async def verify(
        self, class_name: str, class_store: PostgresStoreSpec, *, fresh: bool
    ) -> AdminConnection:
        if self.failure:
            raise self.failure
        return AdminConnection(
            PostgresServer(class_store.host), Login(self.admin, "secret"), ("It could be safer.",)
        )

    async def access_of_cluster(self, access: AdminConnection, cluster_name: str) -> tuple[MarkedAccess, ...]:
        self.access_asked += 1
        return tuple(
            MarkedAccess(
                Mark(cluster_name, "team-a", name, namespace_uid=self.namespace_uid).written,
                (f"{name}_a",),
                (name,),
            )
            for name in self.owners
        )

    async def take_access(self, access: AdminConnection, left: MarkedAccess) -> None:
        if self.stuck in left.databases:
            raise Unavailable(Reason.DELETION_BLOCKED, "Its sessions do not end.")
        self.taken += left.logins

    def left_behind(self, class_name: str) -> frozenset[str]:
        return self.left

    def settle(self, class_name: str, uids: frozenset[str]) -> None:
        self.left -= uids

    def evict(self, class_name: str) -> None:
        raise AssertionError("it has a PostgreSQL")


class PostgresWorld:
    """A class with a PostgreSQL and a server of it."""

    def __init__(self) -> None:
        self.api, self.cache, self.postgres = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL), Postgres()
        self.put("TrackingServerClass", "standard", {"postgres": POSTGRES})
        self.living = self.put("TrackingServer", "living", {}, namespace="team-a")
        self.loop = ClassReconciler(
            self.api.as_client(),
            self.cache,
            cast(PostgresAdmin, self.postgres),
            S3Admin(self.api.as_client(), self.cache, StoreExecutor(), SETTINGS.namespace),
            GatewayApi(),
            settings=SETTINGS,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )

    def put(self, kind: str, name: str, spec: Manifest, **metadata: object) -> Manifest:
        """Store an object where the loop sees it."""
        obj = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        stored = self.api.store(obj)
        self.cache.upsert(stored)
        return stored

    async def look(self, *, resync: bool = False) -> Manifest:
        """Look once; return the condition of the store."""
        self.api.calls.clear()
        assert await self.loop.reconcile("standard", resync=resync) == Outcome(requeue_after=PROBE_SECONDS)
        conditions = self.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
        (found,) = (one for one in conditions if one["type"] == "BackendStoreReady")
        return dict(found)


async def test_a_class_with_postgresql_is_looked_at_again_and_again_and_written_once() -> None:
    world = PostgresWorld()
    condition = await world.look()
    assert condition["status"] == "True"
    assert condition["message"] == "PostgreSQL at pg.db.svc:5432 can be used by admin. It could be safer."
    await world.look()
    assert world.api.calls == []
    world.postgres.admin = "another"
    await world.look()
    assert world.api.calls == ["apply TrackingServerClass/status"], "servers hear of another admin by this"


async def test_a_failure_is_said_with_its_reason() -> None:
    world = PostgresWorld()
    world.postgres.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    condition = await world.look()
    assert (condition["status"], condition["reason"]) == ("False", "StoreUnreachable")


async def test_a_class_of_a_newer_version_says_what_cannot_be_read_and_keeps_the_rest() -> None:
    world = PostgresWorld()
    await world.look()
    known = world.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]
    newer = known["spec"] | {"limits": {"maxReplicas": "many"}}
    world.cache.upsert(world.api.store(known | {"spec": newer}))
    outcome = await world.loop.reconcile("standard", resync=False)
    assert outcome == Outcome(reason="InvalidSpec")
    status = world.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]
    said = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert said["SpecValid"] == said["Ready"] == ("False", "InvalidSpec")
    assert said["BackendStoreReady"][0] == "True"
    assert "spec.limits.maxReplicas" in status["conditions"][0]["message"]


async def test_what_the_dead_have_left_is_looked_for_when_there_is_a_reason_to() -> None:
    world = PostgresWorld()
    await world.look()
    assert world.postgres.taken == ["dead_a", "deader_a"]
    await world.look()
    assert world.postgres.access_asked == 1, "nothing has happened since"
    await world.look(resync=True)
    assert world.postgres.access_asked == 2
    world.postgres.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    await world.look()
    world.postgres.failure = None
    await world.look()
    assert world.postgres.access_asked == 3
    assert world.postgres.taken == ["dead_a", "deader_a"] * 3


@pytest.mark.parametrize("end", ["remove", "note_finalized"])
async def test_a_server_that_left_logins_behind_is_seen_to_once_it_is_gone(end: str) -> None:
    world = PostgresWorld()
    await world.look()
    uid = world.living["metadata"]["uid"]
    world.postgres.left = frozenset({uid})
    await world.look()
    assert world.postgres.left == {uid}, "it is still there"
    getattr(world.cache, end)(world.living)
    await world.look()
    assert world.postgres.left == frozenset()
    assert "living_a" in world.postgres.taken


async def test_what_an_earlier_namespace_of_the_name_has_left_is_not_the_living_servers() -> None:
    world = PostgresWorld()
    world.cache.upsert(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a", "uid": "now"}}
    )
    world.postgres.namespace_uid = "now"
    await world.look()
    assert world.postgres.taken == ["dead_a", "deader_a"]
    world.postgres.namespace_uid = "of an earlier one"
    await world.look(resync=True)
    assert "living_a" in world.postgres.taken


async def test_a_backup_that_is_being_tried_out_lives_as_long_as_its_status_says_so() -> None:
    world = PostgresWorld()
    world.postgres.owners = [scratch_owner("nightly")]
    backup = world.put(
        "TrackingServerBackup", "nightly", {"serverRef": {"name": "living"}}, namespace="team-a"
    )
    world.cache.upsert(world.api.store(backup | {"status": {"scratchDatabase": "trial_1"}}))
    await world.look()
    assert world.postgres.taken == []
    world.cache.upsert(world.api.store(backup | {"status": {}}))
    await world.look(resync=True)
    assert world.postgres.taken == [f"{scratch_owner('nightly')}_a"]


async def test_what_one_server_has_left_keeps_neither_others_nor_the_class() -> None:
    world = PostgresWorld()
    world.postgres.stuck, world.postgres.left = "dead", frozenset({"the dead one's UID"})
    condition = await world.look()
    assert world.postgres.taken == ["deader_a"]
    assert condition["status"] == "True"
    assert world.postgres.left, "it is tried again"
    world.postgres.stuck = ""
    await world.look()
    assert "dead_a" in world.postgres.taken
    assert not world.postgres.left


def class_called_standard(spec: Manifest) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerClass",
        "metadata": {"name": "standard"},
        "spec": spec,
    }


def reconciler_of(api: MemoryApi, cache: ObjectCache, gateway_api: GatewayApi) -> ClassReconciler:
    """A reconciler of classes that may have stores, and a way in."""
    kube = api.as_client()
    return ClassReconciler(
        kube,
        cache,
        PostgresAdmin(kube, cache, StoreExecutor(), SETTINGS.namespace),
        S3Admin(kube, cache, StoreExecutor(), SETTINGS.namespace),
        gateway_api,
        settings=SETTINGS,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )


async def test_a_class_with_a_gateway_needs_the_gateway_api_and_looks_for_it_again() -> None:
    api, cache, gateway_api = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL), GatewayApi()
    gateway = {
        "naming": {"host": "{{ name }}.{{ namespace }}.example.com"},
        "access": {"gateway": {"parentRef": {"name": "public"}}},
    }
    cache.upsert(api.store(class_called_standard(gateway)))
    loop = reconciler_of(api, cache, gateway_api)

    def reason() -> str:
        conditions = api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
        found: str = next(one["reason"] for one in conditions if one["type"] == "SpecValid")
        return found

    outcome = await loop.reconcile("standard", resync=False)
    assert (reason(), outcome.requeue_after) == ("GatewayApiMissing", UNWATCHED_RETRY_SECONDS)
    assert gateway_api.is_wanted.is_set()
    gateway_api.is_served = True
    assert await loop.reconcile("standard", resync=False) == Outcome()
    assert reason() == "AsExpected"


async def test_a_class_whose_ingress_class_is_missing_says_so_and_looks_again_until_it_is_there() -> None:
    api, cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
    spec = {"access": {"ingress": {"className": "nginx"}, "authentication": {"basic": {}}}}
    cache.upsert(api.store(class_called_standard(spec)))
    loop = reconciler_of(api, cache, GatewayApi())

    def ready() -> tuple[str, str, str]:
        conditions = api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
        return next(
            (one["status"], one["reason"], one["message"]) for one in conditions if one["type"] == "Ready"
        )

    outcome = await loop.reconcile("standard", resync=False)
    assert outcome.requeue_after == UNWATCHED_RETRY_SECONDS
    assert ready()[:2] == ("False", "IngressClassNotFound")
    assert "'nginx'" in ready()[2]
    assert "platform team" not in ready()[2]
    api.store(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "nginx"},
            "spec": {},
        }
    )
    assert await loop.reconcile("standard", resync=False) == Outcome()
    assert ready()[:2] == ("True", "AsExpected")
