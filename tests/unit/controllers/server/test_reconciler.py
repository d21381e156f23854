"""The loop of a TrackingServer as a whole, on an API of a few dictionaries: what it writes, in which order, and what not."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast

import pytest

from dev.classes import generous
from tests.unit.controllers.live import (
    PASSED,
    RUNNING,
    TRIED_OUT,
    migration_pod,
    owned_by,
    pod,
    said,
    terminated,
)
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.controllers.servers import AnsweringServers
from tests.unit.examples import EXTERNAL_DATABASE, SETTINGS, Manifest, secret
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FINALIZER,
    RESOLVED_ANNOTATION,
    SERVER_LABEL,
    WAKE_ANNOTATION,
)
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.reconciler import ServerReconciler
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    Kind,
    describe,
)
from tracking_operator.resources.tools_archive import current_archive
from tracking_operator.stores.executor import StoreExecutor

CHILDREN = [
    "ServiceAccount/mlflow",
    "NetworkPolicy/mlflow",
    "PersistentVolumeClaim/mlflow-backend-store",
    "PersistentVolumeClaim/mlflow-artifact-store",
    "Deployment/mlflow",
    "Service/mlflow",
    "ConfigMap/mlflow-client",
    f"ConfigMap/{current_archive().name}",
]
EXTERNAL_BUCKET_WITHOUT_KEYS: Manifest = {"external": {"uri": "s3://bucket"}}
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class Events:
    """Keeps what would be posted."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str, str]] = []

    def record(self, regarding: Manifest, type_: str, reason: str, message: str) -> None:
        """Remember an Event."""
        self.recorded.append((describe(regarding), type_, reason, message))


