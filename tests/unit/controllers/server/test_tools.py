"""The programs of pods: one archive for a namespace, no server that is rolled for another one, and none left behind."""

from collections.abc import Callable

import pytest

from tests.unit.controllers.live import migration_pod
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.controllers.server.address.test_change import NEW, moved, settled
from tests.unit.controllers.server.test_reconciler import World, database_secret, serving
from tests.unit.examples import EXTERNAL_DATABASE, Manifest
from tests.unit.kube.counting_cache import CountingCache
from tracking_operator.api.labels_and_annotations import (
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
    TOOLS_FILE,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.tools import Tools
from tracking_operator.controllers.watches import requests_for
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, JOB, SERVICE
from tracking_operator.resources import tools_archive
from tracking_operator.resources.pod.tools import in_former_layout, tools_of, with_tools
from tracking_operator.resources.tools_archive import ToolsArchive, archive_of, own_sources

NEXT = archive_of(own_sources() | {"changed.py": b""})
"""What another release packs."""

Patch = pytest.MonkeyPatch


@pytest.fixture
def upgrade(monkeypatch: Patch) -> Callable[[World], None]:
    """Restarts the operator as another release."""

    def restarted(world: World, archive: ToolsArchive = NEXT) -> None:
        for module in (
            "resources.tools_archive",
            "resources.pod.tools",
            "controllers.server.children.tools",
        ):
            monkeypatch.setattr(f"tracking_operator.{module}.current_archive", lambda: archive)
        world.restart()

    return restarted


def archives(world: World) -> list[str]:
    """The archives in the namespace."""
    names = [name for kind, _, name in world.api.objects if kind == CONFIG_MAP]
    return sorted(name for name in names if tools_archive.is_tools_name(name))


def programs_of(world: World) -> str | None:
    return tools_of(world.child(DEPLOYMENT))


def template_of(world: World) -> Manifest:
    template: Manifest = world.child(DEPLOYMENT)["spec"]["template"]
    return template


FIRST = tools_archive.current_archive().name


async def from_before_the_archive() -> World:
    """A server that runs as the release before the archive made it."""
    world = await serving()
    deployment = in_former_layout(world.child(DEPLOYMENT), "mlflow-check")
    world.put(deployment)
    client = world.child(CONFIG_MAP, "mlflow-client")
    metadata = client["metadata"] | {"name": "mlflow-check", "uid": "uid-of-the-scripts"}
    world.put(client | {"metadata": metadata, "data": {"start_server.py": "…"}})
    del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
    world.roll_out()
    return world


class TestUpgrade:
    async def test_rolls_nobody_and_writes_nothing(self, upgrade: Callable[[World], None]) -> None:
        world = await serving()
        upgrade(world)
        await world.reconcile()
        assert world.api.writes == []

    async def test_rolls_no_server_that_still_answers_a_host_of_before(
        self, upgrade: Callable[[World], None]
    ) -> None:
        world = await settled()
        await moved(world, {"host": NEW})
        upgrade(world)
        await world.reconcile()
        assert world.api.writes == []
        assert (programs_of(world), archives(world)) == (FIRST, [FIRST])

    async def test_gives_the_new_programs_to_what_changes_anyway_and_removes_the_old_ones_after_the_roll(
        self, upgrade: Callable[[World], None]
    ) -> None:
        world = await serving()
        upgrade(world)
        world.edit({"workers": 4})
        await world.reconcile()
        assert programs_of(world) == NEXT.name
        assert archives(world) == sorted([FIRST, NEXT.name]), "pods of the earlier template may still be made"
        world.roll_out()
        await world.reconcile()
        assert archives(world) == [NEXT.name]

    async def test_lets_a_server_be_scaled_without_a_roll(self, upgrade: Callable[[World], None]) -> None:
        world = await serving()
        upgrade(world)
        before = template_of(world)
        world.edit({"suspend": True})
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
        assert template_of(world) == before

    async def test_leaves_a_job_that_runs(self, upgrade: Callable[[World], None]) -> None:
        world = World({"backendStore": EXTERNAL_DATABASE})
        world.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "mlflow-db", "namespace": "team-a"},
                "data": {"uri": "eA=="},
            }
        )
        await world.reconcile()
        (before,) = (obj for (kind, *_), obj in world.api.objects.items() if kind == JOB)
        upgrade(world)
        await world.reconcile()
        assert [obj for (kind, *_), obj in world.api.objects.items() if kind == JOB] == [before]
        assert FIRST in archives(world)


