"""How Flux finds servers and backups, by its own code: whatever the operator can report, and what has not been reported yet."""

import json
import subprocess
from copy import deepcopy

import pytest

from dev.local_cluster.binaries import own_program
from tests.kstatus import health_check_exprs, is_asleep, kstatus
from tests.reported_servers import reported_backups, reported_servers
from tests.waiting import patient
from tracking_operator.kube.objects import KubeObject, KubeObjects

pytestmark = pytest.mark.campaign
"""Its program is compiled from Flux's modules, which takes two minutes."""
SECONDS = 60.0


@pytest.fixture(scope="module")
def reported() -> KubeObjects:
    """Each state in which a server or a backup can be found."""
    return [one for one in (*reported_servers(), *reported_backups()) if "status" in one]


@pytest.fixture(scope="module")
def judged(reported: KubeObjects) -> list[dict[str, str]]:
    return judge(reported)


def judge(resources: KubeObjects) -> list[dict[str, str]]:
    """What kstatus says of each resource, and what Flux makes of the page's expressions."""
    (of_servers,) = health_check_exprs()
    question = {
        "healthCheckExprs": [of_servers, of_servers | {"kind": "TrackingServerBackup"}],
        "resources": resources,
    }
    done = subprocess.run(
        [own_program("flux-health")],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=patient(SECONDS),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, str]] = json.loads(done.stdout)
    assert len(answers) == len(resources)
    return answers


def test_kstatus_itself_says_what_our_tests_expect_of_it(
    reported: KubeObjects, judged: list[dict[str, str]]
) -> None:
    assert len(reported) > 500
    assert [said["kstatus"] for said in judged] == [kstatus(one) for one in reported]
    assert {said["kstatus"] for said in judged} == {"InProgress", "Failed", "Current"}


def test_flux_itself_says_by_the_expressions_what_kstatus_says_but_of_servers_that_sleep(
    reported: KubeObjects, judged: list[dict[str, str]]
) -> None:
    expected = ["Current" if is_asleep(one) else kstatus(one) for one in reported]
    assert [said["expressions"] for said in judged] == expected
    assert any(is_asleep(one) for one in reported)


def test_flux_waits_for_what_the_operator_has_not_looked_at_and_for_what_is_being_deleted() -> None:
    new = [next(iter(reported_servers())), next(iter(reported_backups()))]
    not_looked_at = [without_status(one) for one in new]
    deleted = [with_deletion(one) for one in new]
    assert [said["expressions"] for said in judge(not_looked_at)] == ["Unknown", "Unknown"]
    assert [said["kstatus"] for said in judge(deleted)] == ["Terminating", "Terminating"]


def without_status(resource: KubeObject) -> KubeObject:
    return {key: value for key, value in resource.items() if key != "status"}


def with_deletion(resource: KubeObject) -> KubeObject:
    deleted = deepcopy(resource)
    deleted["metadata"]["deletionTimestamp"] = "2026-12-01T00:00:00Z"
    return deleted