class World:
    """A namespace with one server in it, and the loop."""

    def __init__(self, spec: Manifest | None = None, name: str = "mlflow") -> None:
        self.api, self.events, self.servers = MemoryApi(), Events(), AnsweringServers()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.now = NOW
        self.edit(spec or {}, name=name)
        self.restart()

    def restart(self) -> None:
        """A new operator with an empty memory and a full cache."""
        kube = self.api.as_client()
        self.loop = ServerReconciler(
            kube=kube,
            cache=self.cache,
            events=cast(EventRecorder, self.events),
            settings=SETTINGS,
            postgres=PostgresAdmin(kube, self.cache, StoreExecutor(), SETTINGS.namespace),
            s3_admin=S3Admin(kube, self.cache, StoreExecutor(), SETTINGS.namespace),
            mlflow=self.servers.as_client(),
            gateway_api=GatewayApi(),
            now=lambda: self.now,
        )

    def edit(self, spec: Manifest, *, name: str = "mlflow", **metadata: object) -> None:
        """Write the resource as its owner does."""
        before = self.api.objects.get((TRACKING_SERVER, "team-a", name), {})
        known = before.get("metadata", {"name": name, "namespace": "team-a"})
        resource = {"apiVersion": API_VERSION, "kind": "TrackingServer", "spec": spec}
        self.api.store(before | resource | {"metadata": known | metadata})

    def put(self, obj: Manifest) -> None:
        """Store an object as somebody else does."""
        self.api.store(obj)

    def watch(self) -> None:
        """Let the informers catch up: they see children that are labelled, and Secrets only on request."""
        seen = [
            obj
            for (kind, *_), obj in self.api.objects.items()
            if kind in OURS or SERVER_LABEL in labels_of(obj)
        ]
        for obj in seen:
            self.cache.upsert(obj)
        for kind in {kind for kind, *_ in self.api.objects} | set(KINDS):
            for obj in self.cache.list(kind):
                if (kind, obj["metadata"].get("namespace"), obj["metadata"]["name"]) not in self.api.objects:
                    self.cache.remove(obj)

    async def reconcile(self, *, resync: bool = False) -> Outcome:
        """Let the informers catch up, forget the calls so far, and run the loop once."""
        self.watch()
        self.api.calls.clear()
        return await self.loop.reconcile("team-a", "mlflow", resync=resync)

    def roll_out(self, version: str = "3.18.0") -> None:
        """What the controllers and kubelet do: bind volumes, start a pod, count it."""
        for (kind, *_), obj in list(self.api.objects.items()):
            if kind == PERSISTENT_VOLUME_CLAIM:
                self.put(obj | {"status": {"phase": "Bound"}})
        deployment = self.child(DEPLOYMENT)
        wanted = deployment["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), wanted)
        self.put(
            deployment | {"status": counts | {"observedGeneration": deployment["metadata"]["generation"]}}
        )
        self.api.objects.pop((POD, "team-a", "mlflow-1"), None)
        if wanted:
            self.put(pod(check=PASSED, artifacts=TRIED_OUT, server=RUNNING, version=version))

    def migrate(self, revision: str = "abc") -> None:
        """What the Job controller and the kubelet do: let the migration Job succeed."""
        (job,) = (obj for (kind, *_), obj in self.api.objects.items() if kind == JOB)
        self.put(job | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
        self.put(migration_pod(job, terminated(0, "Completed", said("", "migrated", revision))))

    def child(self, kind: Kind, name: str = "mlflow") -> Manifest:
        return self.api.objects[(kind, "team-a", name)]

    @property
    def resource(self) -> Manifest:
        return self.child(TRACKING_SERVER)

    def condition(self, type_: str) -> tuple[str, str]:
        (found,) = (one for one in self.resource["status"]["conditions"] if one["type"] == type_)
        return found["status"], found["reason"]

    def message(self, type_: str) -> str:
        (found,) = (one for one in self.resource["status"]["conditions"] if one["type"] == type_)
        return str(found["message"])


OURS = (TRACKING_SERVER, TRACKING_SERVER_CLASS)
KINDS = (*OURS, DEPLOYMENT, JOB, SERVICE, CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, POD)


def labels_of(obj: Manifest) -> Manifest:
    labels: Manifest = obj["metadata"].get("labels") or {}
    return labels


async def serving(spec: Manifest | None = None) -> World:
    """A server that was created and runs."""
    world = World(spec)
    if spec and spec.get("backendStore") == EXTERNAL_DATABASE:
        world.put(database_secret())
        await world.reconcile()
        world.migrate()
    await world.reconcile()
    world.roll_out()
    await world.reconcile()
    assert world.condition("Ready") == ("True", "AsExpected")
    return world


def database_secret(uri: str = "postgresql+psycopg2://u:p@db/m") -> Manifest:
    return secret("mlflow-db", uri=uri)


NIGHTS: Manifest = {"sleep": {"schedule": [{"from": "20:00", "to": "07:00"}]}}
EVENING = datetime(2026, 1, 1, 20, tzinfo=UTC)


class TestSleep:
    async def at_night(self) -> World:
        world = await serving(NIGHTS)
        world.now = EVENING
        await world.reconcile()
        world.roll_out()
        await world.reconcile()
        return world

    async def test_is_looked_at_again_when_it_falls_asleep(self) -> None:
        world = await serving(NIGHTS)
        assert (await world.reconcile()).requeue_after == 8 * 3600

    async def test_has_no_pods_at_night_and_says_until_when(self) -> None:
        world = await self.at_night()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
        assert world.condition("Ready") == ("False", "Suspended")
        assert "It wakes at 2026-01-02T07:00Z." in world.message("Ready")
        assert world.resource["status"]["sleep"]["cause"] == "Schedule"
        assert world.resource["spec"] == NIGHTS
        said = [event for event in world.events.recorded if event[2] == "Suspended"]
        assert len(said) == 1

    async def test_costs_nothing_while_it_sleeps(self) -> None:
        world = await self.at_night()
        assert (await world.reconcile()).requeue_after == 11 * 3600
        assert world.api.writes == []

    async def test_runs_again_in_the_morning(self) -> None:
        world = await self.at_night()
        world.now = datetime(2026, 1, 2, 7, tzinfo=UTC)
        await world.reconcile()
        world.roll_out()
        await world.reconcile()
        assert world.condition("Ready") == ("True", "AsExpected")
        assert "sleep" not in world.resource["status"]

    async def test_runs_again_when_somebody_wakes_it(self) -> None:
        world = await self.at_night()
        world.edit(NIGHTS, annotations={WAKE_ANNOTATION: "now"})
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 1
        assert world.resource["spec"] == NIGHTS

    async def test_stays_suspended_in_the_morning_where_its_specification_says_so(self) -> None:
        world = await self.at_night()
        world.edit({**NIGHTS, "suspend": True})
        world.now = datetime(2026, 1, 2, 7, tzinfo=UTC)
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
        assert "spec.suspend is true" in world.message("Ready")

    async def test_falls_asleep_when_its_pods_tell_that_nobody_asks_them(self) -> None:
        world = await serving({"sleep": {"afterIdle": "2h"}})
        running = world.child(POD, "mlflow-1")
        world.put(running | {"status": running["status"] | {"podIP": "10.0.0.1"}})
        world.servers.idle["10.0.0.1"] = 3600
        assert (await world.reconcile(resync=True)).requeue_after == 3600
        world.servers.idle["10.0.0.1"] = 7200
        world.now += timedelta(hours=1)
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
        world.roll_out()
        await world.reconcile()
        assert "for 2h (spec.sleep.afterIdle)" in world.message("Ready")

    async def test_a_zone_that_nobody_knows_is_said_and_changes_nothing_that_runs(self) -> None:
        world = await serving()
        unknown = {"from": "20:00", "to": "07:00", "timeZone": "Europe/Atlantis"}
        world.edit({"sleep": {"schedule": [unknown]}})
        await world.reconcile()
        assert world.condition("SpecValid") == ("False", "InvalidSpec")
        assert "Europe/Atlantis" in world.message("SpecValid")
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 1


class TestCreation:
    async def test_makes_every_child_with_one_write_each(self) -> None:
        world = World()
        await world.reconcile()
        assert set(CHILDREN) <= set(world.api.names())
        # Besides: the placement, the Secret with the keys to encrypt with, and the conditions.
        assert len(world.api.writes) == len(CHILDREN) + 3
        assert world.api.writes.count("apply TrackingServer/status") == 2

    async def test_records_where_the_data_lives_before_it_makes_anything(self) -> None:
        world = World()
        await world.reconcile()
        assert world.api.writes[0] == "apply TrackingServer/status"
        assert world.resource["status"]["placement"]["backendStore"] == "sqlite"

    async def test_removes_what_earlier_operators_wrote_into_an_annotation_once(self) -> None:
        world = await serving()
        world.edit({}, annotations={RESOLVED_ANNOTATION: "{}", "theirs": "stays"})
        before = world.resource["status"]
        await world.reconcile()
        assert world.api.writes == ["patch TrackingServer"]
        assert world.resource["metadata"]["annotations"] == {"theirs": "stays"}
        assert world.resource["status"] == before
        await world.reconcile()
        assert world.api.writes == []

    async def test_of_an_earlier_operator_is_placed_where_it_was(self) -> None:
        world = await serving()
        placement = world.resource["status"].pop("placement")
        world.edit({}, annotations={RESOLVED_ANNOTATION: '{"host":"theirs.example.com"}'})
        await world.reconcile()
        assert world.api.writes == ["apply TrackingServer/status", "patch TrackingServer"]
        assert world.resource["status"]["placement"] == placement

    async def test_an_edit_of_anything_but_the_status_keeps_no_status_from_being_written(self) -> None:
        world = await serving()
        world.edit({"suspend": True})
        world.watch()
        world.edit({"suspend": True}, annotations={"theirs": "added meanwhile"})
        await world.loop.reconcile("team-a", "mlflow", resync=False)
        assert world.condition("Ready") == ("False", "Suspended")
        assert world.resource["metadata"]["annotations"] == {"theirs": "added meanwhile"}

    async def test_never_undoes_what_the_platform_team_wrote_into_the_status_meanwhile(self) -> None:
        world = await serving()
        world.edit({"suspend": True})
        world.watch()
        corrected = world.resource["status"]["placement"] | {"className": "corrected"}
        world.put(world.resource | {"status": world.resource["status"] | {"placement": corrected}})
        with pytest.raises(ApiError) as refused:
            await world.loop.reconcile("team-a", "mlflow", resync=False)
        assert refused.value.status == 409
        assert world.resource["status"]["placement"] == corrected

    async def test_reports_last_and_says_what_it_waits_for(self) -> None:
        world = World()
        await world.reconcile()
        assert world.api.writes[-1] == "apply TrackingServer/status"
        assert world.condition("Ready") == ("False", "VolumePending")
        assert world.condition("Reconciling")[0] == "True"
        assert world.resource["status"]["url"] == "http://mlflow.team-a.svc"
        assert world.resource["status"]["observedGeneration"] == 1

    async def test_ends_with_a_server_that_is_ready(self) -> None:
        world = await serving()
        status = world.resource["status"]
        assert {one["status"] for one in status["conditions"]} == {"True"}
        assert (status["version"], status["schemaRevision"], status["replicas"]) == ("3.18.0", "abc", 1)
        assert ("TrackingServer team-a/mlflow", "Normal", "Ready") in [
            event[:3] for event in world.events.recorded
        ]

    async def test_asks_for_no_second_look_by_the_clock(self) -> None:
        assert await World().reconcile() == Outcome()


class TestNothingToDo:
    async def test_costs_no_call_at_all(self) -> None:
        world = await serving()
        await world.reconcile()
        assert world.api.calls == []

    @pytest.mark.parametrize("spec", [None, {"backendStore": EXTERNAL_DATABASE}])
    async def test_after_a_restart_costs_no_write(self, spec: Manifest | None) -> None:
        world = await serving(spec)
        world.restart()
        await world.reconcile()
        assert world.api.writes == []

    async def test_is_the_case_for_a_server_that_is_not_there(self) -> None:
        world = World(name="another")
        assert await world.reconcile() == Outcome()
        assert world.api.calls == []


class TestDrift:
    async def test_of_a_value_is_put_right_with_one_write(self) -> None:
        world = await serving()
        service = world.child(SERVICE)
        world.put(service | {"spec": service["spec"] | {"type": "NodePort"}})
        await world.reconcile()
        assert world.api.writes == ["apply Service"]
        assert world.child(SERVICE)["spec"]["type"] == "ClusterIP"

    async def test_by_deletion_is_put_right_with_one_write(self) -> None:
        world = await serving()
        del world.api.objects[(CONFIG_MAP, "team-a", "mlflow-client")]
        await world.reconcile()
        assert world.api.writes == ["apply ConfigMap"]

    async def test_labels_of_others_are_none(self) -> None:
        world = await serving()
        service = world.child(SERVICE)
        labels = service["metadata"]["labels"] | {"theirs": "yes"}
        world.put(service | {"metadata": service["metadata"] | {"labels": labels}})
        await world.reconcile()
        assert world.api.writes == []

    async def test_an_owned_object_that_is_not_wanted_any_more_goes(self) -> None:
        world = await serving()
        uid = world.resource["metadata"]["uid"]
        labels = {SERVER_LABEL: "mlflow"}
        for name, owner in (("mlflow-old", owned_by(uid)), ("settings", {})):
            metadata = {"name": name, "namespace": "team-a", "labels": labels} | owner
            world.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}})
        await world.reconcile()
        assert world.api.writes == ["delete ConfigMap"]
        assert "ConfigMap/settings" in world.api.names()