class TestDrift:
    async def test_programs_that_are_gone_are_made_again(self) -> None:
        world = await serving()
        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        await world.reconcile()
        assert world.api.writes == ["apply ConfigMap"]
        assert archives(world) == [FIRST]

    @pytest.mark.parametrize("immutable", [True, False])
    async def test_other_bytes_under_the_name_are_replaced(self, immutable: bool) -> None:
        world = await serving()
        right = world.child(CONFIG_MAP, FIRST)
        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        metadata = {**right["metadata"], "uid": "another"}
        world.put(
            right | {"metadata": metadata, "binaryData": {TOOLS_FILE: "ZXZpbA=="}, "immutable": immutable}
        )
        await world.reconcile()
        repaired = world.child(CONFIG_MAP, FIRST)
        assert (repaired["binaryData"], repaired["immutable"]) == (right["binaryData"], True)
        assert programs_of(world) == FIRST, "nobody is rolled for it"

    @pytest.mark.parametrize("evil", [True, False], ids=["other bytes", "gone"])
    async def test_of_programs_of_an_earlier_release_has_the_server_rolled_to_this_ones(
        self, evil: bool, upgrade: Callable[[World], None]
    ) -> None:
        world = await serving()
        upgrade(world)
        before = world.api.objects.pop((CONFIG_MAP, "team-a", FIRST))
        if evil:
            metadata = {**before["metadata"], "uid": "another"}
            world.put(before | {"metadata": metadata, "binaryData": {TOOLS_FILE: "ZXZpbA=="}})
        await world.reconcile()
        assert programs_of(world) == NEXT.name
        world.roll_out()
        await world.reconcile()
        assert archives(world) == [NEXT.name]

    @pytest.mark.parametrize(
        "name", ["settings", archive_of({"__main__.py": b"evil"}).name], ids=["any", "named by its digest"]
    )
    async def test_a_team_cannot_have_pods_run_from_a_config_map_of_its_own(self, name: str) -> None:
        world = await serving()
        evil = archive_of({"__main__.py": b"evil"})
        metadata = {"name": name, "namespace": "team-a"}
        world.put(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "binaryData": {TOOLS_FILE: evil.text},
            }
        )
        world.put(with_tools(world.child(DEPLOYMENT), name))
        await world.reconcile()
        assert programs_of(world) == FIRST


SQUATTERS: dict[str, Manifest] = {
    "more data": {"data": {"theirs": "x"}},
    "another file": {
        "binaryData": {TOOLS_FILE: tools_archive.current_archive().text, "sitecustomize.py": "eA=="}
    },
    "of an owner": {
        "metadata": {"ownerReferences": [{"kind": "Pod", "name": "x", "uid": "x", "apiVersion": "v1"}]}
    },
    "changeable": {"immutable": False},
}
"""What a team can make under the name of the archive, beside other bytes: none has our labels."""
NO_ROOM = ApiError(403, "Forbidden", "exceeded quota: count/configmaps")
EVIL = "ZXZpbA=="


def squat(world: World, what: Manifest, **metadata: object) -> Manifest:
    """Put something else in the place of the archive, which the informers do not see; return what was there."""
    right = world.api.objects.pop((CONFIG_MAP, "team-a", FIRST))
    world.watch()
    known = {"name": FIRST, "namespace": "team-a", "uid": "of-the-squatter"}
    world.put({**right, **what, "metadata": known | what.get("metadata", {}) | metadata})
    return right


def content_of(config_map: Manifest) -> Manifest:
    kept = {key: config_map.get(key) for key in ("data", "binaryData", "immutable")}
    metadata = config_map["metadata"]
    return kept | {"labels": metadata.get("labels"), "owners": metadata.get("ownerReferences")}


def jobs(world: World) -> list[Manifest]:
    return [obj for (kind, *_), obj in world.api.objects.items() if kind == JOB]


