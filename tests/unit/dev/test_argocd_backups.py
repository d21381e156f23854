"""What Argo CD and kstatus make of backups: in whatever the operator can report, and as the operator itself takes one."""

import pytest
import yaml

from dev.argocd.__main__ import CUSTOMIZATIONS, FOLDER
from dev.argocd.examples import UNSEEN
from tests.argo_lua import script
from tests.kstatus import kstatus
from tests.reported_servers import backup_results, reported_backups
from tests.unit.controllers.backup.test_reconciler import STORED, World
from tracking_operator.api.conditions import Reason, reason_of
from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.controllers.conditions.condition_result import Verdict, verdict_on
from tracking_operator.failures import Unavailable
from tracking_operator.kube.objects import KubeObject

SCRIPTS = FOLDER / CUSTOMIZATIONS / GROUP
HEALTH = script((SCRIPTS / "TrackingServerBackup" / "health.lua").read_text())
ALIKE = {"Healthy": "Current", "Degraded": "Failed", "Progressing": "InProgress"}
"""What kstatus, and so Flux, says where Argo CD says this."""


def condition(backup: KubeObject, type_: str) -> KubeObject:
    return next((one for one in backup["status"]["conditions"] if one["type"] == type_), {})


def judged(world: World) -> str:
    """Argo CD's health of the world's backup, once the message is that of Complete and kstatus agrees."""
    backup = world.backup()
    found: dict[str, str] = HEALTH(backup)
    if "deletionTimestamp" not in backup["metadata"]:
        assert kstatus(backup) == ALIKE[found["status"]]
    assert found["message"] == condition(backup, "Complete")["message"]
    return found["status"]


def test_whatever_is_reported_of_a_backup_is_judged_by_its_verdict() -> None:
    backups = list(reported_backups())
    assert len(backups) > 6 * len(list(backup_results()))
    seen = set()
    for backup in backups:
        found: dict[str, str] = HEALTH(backup)
        ready = condition(backup, "Ready")
        if backup["status"]["observedGeneration"] != backup["metadata"]["generation"]:
            expected, message = "Progressing", UNSEEN
        elif ready["status"] == "True":
            expected, message = "Healthy", ready["message"]
        else:
            is_blocked = verdict_on(reason_of(ready["reason"])) is Verdict.BLOCKED
            expected, message = "Degraded" if is_blocked else "Progressing", ready["message"]
        assert found == {"status": expected, "message": message}, ready
        assert kstatus(backup) == ALIKE[expected], ready
        seen.add(expected)
    assert seen == set(ALIKE)


async def test_a_backup_is_progressing_until_it_is_complete_and_healthy_then() -> None:
    world = World()
    await world.begun()
    assert judged(world) == "Progressing"
    world.end(exit_code=137)
    world.bucket.folders[world.folder()] = None
    await world.reconcile(times=3)
    assert judged(world) == "Progressing"

    world.end()
    world.bucket.folders[world.folder()] = STORED
    await world.reconcile()
    assert judged(world) == "Healthy"

    found = world.backup()
    world.api.store(found | {"spec": found["spec"] | {"deletionPolicy": "Retain"}})
    assert HEALTH(world.backup()) == {"status": "Progressing", "message": UNSEEN}
    assert kstatus(world.backup()) == "InProgress"
    await world.reconcile()
    assert judged(world) == "Healthy"

    world.delete()
    world.bucket.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    assert judged(world) == "Progressing"


async def test_a_backup_that_waits_is_progressing_and_says_for_what() -> None:
    world = World(has_server=False)
    await world.reconcile()
    assert (judged(world), world.condition()[1]) == ("Progressing", Reason.SERVER_NOT_FOUND)

    world = World()
    await world.reconcile()
    world.bucket.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    await world.reconcile()
    assert (judged(world), world.condition()[1]) == ("Progressing", Reason.STORE_UNREACHABLE)


@pytest.mark.parametrize("is_of_the_class", [True, False])
async def test_a_backup_that_is_given_up_is_degraded(*, is_of_the_class: bool) -> None:
    world = World() if is_of_the_class else World(offer={})
    if is_of_the_class:
        await world.begun()
        world.end(reason="BackupFailed", message="There are too many.", exit_code=50)
    await world.reconcile(times=2)
    assert (judged(world), world.condition()[1]) == ("Degraded", Reason.BACKUP_FAILED)


async def test_a_backup_that_the_operator_cannot_read_is_degraded() -> None:
    world = World()
    found = world.backup()
    world.api.store(found | {"spec": found["spec"] | {"artifacts": "Some"}})
    await world.reconcile()
    said: dict[str, str] = HEALTH(world.backup())
    assert (said["status"], kstatus(world.backup())) == ("Degraded", "Failed")
    assert "spec.artifacts" in said["message"]


async def test_a_complete_backup_that_can_be_read_again_is_healthy_again() -> None:
    world = World()
    await world.begun()
    world.end()
    world.bucket.folders[world.folder()] = STORED
    await world.reconcile()
    found = world.backup()
    world.api.store(found | {"spec": found["spec"] | {"artifacts": "Some"}})
    await world.reconcile()
    assert HEALTH(world.backup())["status"] == "Degraded"

    world.api.store(world.backup() | {"spec": found["spec"]})
    await world.reconcile()
    assert judged(world) == "Healthy"


def test_a_backup_that_nobody_has_looked_at_is_healthy_to_kstatus_alone() -> None:
    new = yaml.safe_load((SCRIPTS / "TrackingServerBackup" / "testdata" / "new.yaml").read_text())
    assert HEALTH(new)["status"] == "Progressing"
    assert kstatus(new) == "Current"  # why docs/how-to/gitops.md has Flux ask expressions of backups, too