class TestForeignObjects:
    @staticmethod
    def helm_made(**metadata: object) -> Manifest:
        known = {"name": "mlflow", "namespace": "team-a"} | metadata
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": known, "spec": {"replicas": 7}}

    async def test_stay_untouched_and_are_reported(self) -> None:
        world = World()
        world.put(self.helm_made())
        outcome = await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"] == {"replicas": 7}
        assert world.condition("WorkloadReady") == ("False", "Conflict")
        assert world.condition("Stalled") == ("True", "Conflict")
        assert "Deployment team-a/mlflow exists already" in world.message("Ready")
        assert outcome.requeue_after is not None

    async def test_are_told_once(self) -> None:
        world = World()
        world.put(self.helm_made())
        await world.reconcile()
        await world.reconcile()
        assert [event[2] for event in world.events.recorded].count("Conflict") == 1

    async def test_of_an_earlier_server_of_this_name_are_waited_for(self) -> None:
        world = World()
        world.put(self.helm_made(**owned_by("an-earlier-uid")))
        await world.reconcile()
        assert world.condition("WorkloadReady") == ("False", "Pending")
        assert world.child(DEPLOYMENT)["spec"] == {"replicas": 7}


class TestSecrets:
    SPEC: ClassVar[Manifest] = {
        "backendStore": EXTERNAL_DATABASE,
        "artifactStore": {"external": {"uri": "s3://bucket"}},
    }

    async def test_that_are_missing_hold_back_the_server_and_are_looked_for_again(self) -> None:
        world = World(self.SPEC)
        outcome = await world.reconcile()
        assert world.condition("BackendStoreReady") == ("False", "SecretNotFound")
        assert outcome.requeue_after == 4
        assert "tracking-operator.dev/watch=true" in world.message("BackendStoreReady")
        assert "Deployment/mlflow" not in world.api.names()

    async def test_that_are_wrong_are_read_every_few_seconds_until_somebody_corrects_them(self) -> None:
        world = await serving(self.SPEC)
        before = world.child(DEPLOYMENT)["spec"]["template"]
        refused = {"state": terminated(21, "Error", said("LoginRefused", "no")), "ready": False}
        world.put(pod(check=refused))
        await world.reconcile()
        outcome = await world.reconcile()
        assert world.condition("BackendStoreReady") == ("False", "LoginRefused")
        assert "Secret 'mlflow-db' is seen within seconds" in world.message("BackendStoreReady")
        assert "tracking-operator.dev/watch=true" in world.message("BackendStoreReady")
        assert outcome.requeue_after == 4
        world.put(database_secret("postgresql+psycopg2://u:new@db/m"))
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["template"] != before

    async def test_that_appear_set_it_going(self) -> None:
        world = World(self.SPEC)
        await world.reconcile()
        world.put(database_secret())
        await world.reconcile()
        assert "Job/mlflow-migrate-3-18-0" in world.api.names()
        assert "Deployment/mlflow" not in world.api.names()
        world.migrate()
        await world.reconcile()
        assert "Deployment/mlflow" in world.api.names()

    async def test_that_change_roll_the_pods_at_the_resync(self) -> None:
        world = await serving(self.SPEC)
        before = world.child(DEPLOYMENT)["spec"]["template"]
        world.put(database_secret("postgresql+psycopg2://u:new@db/m"))
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["template"] == before
        await world.reconcile(resync=True)
        assert world.child(DEPLOYMENT)["spec"]["template"] != before

    async def test_that_vanish_leave_alone_what_runs(self) -> None:
        world = await serving(self.SPEC)
        del world.api.objects[(SECRET, "team-a", "mlflow-db")]
        await world.reconcile(resync=True)
        assert world.api.writes == ["apply TrackingServer/status"]
        assert world.condition("BackendStoreReady") == ("False", "SecretNotFound")
        assert world.condition("WorkloadReady")[0] == "True"

    async def test_that_are_missing_do_not_keep_a_server_from_being_suspended(self) -> None:
        world = await serving(self.SPEC)
        template = world.child(DEPLOYMENT)["spec"]["template"]
        del world.api.objects[(SECRET, "team-a", "mlflow-db")]
        world.edit(self.SPEC | {"suspend": True})
        await world.reconcile(resync=True)
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
        assert world.child(DEPLOYMENT)["spec"]["template"] == template


