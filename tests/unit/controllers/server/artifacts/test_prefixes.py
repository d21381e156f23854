"""In which order a server's prefix, keys and Secret come about; the object store itself is tried on real servers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import S3, Manifest, model, s3_class, s3_store
from tests.unit.kube.counting_cache import CountingCache
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.artifacts.prefixes import (
    ArtifactPrefixes,
    PrefixMemory,
    PrefixState,
    WantedPrefix,
)
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.failures import Invalid, Unavailable
from tracking_operator.kube.objects import SECRET
from tracking_operator.resources.artifacts_secret import artifact_keys_in
from tracking_operator.stores.executor import StoreExecutor
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.provision import Provisioned
from tracking_operator.stores.s3.tenant import Admin
from tracking_operator.timings import Timings

WANTED = WantedPrefix(rotation="", rotate_every=None, must_exist=False)
ASKED = replace(WANTED, rotation="please")
ROLLED = replace(ASKED, is_rolled_out=True)


class ObjectStore:
    """An object store as the keys that work there, and a list of what it was asked."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.asked: list[str] = []
        self.working: list[str] = []
        self.made = 0
        self.failure: Unavailable | Invalid | None = None

    async def run_for(
        self, namespace: str, bucket: Bucket, work: Callable[..., object], *arguments: object
    ) -> object:
        """Answer one piece of work."""
        assert namespace == self.world.server.namespace
        self.asked.append(f"{work.__name__} while the Secret has {self.world.secret_key() or 'no key'}")
        if self.failure:
            raise self.failure
        keys = cast("Keys | None", arguments[2]) if len(arguments) > 2 else None
        match work.__name__:
            case "provision":
                if keys is None or keys.access_key_id not in self.working:
                    self.working = []
                    keys = self._make()
                return Provisioned(keys, has_other_keys=len(self.working) > 1)
            case "issue_keys":
                return self._make()
            case "revoke_keys":
                self.working = []
            case "retire_keys":
                assert keys
                self.working = [keys.access_key_id]
        return None

    def _make(self) -> Keys:
        self.made += 1
        self.working.append(f"key-{self.made}")
        return Keys(f"key-{self.made}", "secret")


class World:
    """One server, and the part of the loop that sees to its prefix."""

    def __init__(self, *, proxied: bool = True) -> None:
        self.api = MemoryApi()
        self.cache = CountingCache()
        self.objects = ObjectStore(self)
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.server = model({"artifactStore": {"s3": {}, "proxied": proxied}}, s3_class())
        self.store = s3_store(self.server)
        self.mark = Mark(
            "cluster", self.server.namespace, self.server.name, self.server.uid, "uid-of-namespace"
        )
        self.offer = S3StoreSpec.model_validate(S3)
        bucket = Bucket(self.offer.bucket, endpoint=self.offer.endpoint)
        self.access = BucketAccess(Admin(bucket, Keys("admin", "secret")))
        self.restart()

    def restart(self) -> None:
        """An operator with an empty memory."""
        executor = cast(StoreExecutor, self.objects)
        buckets = S3Admin(self.api.as_client(), self.cache, executor, "system")
        self.prefixes = ArtifactPrefixes(
            self.api.as_client(), self.cache, buckets, Timings(), lambda: self.now
        )
        self.memory = PrefixMemory()

    async def ensure(self, wanted: WantedPrefix = WANTED, *, fresh: bool = False) -> PrefixState:
        """Do so, and forget what was asked and written before."""
        self.objects.asked.clear()
        self.api.calls.clear()
        if fresh:
            self.memory.invalidate()
        store, class_store = self.store, self.offer
        return await self.prefixes.ensure(
            self.server, store, class_store, self.access, wanted, mark=self.mark, memory=self.memory
        )

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def secret(self) -> Manifest:
        return self.api.objects[(SECRET, "team-a", "mlflow-artifacts")]

    def secret_key(self) -> str | None:
        """The access key in the Secret, if there is one."""
        found = artifact_keys_in(self.api.objects.get((SECRET, "team-a", "mlflow-artifacts")))
        return found.access_key_id if found else None


async def test_a_settled_prefix_asks_nothing_and_writes_nothing() -> None:
    world = World()
    state = await world.ensure()
    assert state.keys
    assert (state.keys.access_key_id, world.secret_key()) == ("key-1", "key-1")
    assert world.objects.asked == ["provision while the Secret has no key"]
    await world.ensure()
    assert (world.objects.asked, world.api.writes) == ([], [])
    await world.ensure(fresh=True)
    assert world.objects.asked == ["provision while the Secret has key-1"]
    assert world.api.writes == []
    world.restart()
    await world.ensure()
    assert (world.objects.asked, world.api.writes) == (["provision while the Secret has key-1"], [])


async def test_keys_that_no_longer_work_are_replaced_in_the_secret() -> None:
    world = World()
    await world.ensure()
    world.objects.working.clear()
    state = await world.ensure(fresh=True)
    assert state.keys
    assert world.secret_key() == state.keys.access_key_id == "key-2"


async def test_a_failure_is_not_remembered_as_verified() -> None:
    world = World()
    world.objects.failure = Unavailable(Reason.STORE_UNREACHABLE, "No.")
    with pytest.raises(Unavailable):
        await world.ensure()
    world.objects.failure = None
    assert (await world.ensure()).keys


