"""What counts as a call of the operator, and as a write."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from bench.calls import CallCount, OperatorCalls, count_calls, sum_of
from dev.audit import ApiCall, AuditLog

OPERATOR = "system:serviceaccount:tracking-operator-system:tracking-operator"


def call(
    verb: str, resource: str, subresource: str = "", *, user: str = OPERATOR, code: int = 200
) -> ApiCall:
    return ApiCall(user, "tracking-operator", verb, resource, subresource, "team-a", "mlflow", code)


def test_calls_are_counted_by_verb_and_resource() -> None:
    count = count_calls(
        [call("patch", "services"), call("patch", "services"), call("patch", "trackingservers", "status")],
        OPERATOR,
    )
    assert count.calls == {("patch", "services"): 2, ("patch", "trackingservers/status"): 1}
    assert (count.writes, count.status_writes, count.reads) == (3, 1, 0)


def test_others_and_watches_do_not_count() -> None:
    calls = [call("patch", "services", user="kubernetes-admin"), call("watch", "services")]
    assert count_calls(calls, OPERATOR).total == 0


def test_leases_and_events_are_counted_apart() -> None:
    count = count_calls([call("update", "leases"), call("get", "leases"), call("create", "events")], OPERATOR)
    assert (count.total, count.events, count.lease_calls) == (0, 1, 2)


def test_a_question_is_no_write() -> None:
    count = count_calls([call("create", "selfsubjectaccessreviews"), call("list", "pods")], OPERATOR)
    assert (count.writes, count.reads) == (0, 2)


def test_a_refused_write_counts() -> None:
    assert count_calls([call("patch", "deployments", code=422)], OPERATOR).writes == 1


def test_what_is_no_resource_is_discovery() -> None:
    assert count_calls([call("get", "")], OPERATOR).calls == {("get", "discovery"): 1}


def test_counts_add_up() -> None:
    one = CallCount({("get", "services"): 1, ("patch", "services"): 1}, events=1, lease_calls=2)
    other = CallCount({("patch", "services"): 2}, events=0, lease_calls=1)
    assert sum_of([one, other]) == CallCount(
        {("get", "services"): 1, ("patch", "services"): 3}, events=1, lease_calls=3
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "audit.log"
    file.touch()
    return file


def append(log: Path, verb: str, resource: str) -> None:
    event = {
        "auditID": uuid4().hex,
        "user": {"username": OPERATOR},
        "verb": verb,
        "objectRef": {"resource": resource},
    }
    with log.open("a") as stream:
        for stage in ("RequestReceived", "ResponseComplete"):
            stream.write(json.dumps(event | {"stage": stage}) + "\n")


async def test_settled_tells_what_was_called_since_the_mark(log: Path) -> None:
    append(log, "patch", "deployments")
    calls = OperatorCalls(AuditLog(log), OPERATOR)
    calls.mark()
    append(log, "patch", "services")
    append(log, "update", "leases")
    assert (await calls.settled(quiet_seconds=0.0)).calls == {("patch", "services"): 1}