class TestRefusedSpecification:
    async def test_of_a_new_server_makes_nothing_and_says_why(self) -> None:
        world = World({"className": "golden"})
        outcome = await world.reconcile()
        assert world.api.writes == ["apply TrackingServer/status"]
        assert world.condition("SpecValid") == ("False", "ClassNotFound")
        assert world.condition("Stalled") == ("True", "ClassNotFound")
        assert outcome.requeue_after is None
        assert not outcome.failed
        assert world.events.recorded[0][1:3] == ("Warning", "ClassNotFound")

    async def test_leaves_alone_what_runs_and_goes_on_reporting_it(self) -> None:
        world = await serving()
        before = {place: obj for place, obj in world.api.objects.items() if place[0] != TRACKING_SERVER}
        world.edit({"version": "9.9.9"})
        await world.reconcile()
        assert {
            place: obj for place, obj in world.api.objects.items() if place[0] != TRACKING_SERVER
        } == before
        assert world.condition("SpecValid") == ("False", "VersionNotOffered")
        assert world.condition("WorkloadReady")[0] == "True"
        assert world.resource["status"]["version"] == "3.18.0"
        assert world.resource["status"]["observedGeneration"] == 2

    async def test_that_drops_an_external_store_speaks_of_no_volume(self) -> None:
        world = await serving(
            {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET_WITHOUT_KEYS}
        )
        world.edit({})
        await world.reconcile()
        assert world.condition("SpecValid") == ("False", "ResolvedDiffers")
        assert world.condition("BackendStoreReady")[0] == "True"
        assert world.condition("ArtifactStoreReady")[0] == "True"

    async def test_that_is_withdrawn_is_forgotten(self) -> None:
        world = await serving()
        world.edit({"version": "9.9.9"})
        await world.reconcile()
        world.edit({})
        await world.reconcile()
        assert world.condition("Ready") == ("True", "AsExpected")
        assert not {"Reconciling", "Stalled"} & {
            one["type"] for one in world.resource["status"]["conditions"]
        }

    async def test_of_a_neighbour_that_cannot_even_be_read_is_its_own_affair(self) -> None:
        # After an operator was set back to an older version: the newer one wrote what this one does not know.
        world = World()
        world.edit({"replicas": "many"}, name="neighbour")
        world.put(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": {"name": "from-the-future"},
                "spec": {"limits": {"maxReplicas": "many"}},
            }
        )
        await world.reconcile()
        assert "Deployment/mlflow" in world.api.names()