async def migrating() -> World:
    """A server whose migration Job has been made, and has no pod yet."""
    world = World({"backendStore": EXTERNAL_DATABASE})
    world.put(database_secret())
    await world.reconcile()
    return world


class TestSquatters:
    @pytest.mark.parametrize("what", SQUATTERS.values(), ids=SQUATTERS)
    async def test_make_room_for_the_archive(self, what: Manifest) -> None:
        world = await serving()
        right = squat(world, what)
        await world.reconcile()
        assert content_of(world.child(CONFIG_MAP, FIRST)) == content_of(right)
        await world.reconcile()
        assert world.api.calls == [], "it is settled"

    async def test_that_are_held_are_reported_and_nothing_is_made_to_run_from_them(self) -> None:
        world = await serving()
        right = squat(world, {"binaryData": {TOOLS_FILE: EVIL}}, finalizers=["example.com/held"])
        before = template_of(world)
        world.edit({"workers": 4})
        outcome = await world.reconcile()
        assert world.condition("WorkloadReady") == ("False", "Conflict")
        assert f"ConfigMap team-a/{FIRST}" in world.message("WorkloadReady")
        assert "finalizers" in world.message("WorkloadReady")
        assert outcome.requeue_after is not None, "no watch tells of it"
        assert template_of(world) == before

        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        await world.reconcile()
        assert content_of(world.child(CONFIG_MAP, FIRST)) == content_of(right)
        assert template_of(world) != before

    async def test_the_archive_itself_serves_while_it_is_held(self) -> None:
        world = await serving()
        live = world.child(CONFIG_MAP, FIRST)
        gone = {"finalizers": ["example.com/held"], "deletionTimestamp": "2026-01-01T11:00:00Z"}
        world.put(live | {"metadata": live["metadata"] | gone})
        before = template_of(world)
        world.edit({"workers": 4})
        await world.reconcile()
        assert template_of(world) != before


class TestAnArchiveThatCannotBeMade:
    async def test_holds_back_what_would_run_from_it_and_nothing_else(self) -> None:
        world = await serving()
        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        world.api.refusals["ConfigMap"] = NO_ROOM
        before = template_of(world)
        world.edit({"workers": 4})
        service = world.child(SERVICE)
        world.put(service | {"spec": service["spec"] | {"type": "NodePort"}})
        await world.reconcile()
        assert template_of(world) == before
        assert world.condition("WorkloadReady") == ("False", "QuotaExceeded")
        assert world.child(SERVICE)["spec"]["type"] == "ClusterIP"

        world.api.refusals.clear()
        await world.reconcile()
        assert template_of(world) != before

    async def test_does_not_keep_a_server_from_being_suspended(self) -> None:
        world = await serving()
        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        world.api.refusals["ConfigMap"] = NO_ROOM
        world.edit({"suspend": True})
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0

    async def test_holds_back_jobs(self) -> None:
        world = World({"backendStore": EXTERNAL_DATABASE})
        world.put(database_secret())
        world.api.refusals["ConfigMap"] = NO_ROOM
        await world.reconcile()
        assert jobs(world) == []
        world.api.refusals.clear()
        await world.reconcile()
        assert [tools_of(one) for one in jobs(world)] == [FIRST]
        assert archives(world) == [FIRST]


class TestAJobOfAnEarlierRelease:
    @pytest.mark.parametrize("evil", [True, False], ids=["other bytes", "gone"])
    async def test_whose_programs_are_gone_is_made_anew(
        self, evil: bool, upgrade: Callable[[World], None]
    ) -> None:
        world = await migrating()
        if evil:
            squat(world, {"binaryData": {TOOLS_FILE: EVIL}})
        else:
            del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        world.watch()
        upgrade(world)
        await world.reconcile()
        await world.reconcile()
        assert [tools_of(one) for one in jobs(world)] == [NEXT.name]
        assert NEXT.name in archives(world)

    async def test_that_runs_goes_on_without_them(self, upgrade: Callable[[World], None]) -> None:
        world = await migrating()
        (job,) = jobs(world)
        running = migration_pod(job, {"running": {}})
        world.put(running | {"status": running["status"] | {"phase": "Running"}})
        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        upgrade(world)
        await world.reconcile()
        await world.reconcile()
        assert jobs(world) == [job]

    async def test_of_this_release_waits_for_the_archive_which_is_made_again(self) -> None:
        world = await migrating()
        before = jobs(world)
        del world.api.objects[(CONFIG_MAP, "team-a", FIRST)]
        await world.reconcile()
        assert (jobs(world), archives(world)) == (before, [FIRST])


