"""Planned backups are restored for a trial now and then: what is made for it, what it shows, and that nothing is left of it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.controllers.backup.test_planned_backups import DAILY, PlannedWorld
from tests.unit.controllers.backup.test_reconciler import SECRET_URL
from tests.unit.examples import Manifest
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import FINALIZER
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.watches import requests_for
from tracking_operator.failures import Unavailable
from tracking_operator.kube.objects import JOB, NETWORK_POLICY, POD, SECRET

WEEKLY: Manifest = DAILY | {"verifyEvery": "7d", "keep": {"last": 3}}
FIRST, SECOND = "mlflow-20260102-0100", "mlflow-20260103-0100"
OF_THE_TRIAL = {
    (JOB, "mlflow-trial"),
    (NETWORK_POLICY, "mlflow-trial"),
    (SECRET, "mlflow-trial"),
    (SECRET, "mlflow-trial-database"),
}


class TriedWorld(PlannedWorld):
    """A server whose backups are tried out each week."""

    def __init__(self, plan: Manifest = WEEKLY) -> None:
        super().__init__(plan)

    async def first(self) -> None:
        """Have a backup, and its trial begun."""
        await self.pass_days(1)
        await self.reconcile(FIRST, times=2)

    def left(self) -> set[object]:
        """What is there because of a trial."""
        found: set[object] = {
            (kind, name)
            for kind, _, name in self.api.objects
            if name.startswith("mlflow-trial") and kind != POD
        }
        return found | {f"database of {name}" for name in self.databases.made}

    def end_trial(self, **how: object) -> None:
        self.end(**{"name": "mlflow-trial", "container": "restore-backup", **how})  # type: ignore[arg-type]

    def restorable(self, name: str = FIRST) -> tuple[str, str] | None:
        found = {one["type"]: one for one in self.backup(name)["status"]["conditions"]}
        one = found.get("Restorable")
        return (one["status"], one["reason"]) if one else None

    def ready(self, name: str = FIRST) -> str:
        found = {one["type"]: one for one in self.backup(name)["status"]["conditions"]}
        return str(found["Ready"]["status"])


async def test_a_backup_is_restored_into_a_database_that_is_there_for_that_only() -> None:
    world = TriedWorld()
    await world.first()
    assert world.left() == OF_THE_TRIAL | {f"database of {FIRST}"}
    job = world.api.objects[JOB, "team-a", "mlflow-trial"]
    command = " ".join(job["spec"]["template"]["spec"]["containers"][0]["command"])
    assert "--trial" in command
    assert "--manifest-sha256=sha256-of-the-manifest" in command
    mounted = {one.get("secret", {}).get("secretName") for one in job["spec"]["template"]["spec"]["volumes"]}
    assert {"mlflow-trial", "mlflow-trial-database"} <= mounted
    assert "mlflow-database" not in mounted
    assert SECRET_URL not in str(job)
    assert FIRST in {one.name for one in requests_for(job, world.cache)}
    assert job["metadata"]["ownerReferences"][0]["name"] == FIRST

    world.end_trial(message="3 runs and 2 artifacts are restored.")
    await world.reconcile(FIRST)
    assert (world.restorable(), world.ready(), world.left()) == (("True", "AsExpected"), "True", set())
    status = world.backup(FIRST)["status"]
    assert status["verifiedAt"] == f"{world.now:%Y-%m-%dT%H:%M:%SZ}"
    assert "scratchDatabase" not in status
    world.api.calls.clear()
    outcome = await world.reconcile(FIRST)
    assert (outcome.requeue_after, world.api.calls) == (7 * 86400, [])


async def test_the_newest_is_tried_when_the_last_trial_was_long_enough_ago() -> None:
    world = TriedWorld()
    await world.first()
    world.end_trial()
    await world.reconcile(FIRST)
    await world.pass_days(1)
    assert await world.reconcile(FIRST) == Outcome()
    outcome = await world.reconcile(SECOND)
    assert world.left() == set()
    world.now += timedelta(seconds=outcome.requeue_after or 0)
    await world.reconcile(SECOND, times=2)
    assert f"database of {SECOND}" in world.left()


@pytest.mark.parametrize("is_missing", [True, False])
async def test_a_broken_backup_is_told_and_another_one_is_kept_instead(*, is_missing: bool) -> None:
    world = TriedWorld(WEEKLY | {"keep": {"last": 1}})
    if is_missing:
        await world.pass_days(1)
        world.bucket.folders[str(world.backup(FIRST)["status"]["folder"])] = None
        await world.reconcile(FIRST, times=2)
    else:
        await world.first()
        world.end_trial(reason="BackupBroken", message="part-00000 is another one.", exit_code=51)
        await world.reconcile(FIRST)
    assert (world.restorable(), world.ready(), world.left()) == (("False", "BackupBroken"), "False", set())
    assert "verifiedAt" in world.backup(FIRST)["status"]
    assert Reason.BACKUP_BROKEN in [one[2] for one in world.events.recorded]
    await world.look()
    assert world.reason == Reason.BACKUP_FAILED
    world.api.calls.clear()
    await world.reconcile(FIRST)
    assert world.api.calls == []
    await world.pass_days(1)
    assert (world.backups, world.reason) == ([SECOND], Reason.AS_EXPECTED)


async def test_a_trial_that_could_not_be_made_says_nothing_against_the_backup_and_is_made_again() -> None:
    world = TriedWorld()
    await world.first()
    world.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    world.end_trial(exit_code=137)
    outcome = await world.reconcile(FIRST)
    assert (world.restorable(), world.ready()) == (("False", Reason.CRASH_LOOPING), "True")
    world.now += timedelta(seconds=(outcome.requeue_after or 0) + 1)
    await world.reconcile(FIRST, times=2)
    assert "status" not in world.api.objects[JOB, "team-a", "mlflow-trial"]


async def test_what_is_there_for_a_trial_goes_with_the_backup_the_plan_and_only_when_postgresql_lets_it() -> (
    None
):
    world = TriedWorld()
    await world.first()
    world.databases.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    found = world.backup(FIRST)
    deleted = found["metadata"] | {"deletionTimestamp": "2026-01-02T12:00:00Z"}
    world.api.store(found | {"metadata": deleted})
    await world.reconcile(FIRST)
    assert FINALIZER in world.backup(FIRST)["metadata"]["finalizers"]
    world.databases.failure = None
    await world.reconcile(FIRST, times=2)
    assert world.left() == set()

    world = TriedWorld()
    await world.first()
    world.set_plan(DAILY)
    await world.reconcile(FIRST)
    assert (world.left(), world.restorable()) == (set(), None)
    assert "scratchDatabase" not in world.backup(FIRST)["status"]
