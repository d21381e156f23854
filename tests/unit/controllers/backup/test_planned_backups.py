"""What a server's plan makes and deletes over days: the server's step and the loop of its backups, on an API of dictionaries."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.unit.controllers.backup.test_reconciler import NOW, STORED, World
from tests.unit.controllers.contexts import a_memory
from tests.unit.examples import POSTGRES, S3, SETTINGS, Manifest, plan_of, server, tracking_class
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION, FINALIZER, SCHEDULED_LABEL
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.maintenance.step import Backups, BackupStep
from tracking_operator.controllers.watches import requests_for
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import EventRecorder

DAILY: Manifest = {"schedule": "0 2 * * *", "timeZone": "Europe/Berlin", "keep": {"last": 2, "daily": 5}}


class PlannedWorld(World):
    """A server with a plan, whose backups succeed within seconds unless they are told not to."""

    def __init__(self, plan: Manifest | None = DAILY, *, offer: Manifest | None = None) -> None:
        super().__init__()
        del self.api.objects[TRACKING_SERVER_BACKUP, "team-a", "nightly"]
        self.offer = {"postgres": POSTGRES, "s3": S3} if offer is None else offer
        self.step = BackupStep(
            self.api.as_client(), self.cache, cast(EventRecorder, self.events), SETTINGS.timings
        )
        self.found = Backups()
        self.set_plan(plan)

    def set_plan(self, plan: Manifest | None) -> None:
        found = self.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        self.api.store(found | {"spec": {"maintenance": {"backup": plan}} if plan else {}})

    @property
    def backups(self) -> list[str]:
        return sorted(name for kind, _, name in self.api.objects if kind == TRACKING_SERVER_BACKUP)

    @property
    def reason(self) -> str:
        return str(self.found.condition.reason) if self.found.condition else ""

    async def look(self) -> None:
        """The server's step, with what the status said before; what it finds is the status then."""
        self._catch_up()
        live = self.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        resource = TrackingServer.model_validate(live)
        context = ReconcileContext(live, resource, a_memory(), self.now)
        context.plan = plan_of(server(), tracking_class(self.offer, is_default=True))
        self.found = await self.step.ensure(context)
        status = self.found.status.as_kubernetes() if self.found.status else None
        self.api.store(live | {"status": live["status"] | {"backups": status}})

    async def settle(self, *, fails: bool = False) -> None:
        """Bring every backup to its end, and look at the server again, until nothing changes."""
        for _ in range(4):
            await self.look()
            for name in self.backups:
                await self._advance(name, fails=fails)

    async def pass_days(self, days: float, *, fails: bool = False) -> None:
        """Let time pass; the operator looks when it has said that it would."""
        end = self.now + timedelta(days=days)
        while True:
            await self.settle(fails=fails)
            pause = timedelta(seconds=self.found.requeue_after or 10**9)
            if self.now + pause > end:
                break
            self.now += pause
        self.now = end

    async def _advance(self, name: str, *, fails: bool) -> None:
        found = self.backup(name)
        if found["metadata"].get("deletionTimestamp"):
            await self.reconcile(name, times=2)
            if FINALIZER not in self.backup(name)["metadata"].get("finalizers", []):
                del self.api.objects[TRACKING_SERVER_BACKUP, "team-a", name]
            return
        if (found.get("status") or {}).get("completedAt"):
            return
        await self.reconcile(name, times=2)
        if (self.backup(name)["status"]["conditions"][0]["reason"]) != "Progressing":
            return
        if fails:
            self.end(reason="BackupFailed", exit_code=50)
        else:
            self.end()
            self.bucket.folders[str(self.backup(name)["status"]["folder"])] = STORED
        await self.reconcile(name)

    def _catch_up(self) -> None:
        for obj in self.api.objects.values():
            self.cache.upsert(obj)
        for obj in self.cache.list(TRACKING_SERVER_BACKUP):
            if obj["metadata"]["name"] not in self.backups:
                self.cache.remove(obj)