class TestTheFormerLayout:
    async def test_goes_on_as_it_is(self) -> None:
        world = await from_before_the_archive()
        before = template_of(world)
        world.restart()
        await world.reconcile()
        await world.reconcile()
        assert template_of(world) == before
        assert "ConfigMap/mlflow-check" in world.api.names()
        assert archives(world) == []

    async def test_ends_with_the_next_change_and_its_config_map_after_the_roll(self) -> None:
        world = await from_before_the_archive()
        world.edit({"workers": 4})
        await world.reconcile()
        assert programs_of(world) == FIRST
        assert "ConfigMap/mlflow-check" in world.api.names()
        world.roll_out()
        await world.reconcile()
        assert "ConfigMap/mlflow-check" not in world.api.names()

    async def test_ends_where_its_config_map_is_gone(self) -> None:
        world = await from_before_the_archive()
        del world.api.objects[(CONFIG_MAP, "team-a", "mlflow-check")]
        await world.reconcile()
        assert programs_of(world) == FIRST


class TestCollection:
    async def test_the_last_server_takes_the_programs_with_it(self) -> None:
        world = await serving()
        for place in [place for place in world.api.objects if place[0] in (TRACKING_SERVER, DEPLOYMENT)]:
            del world.api.objects[place]
        await world.reconcile()
        assert archives(world) == []

    async def test_another_server_keeps_them(self) -> None:
        world = await serving()
        world.edit({}, name="another")
        del world.api.objects[(TRACKING_SERVER, "team-a", "mlflow")]
        del world.api.objects[(DEPLOYMENT, "team-a", "mlflow")]
        await world.reconcile()
        assert archives(world) == [FIRST]

    async def test_what_was_left_while_no_operator_ran_is_found_by_its_event(self) -> None:
        world = await serving()
        left = world.child(CONFIG_MAP, FIRST)
        world.api.objects = {(CONFIG_MAP, "team-a", FIRST): left}
        world.restart()
        world.watch()
        (key,) = requests_for(left, world.cache)
        await world.loop.reconcile(key.namespace, key.name, resync=False)
        assert archives(world) == []

    async def test_an_event_of_the_programs_concerns_every_server_of_the_namespace(self) -> None:
        world = await serving()
        world.edit({}, name="another")
        world.watch()
        assert labelled(world) == {SERVER_LABEL: ""}
        keys = requests_for(world.child(CONFIG_MAP, FIRST), world.cache)
        assert sorted(key.name for key in keys) == ["another", "mlflow"]

    async def test_nothing_of_the_archive_but_its_digest_is_in_memory(self) -> None:
        world = await serving()
        world.watch()
        known = world.cache.get(CONFIG_MAP, "team-a", FIRST)
        assert known is not None
        assert known["binaryData"][TOOLS_FILE].startswith("sha256:")


def labelled(world: World) -> Manifest:
    labels = world.child(CONFIG_MAP, FIRST)["metadata"]["labels"]
    return {SERVER_LABEL: labels[SERVER_LABEL]}


async def test_only_archives_are_looked_into_however_much_else_belongs_to_no_server() -> None:
    """Every server's reconcile looks for archives, and each request about a server that does not exist."""
    api, cache = MemoryApi(), CountingCache()
    for number in range(50):
        cache.upsert(of_no_server(f"settings-{number}"))
    tools = Tools(api.as_client(), cache)
    await tools.collect("team-a")
    assert cache.opened == []
    cache.upsert(api.store(of_no_server(FIRST)))
    assert [one.name for one in (await tools.collect("team-a")).deleted] == [FIRST]
    assert {name for _, _, name in cache.opened} == {FIRST}


def of_no_server(name: str) -> Manifest:
    labels = {SERVER_LABEL: "", MANAGED_BY_LABEL: FIELD_MANAGER}
    metadata = {"name": name, "namespace": "team-a", "labels": labels, "resourceVersion": "1", "uid": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
