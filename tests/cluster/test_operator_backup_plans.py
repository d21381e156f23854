"""What a server's plan makes and deletes, with the operator's own rights, on a real API server. No pod runs."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import OperatorHost, Team, a_team, condition_of
from tests.operator_object_store import RealObjectStore, an_s3_class
from tests.operator_postgres import RealPostgres, a_postgres_class
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import SCHEDULED_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import KubeObject

pytest_plugins = ["tests.operator_object_store"]

SECONDS_TO_NOTICE = 30.0
YEARLY = {"schedule": "0 0 1 1 *", "keep": {"last": 1}}


@pytest.fixture
def team(
    api: KubeApi, operators: OperatorHost, postgres: RealPostgres, object_store: RealObjectStore
) -> Iterator[Team]:
    """A team whose servers have a database and a prefix."""
    operators.share()
    with an_s3_class(api, object_store) as of_bucket:
        bucket = api.get(TRACKING_SERVER_CLASS, None, of_bucket.name)["spec"]["s3"]
        with a_postgres_class(api, postgres, spec={"s3": bucket}) as class_, a_team(api) as team:
            team.apply({"className": class_.name, "maintenance": {"backup": YEARLY}})
            yield team


def backups_of(team: Team) -> list[str]:
    return sorted(one["metadata"]["name"] for one in team.api.list(TRACKING_SERVER_BACKUP, team.namespace))


def plan_of(team: Team) -> KubeObject:
    found: KubeObject = (team.server().get("status") or {}).get("backups") or {}
    return found


def make_due(team: Team, slot: str) -> None:
    """Have the server's status say that the next backup was due long ago; a write of the operator may come between."""
    wait_until(lambda: "nextAt" in plan_of(team), SECONDS_TO_NOTICE, "the plan is in the status")
    team.api.patch_status(
        TRACKING_SERVER, team.namespace, "mlflow", {"backups": plan_of(team) | {"nextAt": slot}}
    )


def complete(team: Team, name: str) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "AsExpected",
        "message": "",
        "lastTransitionTime": now,
    }
    team.api.patch_status(
        TRACKING_SERVER_BACKUP, team.namespace, name, {"conditions": [condition], "completedAt": now}
    )


def test_what_is_due_is_made_once_and_what_is_too_much_goes(team: Team) -> None:
    this_year = f"{datetime.now(UTC).year}"
    newest = f"mlflow-{this_year}0101-0000"
    make_due(team, "2020-01-01T00:00:00Z")
    wait_until(
        lambda: backups_of(team) == [newest], SECONDS_TO_NOTICE, "the last slot has its backup, and no other"
    )
    labels = team.get(TRACKING_SERVER_BACKUP, newest)["metadata"]["labels"]
    assert labels[SCHEDULED_LABEL] == f"{this_year}0101T0000Z"
    wait_until(
        lambda: plan_of(team).get("nextAt") == f"{int(this_year) + 1}-01-01T00:00:00Z",
        SECONDS_TO_NOTICE,
        "the next slot is told",
    )
    complete(team, newest)
    condition = team.wait_for_condition("BackedUp", status="True")
    assert newest in condition["message"]
    older = team.get(TRACKING_SERVER_BACKUP, newest)
    older["metadata"] = {
        "name": "older",
        "namespace": team.namespace,
        "labels": {SCHEDULED_LABEL: "20200101T0000Z"},
    }
    team.api.create({key: older[key] for key in ("apiVersion", "kind", "metadata", "spec")})
    complete(team, "older")
    team.wait_until_gone(TRACKING_SERVER_BACKUP, "older", SECONDS_TO_NOTICE)
    assert backups_of(team) == [newest]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"schedule": "every night"}, "must be a cron line"),
        ({"schedule": "0 2 * * *", "timeZone": "../etc/passwd"}, "must be the name of a time zone"),
        ({"schedule": "0 2 * * *", "keep": {"last": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_a_plan_is_refused_at_once(team: Team, plan: KubeObject, said: str) -> None:
    with pytest.raises(Refused, match=said):
        team.api.patch(TRACKING_SERVER, team.namespace, "mlflow", {"spec": {"maintenance": {"backup": plan}}})


def test_a_zone_that_nobody_knows_is_told_and_the_server_goes_on(team: Team) -> None:
    plan = {"schedule": "0 2 * * *", "timeZone": "Europe/Atlantis"}
    team.api.patch(TRACKING_SERVER, team.namespace, "mlflow", {"spec": {"maintenance": {"backup": plan}}})
    condition = team.wait_for_condition("BackedUp", status="False")
    assert condition["reason"] == "InvalidSpec"
    assert "Europe/Atlantis" in condition["message"]
    assert (condition_of(team.server(), "SpecValid") or {}).get("status") == "True"