async def test_over_thirty_days_exactly_what_is_to_be_kept_is_there_as_resources_and_as_objects() -> None:
    world = PlannedWorld({"schedule": "0 */12 * * *", "keep": {"last": 3, "daily": 5}})
    world.add_backup("by-hand")
    await world.settle()
    by_hand = str(world.backup("by-hand")["status"]["folder"])
    await world.pass_days(30)
    # From noon on New Year's Day to noon on 31 January, the newest at noon: that was due right then, and begins later.
    kept = ["31-0000", "30-1200", "30-0000"]
    daily = ["29-1200", "28-1200", "27-1200"]
    expected = sorted(f"mlflow-202601{one}" for one in (*kept, *daily))
    assert world.backups == ["by-hand", *expected]
    folders = {str(world.backup(name)["status"]["folder"]) for name in expected}
    assert set(world.bucket.folders) == folders | {by_hand}
    assert world.found.status is not None
    assert world.found.status.last_complete == "mlflow-20260131-0000"


async def test_a_fortnight_without_an_operator_is_made_up_for_by_one_backup() -> None:
    world = PlannedWorld(DAILY | {"keep": {"last": 100}})
    await world.pass_days(2)
    assert world.backups == ["mlflow-20260102-0100", "mlflow-20260103-0100"]
    world.now += timedelta(days=14)
    await world.pass_days(1)
    assert world.backups[2:] == ["mlflow-20260117-0100", "mlflow-20260118-0100"]


async def test_a_plan_begins_when_it_is_made_changed_or_taken_up_again() -> None:
    world = PlannedWorld()
    await world.look()
    assert world.found.status is not None
    assert (world.backups, world.found.status.next_at) == ([], datetime(2026, 1, 2, 1, tzinfo=UTC))
    world.set_plan(DAILY | {"suspend": True})
    await world.pass_days(3)
    world.set_plan(DAILY)
    await world.look()
    assert world.backups == []
    world.set_plan(DAILY | {"schedule": "0 3 * * *"})
    await world.pass_days(1)
    assert world.backups == ["mlflow-20260105-0200"]


async def test_between_two_slots_nobody_is_asked_and_the_next_look_is_when_the_next_one_begins() -> None:
    world = PlannedWorld()
    await world.pass_days(1)
    world.api.calls.clear()
    await world.look()
    assert world.api.calls == []
    begins = world.now + timedelta(seconds=world.found.requeue_after or 0)
    due = datetime(2026, 1, 3, 1, tzinfo=UTC)
    assert timedelta() <= begins - due < timedelta(minutes=10)
    world.now = begins
    await world.look()
    assert world.api.calls == ["create TrackingServerBackup"]


async def test_a_slot_has_one_backup_also_where_the_status_could_not_be_written() -> None:
    world = PlannedWorld()
    await world.look()
    before = world.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
    world.now += timedelta(days=1)
    await world.look()
    world.api.store(before)
    await world.settle()
    assert world.backups == ["mlflow-20260102-0100"]
    assert world.found.status is not None
    assert world.found.status.next_at == datetime(2026, 1, 3, 1, tzinfo=UTC)


async def test_a_server_has_one_planned_backup_at_a_time_and_a_late_one_is_told() -> None:
    world = PlannedWorld(DAILY | {"schedule": "@hourly"})
    await world.look()
    world.now += timedelta(hours=1, minutes=20)
    await world.look()
    assert world.reason == Reason.PROGRESSING
    world.now += timedelta(hours=3)
    await world.look()
    assert (world.backups, world.reason) == (["mlflow-20260101-1300"], Reason.BACKUP_LATE)
    assert [one[2] for one in world.events.recorded] == [Reason.BACKUP_LATE]
    await world.settle()
    assert world.backups == ["mlflow-20260101-1300", "mlflow-20260101-1600"]


async def test_the_newest_that_is_complete_stays_while_others_fail_and_that_is_told() -> None:
    world = PlannedWorld(DAILY | {"keep": {"last": 1}})
    await world.pass_days(1)
    await world.pass_days(3, fails=True)
    assert (world.backups[0], world.reason) == ("mlflow-20260102-0100", Reason.BACKUP_FAILED)
    assert len(world.bucket.folders) == 1
    await world.pass_days(1)
    assert (world.backups, world.reason) == (["mlflow-20260106-0100"], Reason.AS_EXPECTED)


async def test_a_backup_that_a_server_starts_from_stays_until_it_has() -> None:
    world = PlannedWorld(DAILY | {"keep": {"last": 1}})
    await world.pass_days(1)
    (first,) = world.backups
    new: Manifest = {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": {"name": "new", "namespace": "team-a"},
        "spec": {"bootstrap": {"fromBackup": {"name": first}}},
    }
    world.api.store(new)
    await world.pass_days(1)
    assert first in world.backups
    world.api.store(new | {"status": {"restoredFrom": first}})
    await world.settle()
    assert first not in world.backups