class TestUnreadable:
    """The server is of a newer version of the operator than this one."""

    async def test_says_what_cannot_be_read_and_leaves_what_runs(self) -> None:
        world = await serving()
        before = {place: obj for place, obj in world.api.objects.items() if place[0] != TRACKING_SERVER}
        known = world.resource["status"]
        foreign = {"type": "Backup", "status": "Maybe", "since": "a newer version"}
        conditions = [*known["conditions"], foreign]
        world.put(world.resource | {"status": known | {"conditions": conditions, "backup": {"at": "noon"}}})
        world.edit({"deletionPolicy": "Archive", "replicas": "secret-of-somebody"})
        outcome = await world.reconcile()
        assert world.condition("SpecValid") == ("False", "InvalidSpec")
        assert world.condition("Ready") == world.condition("SpecValid")
        assert world.condition("Stalled")[0] == "True"
        assert "spec.deletionPolicy" in world.message("Ready")
        assert "secret-of-somebody" not in world.message("Ready")
        status = world.resource["status"]
        assert foreign in status["conditions"]
        assert status["observedGeneration"] == world.resource["metadata"]["generation"]
        kept = {key: value for key, value in known.items() if key not in ("conditions", "observedGeneration")}
        assert {key: status[key] for key in (*kept, "backup")} == kept | {"backup": {"at": "noon"}}
        assert world.condition("WorkloadReady")[0] == "True"
        assert {p: obj for p, obj in world.api.objects.items() if p[0] != TRACKING_SERVER} == before
        assert (outcome.reason, outcome.requeue_after) == ("InvalidSpec", None)
        assert [event[1:3] for event in world.events.recorded].count(("Warning", "InvalidSpec")) == 1

    async def test_is_said_once_and_taken_back_when_it_can_be_read(self) -> None:
        world = await serving()
        world.edit({"deletionPolicy": "Archive"})
        await world.reconcile()
        await world.reconcile()
        assert world.api.calls == []
        world.edit({})
        await world.reconcile()
        assert world.condition("Ready") == ("True", "AsExpected")

    async def test_status_is_no_reason_to_say_nothing(self) -> None:
        world = await serving()
        unknown = world.resource["status"]["conditions"][0] | {"status": "Perhaps"}
        world.put(world.resource | {"status": {"placement": "elsewhere", "conditions": [unknown]}})
        await world.reconcile()
        assert "status.placement" in world.message("SpecValid")
        assert world.resource["status"]["placement"] == "elsewhere"

    async def test_class_is_told_to_its_servers_which_go_on(self) -> None:
        world = await serving()
        spec = {"limits": {"maxReplicas": "many"}}
        metadata = {"name": "newer"}
        world.put(
            {"apiVersion": API_VERSION, "kind": "TrackingServerClass", "metadata": metadata, "spec": spec}
        )
        world.edit({"className": "newer"})
        await world.reconcile()
        assert world.condition("SpecValid") == ("False", "ClassNotFound")
        assert "cannot be read by this version" in world.message("SpecValid")
        assert world.condition("WorkloadReady")[0] == "True"