async def test_the_admin_goes_nowhere_but_to_the_bucket_of_the_class() -> None:
    world = World()
    for bucket in (Bucket("another", endpoint=world.offer.endpoint), Bucket(world.offer.bucket)):
        world.access = BucketAccess(Admin(bucket, Keys("admin", "secret")))
        with pytest.raises(Invalid) as refusal:
            await world.ensure()
        assert refusal.value.reason is Reason.RESOLVED_DIFFERS
        assert (world.objects.asked, world.api.calls) == ([], [])


async def test_old_keys_go_two_minutes_after_and_once_all_pods_have_the_new_ones() -> None:
    world = World()
    await world.ensure()
    state = await world.ensure(ASKED)
    assert state.keys
    assert (state.keys.access_key_id, state.is_rotating, world.secret_key()) == ("key-2", True, "key-2")
    assert world.objects.working == ["key-1", "key-2"]
    world.pass_seconds(100)
    assert (await world.ensure(ROLLED)).requeue_after == 20
    world.pass_seconds(20)
    assert (await world.ensure(ASKED)).is_rotating
    assert world.objects.working == ["key-1", "key-2"]
    assert not (await world.ensure(ROLLED)).is_rotating
    assert world.objects.working == ["key-2"]
    await world.ensure(ROLLED)
    assert (world.objects.asked, world.api.writes) == ([], [])


async def test_where_clients_have_keys_the_old_ones_work_for_an_hour() -> None:
    world = World(proxied=False)
    await world.ensure()
    await world.ensure(ASKED)
    world.pass_seconds(3599)
    assert (await world.ensure(ROLLED)).is_rotating
    world.pass_seconds(1)
    assert not (await world.ensure(ROLLED)).is_rotating


async def test_a_rotation_that_was_interrupted_is_finished_by_the_next_operator() -> None:
    world = World()
    await world.ensure()
    await world.ensure(ASKED)
    world.restart()
    world.pass_seconds(120)
    assert not (await world.ensure(ROLLED)).is_rotating
    assert world.objects.working == ["key-2"]


async def test_keys_that_are_old_enough_rotate_by_themselves() -> None:
    world = World()
    daily = replace(WANTED, rotate_every=86_400.0)
    await world.ensure(daily)
    world.pass_seconds(86_399)
    assert not (await world.ensure(daily)).is_rotating
    world.pass_seconds(1)
    assert (await world.ensure(daily)).is_rotating


async def test_what_has_to_exist_for_a_prefix_follows_from_the_class() -> None:
    world = World()
    await world.ensure()
    assert world.memory.verified
    tenant = world.memory.verified.desired.tenant
    assert (tenant.bucket, tenant.prefix) == ("ml-artifacts", "team-a/mlflow")
    assert (tenant.mark.cluster, tenant.mark.namespace, tenant.mark.name) == ("cluster", "team-a", "mlflow")


def test_the_finding_names_the_place_and_no_secret() -> None:
    condition_result = PrefixState(None, remarks=("It could be safer.",)).result(
        World().store.evidence().place
    )
    assert (condition_result.verdict, condition_result.reason) == (Verdict.OK, Reason.AS_EXPECTED)
    assert (
        condition_result.message == "Artifacts are under s3://ml-artifacts/team-a/mlflow. It could be safer."
    )


async def test_a_revocation_makes_every_key_void_before_there_is_another() -> None:
    world = World()
    await world.ensure()
    await world.ensure(ASKED)

    state = await world.ensure(replace(ASKED, is_revoked=True))

    assert world.objects.asked == [
        "revoke_keys while the Secret has key-2",
        "provision while the Secret has key-2",
    ]
    assert state.keys
    assert (state.is_rotating, world.objects.working) == (False, [state.keys.access_key_id])
    assert world.secret_key() == state.keys.access_key_id == "key-3"
    await world.ensure(ASKED)
    assert (world.objects.asked, world.api.writes) == ([], [])


async def test_servers_beside_it_are_counted_and_not_looked_into() -> None:
    world = World()
    names = [world.server.name, *(f"other-{number}" for number in range(20))]
    for name in names:
        metadata = {"name": name, "namespace": world.server.namespace, "resourceVersion": "1"}
        world.cache.upsert({"apiVersion": API_VERSION, "kind": "TrackingServer", "metadata": metadata})
    await world.ensure(fresh=True)
    assert world.memory.verified
    share = world.memory.verified.desired.share
    assert share
    assert len(share.sids) == len(names)
    assert TRACKING_SERVER not in {kind for kind, *_ in world.cache.opened}


@pytest.mark.parametrize("how", ["deleted", "emptied", "old"])
async def test_a_lost_secret_is_made_again_as_it_was_while_an_operator_knows_it(how: str) -> None:
    world = World()
    await world.ensure()
    old, place = world.secret, (SECRET, "team-a", "mlflow-artifacts")
    world.pass_seconds(60)
    await world.ensure(ASKED)
    before = world.secret["data"]
    if how == "deleted":
        world.cache.remove(world.api.objects.pop(place))
    else:
        world.cache.upsert(world.api.store(old if how == "old" else world.secret | {"data": {}}))
    await world.ensure(ASKED)
    assert world.secret["data"] == before
    assert world.objects.made == 2


async def test_a_secret_that_was_lost_while_nobody_looked_gets_other_keys() -> None:
    world = World()
    await world.ensure()
    world.cache.remove(world.api.objects.pop((SECRET, "team-a", "mlflow-artifacts")))
    world.restart()
    state = await world.ensure()
    assert state.keys
    assert world.secret_key() == state.keys.access_key_id == "key-2"