async def test_a_quota_is_told_and_the_slot_is_not_lost() -> None:
    world = PlannedWorld()
    await world.look()
    world.now += timedelta(days=1)
    world.api.refusals["TrackingServerBackup"] = ApiError(403, "Forbidden", "exceeded quota: backups")
    await world.look()
    assert (world.reason, world.found.requeue_after, world.backups) == (Reason.QUOTA_EXCEEDED, 15.0, [])
    world.api.refusals.clear()
    await world.look()
    assert world.backups == ["mlflow-20260102-0100"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (DAILY | {"schedule": "0 25 * * *"}, "bad hour"),
        (DAILY | {"schedule": "0 0 30 2 *"}, "bad day-of-month"),
        (DAILY | {"timeZone": "Europe/Atlantis"}, "no time zone"),
    ],
)
async def test_a_plan_that_cannot_be_read_is_told_and_makes_and_deletes_nothing(
    plan: Manifest, said: str
) -> None:
    world = PlannedWorld(DAILY)
    await world.pass_days(3)
    before = world.backups
    world.set_plan(plan | {"keep": {"last": 1}})
    await world.pass_days(3)
    assert (world.backups, world.reason) == (before, Reason.INVALID_SPEC)
    assert world.found.condition is not None
    assert said in world.found.condition.message
    assert world.found.status is not None
    assert (world.found.status.next_at, world.found.status.last_complete) == (None, before[-1])


async def test_a_plan_for_stores_that_are_not_backed_up_is_told() -> None:
    world = PlannedWorld(offer={"s3": S3})
    await world.pass_days(2)
    assert (world.backups, world.reason) == ([], Reason.INVALID_SPEC)


async def test_without_a_plan_the_newest_backup_is_told_and_planned_ones_stay() -> None:
    world = PlannedWorld(DAILY | {"keep": {"last": 1}})
    await world.pass_days(1)
    world.set_plan(None)
    await world.pass_days(3)
    assert (world.backups, world.found.condition) == (["mlflow-20260102-0100"], None)
    assert world.found.status is not None
    assert world.found.status.as_kubernetes() == {
        "lastPlannedAt": "2026-01-02T01:00:00Z",
        "lastComplete": "mlflow-20260102-0100",
        "lastCompletedAt": world.backup("mlflow-20260102-0100")["status"]["completedAt"],
    }


async def test_what_a_plan_makes_says_so_and_belongs_to_nobody() -> None:
    world = PlannedWorld()
    await world.pass_days(1)
    metadata = world.backup("mlflow-20260102-0100")["metadata"]
    assert metadata["labels"][SCHEDULED_LABEL] == "20260102T0100Z"
    assert "ownerReferences" not in metadata
    assert "TrackingServer" in {one.kind for one in requests_for(world.backup(world.backups[0]), world.cache)}


async def test_so_many_backups_run_on_a_postgresql_at_a_time_and_fewer_of_one_namespace() -> None:
    world = World()
    world.now = NOW - timedelta(hours=2)  # when everything is made
    original = world.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
    del world.api.objects[TRACKING_SERVER_BACKUP, "team-a", "nightly"]
    begun = []
    for team in ("team-a", "team-b", "team-c"):
        world.api.store({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}})
        for name in ("x", "y", "z"):
            here = {"name": name, "namespace": team}
            world.api.store(original | {"metadata": here})
            world.api.store(
                {
                    "apiVersion": API_VERSION,
                    "kind": "TrackingServerBackup",
                    "metadata": here,
                    "spec": {"serverRef": {"name": name}},
                }
            )
            for _ in range(2):
                for obj in world.api.objects.values():
                    world.cache.upsert(obj)
                outcome = await world.loop.reconcile(team, name)
            begun.append(outcome.requeue_after is None)
    assert begun == [True, True, False, True, True, False, False, False, False]
    world.now += timedelta(hours=1)
    for obj in world.api.objects.values():
        world.cache.upsert(obj)
    assert (
        await world.loop.reconcile("team-c", "x")
    ).requeue_after is None  # those before it take too long to count