class TestChange:
    async def test_suspend_ends_the_pods_and_keeps_the_rest(self) -> None:
        world = await serving()
        before = world.api.names()
        world.edit({"suspend": True})
        await world.reconcile()
        world.roll_out()
        await world.reconcile()
        assert world.child(DEPLOYMENT)["spec"]["replicas"] == 0
        assert world.condition("Ready") == ("False", "Suspended")
        assert set(before) - set(world.api.names()) == {"Pod/mlflow-1"}
        await world.reconcile()
        assert world.api.calls == []

    async def test_of_version_is_true_only_when_a_pod_has_seen_the_schema(self) -> None:
        class_store = {
            "mlflow": {"versions": [{"version": one, "image": one} for one in ("3.16.1", "3.17.2")]}
        }
        world = World({"version": "3.16.1", "className": "standard"})
        metadata = {"name": "standard"}
        world.put(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": metadata,
                "spec": generous(class_store),
            }
        )
        await world.reconcile()
        world.roll_out("3.16.1")
        await world.reconcile()
        assert world.resource["status"]["version"] == "3.16.1"

        # Put to sleep, raised, and set back: no pod of the newer version ever touched the data.
        for version in ("3.16.1", "3.17.2"):
            world.edit({"version": version, "className": "standard", "suspend": True})
            await world.reconcile()
            world.roll_out()
            await world.reconcile()
        assert world.resource["status"]["version"] == "3.16.1"
        assert world.condition("SchemaReady") == ("False", "Pending")
        world.edit({"version": "3.16.1", "className": "standard"})
        await world.reconcile()
        assert world.condition("SpecValid")[0] == "True"


class TestRefusedWrites:
    async def test_of_one_object_do_not_hold_up_the_others(self) -> None:
        world = World()
        world.api.refusals["PersistentVolumeClaim"] = ApiError(403, "Forbidden", "exceeded quota: storage")
        outcome = await world.reconcile()
        assert "Deployment/mlflow" in world.api.names()
        assert world.condition("BackendStoreReady") == ("False", "QuotaExceeded")
        assert world.condition("ArtifactStoreReady") == ("False", "QuotaExceeded")
        assert outcome.failed

    async def test_of_a_larger_volume_are_told_and_the_server_goes_on(self) -> None:
        world = await serving()
        world.edit({"backendStore": {"sqlite": {"size": "5Gi"}}})
        refusal = "only dynamically provisioned pvc can be resized and the storageclass must support resize"
        world.api.refusals["PersistentVolumeClaim"] = ApiError(403, "Forbidden", refusal)
        outcome = await world.reconcile()
        assert world.condition("BackendStoreReady") == ("True", "VolumeCannotGrow")
        assert world.condition("Ready")[0] == "True"
        assert not outcome.failed


class TestVolumeOfTheClassesSize:
    @pytest.mark.parametrize(
        ("size", "stands", "claimed"),
        [
            (None, ("True", "AsExpected"), "5Gi"),
            ("5120Mi", ("True", "AsExpected"), "5120Mi"),
            ("8Gi", ("True", "AsExpected"), "8Gi"),
            ("2Gi", ("True", "VolumeCannotShrink"), "5Gi"),
        ],
    )
    async def test_grows_and_says_where_it_is_to_shrink(
        self, size: str | None, stands: tuple[str, str], claimed: str
    ) -> None:
        world = World()
        volumes = {"backendStore": {"size": "5Gi"}}
        metadata = {"name": "standard"}
        world.put(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": metadata,
                "spec": generous({"defaults": {"volumes": volumes}}),
            }
        )
        world.edit({"className": "standard"})
        await world.reconcile()
        world.roll_out()
        world.edit({"className": "standard", "backendStore": {"sqlite": {"size": size} if size else {}}})
        await world.reconcile()

        claim = world.child(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")
        assert claim["spec"]["resources"]["requests"]["storage"] == claimed
        assert world.condition("BackendStoreReady") == stands
        if stands[1] == "VolumeCannotShrink":
            assert "keeps its 5Gi" in world.message("BackendStoreReady")
            assert "spec.backendStore.sqlite.size: set that to 5Gi or more" in world.message(
                "BackendStoreReady"
            )


class TestDeletion:
    async def test_that_keeps_the_data_needs_no_finalizer(self) -> None:
        world = await serving()
        assert not world.resource["metadata"].get("finalizers")
        world.edit({}, deletionTimestamp="2026-01-01T12:00:00Z")
        await world.reconcile()
        assert world.api.calls == []

    async def test_that_removes_the_data_takes_pods_then_volumes_then_lets_go(self) -> None:
        world = await serving({"deletionPolicy": "Delete"})
        assert world.resource["metadata"]["finalizers"] == [FINALIZER]
        world.edit({"deletionPolicy": "Delete"}, deletionTimestamp="2026-01-01T12:00:00Z")
        await world.reconcile()
        assert world.api.writes[:3] == ["delete Deployment", *["delete PersistentVolumeClaim"] * 2]
        assert world.condition("Ready") == ("False", "Deleting")
        await world.reconcile()
        assert world.resource["metadata"]["finalizers"] == []

    async def test_policy_that_is_withdrawn_at_the_last_moment_keeps_the_data(self) -> None:
        world = await serving({"deletionPolicy": "Delete"})
        world.edit({}, deletionTimestamp="2026-01-01T12:00:00Z")
        await world.reconcile()
        assert not any(call.startswith("delete") for call in world.api.writes)
        assert world.resource["metadata"]["finalizers"] == []

    async def test_policy_that_changes_its_mind_gives_the_finalizer_back(self) -> None:
        world = await serving({"deletionPolicy": "Delete"})
        world.edit({"deletionPolicy": "Retain"})
        await world.reconcile()
        assert world.resource["metadata"]["finalizers"] == []

    async def test_leaves_volumes_that_the_next_server_of_this_name_takes_up(self) -> None:
        world = await serving({"backendStore": {"sqlite": {"size": "5Gi"}}})
        claim = world.child(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")
        for place in [one for one in world.api.objects if one[0] != PERSISTENT_VOLUME_CLAIM]:
            del world.api.objects[place]
        world.watch()
        world.edit({})
        await world.reconcile()
        assert (
            world.child(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")["metadata"]["uid"]
            == claim["metadata"]["uid"]
        )
        assert world.child(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")["spec"] == claim["spec"]
        assert world.condition("BackendStoreReady") == ("True", "AsExpected")


class TestVolumeThatNobodyProvides:
    async def test_stalls_the_server_after_a_minute_with_one_warning(self) -> None:
        world = World()
        await world.reconcile()
        assert world.condition("Ready") == ("False", "VolumePending")
        assert not [event for event in world.events.recorded if event[2] == "VolumePending"]

        world.put(pod(created="2026-01-01T11:00:00Z"))
        await world.reconcile()
        await world.reconcile()

        assert world.condition("Stalled") == ("True", "VolumePending")
        assert [event[1] for event in world.events.recorded if event[2] == "VolumePending"] == [
            "Warning",
            "Warning",
        ]
        assert "has not been bound for a minute" in world.message("Ready")


class TestPolicyThatChangesTheDeployment:
    async def test_is_named_in_a_condition_and_no_more_is_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = await serving()
        stored = world.api.store

        def mutated(obj: Manifest) -> Manifest:
            if obj["kind"] == "Deployment":
                spec = obj["spec"] | {"revisionHistoryLimit": 1}
                return stored(obj | {"spec": spec})
            return stored(obj)

        monkeypatch.setattr(world.api, "store", mutated)
        world.put(world.child(DEPLOYMENT))
        for _ in range(4):
            await world.reconcile()
        world.roll_out()
        for _ in range(2):
            await world.reconcile()

        assert world.api.writes == []
        assert world.condition("WorkloadReady") == ("True", "ChangedByOthers")
        assert "revisionHistoryLimit" in world.message("WorkloadReady")
