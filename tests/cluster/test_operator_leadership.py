"""Restarts and hand-overs of the operator: nothing is written without need, nothing is forgotten."""

import re
import time
from urllib.request import urlopen

import pytest

from dev.loopback import free_port
from tests.operator_fixtures import (
    CHILDREN_AT_LEAST,
    LEASE_NAME,
    OPERATOR_NAMESPACE,
    SECONDS_TO_START,
    OperatorCalls,
    OperatorHost,
    Team,
    a_class,
    condition_of,
)
from tests.waiting import patient, wait_until
from tracking_operator.api.labels_and_annotations import OPERATOR_VERSION_ANNOTATION
from tracking_operator.cli.program import own_version
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, LEASE, PERSISTENT_VOLUME_CLAIM, SERVICE, KubeObject

SECONDS_TO_STOP = 10.0
SECONDS_AFTER_A_RELEASE = 2.0
SECONDS_AFTER_A_KILL = 17.0
NOWHERE = {"podTemplate": {"nodeSelector": {"no-such-node": "true"}}}
MANY = 10


@pytest.fixture(autouse=True)
def no_other_operator(operators: OperatorHost) -> None:
    """Each test starts the operators that it is about."""
    operators.make_room()


def test_lease_events_and_metrics_tell_which_version_of_the_operator_is_at_work(
    team: Team, operators: OperatorHost
) -> None:
    port = free_port()
    operators.start(metrics_port=port).wait_until_active()
    team.apply({"className": "missing"})
    team.wait_for_warnings("ClassNotFound")

    (warning,) = team.warnings()
    assert warning["source"]["component"] == warning["reportingComponent"] == "tracking-operator"
    assert warning["reportingInstance"].endswith(f"/{own_version()}")
    assert lease(team)["metadata"]["annotations"][OPERATOR_VERSION_ANNOTATION] == own_version()
    wait_until(
        lambda: f'tracking_operator_build_info{{version="{own_version()}"}} 1.0' in metrics(port),
        30,
        "a metric tells the version",
    )


def test_a_restart_writes_nothing(team: Team, operators: OperatorHost, calls: OperatorCalls) -> None:
    first = operators.start()
    with a_class(team.api, {}) as name:
        for number in range(9):
            team.apply({"suspend": True}, f"healthy-{number}")
        team.apply(NOWHERE, "unschedulable")
        team.apply({"className": "missing"}, "invalid")
        for number in range(9):
            team.wait_for_condition("Ready", reason="Suspended", name=f"healthy-{number}")
        team.wait_for_condition("Ready", reason="Unschedulable", name="unschedulable")
        team.wait_until_so(
            TRACKING_SERVER,
            "unschedulable",
            lambda live: live["status"]["replicas"] == 1,
            "its pod is counted",
        )
        team.wait_for_condition("Ready", reason="ClassNotFound", name="invalid")
        wait_until(lambda: condition_of(class_named(team, name), "Ready"), 10, "the class has a status")
        versions = versions_of_servers(team)
        assert first.stop() == 0
        calls.mark()

        port = free_port()
        second = operators.start(metrics_port=port)
        second.wait_until_active()
        wait_until(lambda: reconciles(port) >= 12, 30, "every server and class was looked at")

        written = [call for call in calls.all() if call.is_write and call.namespace in (team.namespace, "")]
        writes = [call for call in written if call.resource != "selfsubjectaccessreviews"]
        assert not writes, "neither objects nor Events are written"
        assert versions_of_servers(team) == versions


def test_looking_at_settled_servers_again_and_again_costs_no_call(
    team: Team, operators: OperatorHost, calls: OperatorCalls
) -> None:
    port = free_port()
    operators.start(resync=1, metrics_port=port)
    for number in range(3):
        team.made({"suspend": True}, f"settled-{number}")
        team.wait_for_condition("Ready", reason="Suspended", name=f"settled-{number}")

    def three_looks_at_each_cost_no_call() -> bool:
        """Other controllers may still be at work on what was just made, so that the first looks may find news."""
        calls.mark()
        before = reconciles(port)
        wait_until(lambda: reconciles(port) >= before + 9, 30, "three more looks at each server")
        return not calls.all()

    wait_until(three_looks_at_each_cost_no_call, 30, "nothing is written where nothing changes")


def test_sigterm_ends_the_operator_well_and_the_other_one_takes_over_within_two_seconds(
    team: Team, operators: OperatorHost
) -> None:
    active = operators.start()
    active.wait_until_active()
    standby = operators.start()
    standby.wait_until_ready()
    for number in range(MANY):
        team.apply({"suspend": True}, f"server-{number}")

    started = time.monotonic()
    active.process.terminate()
    released = wait_for_holder(team, "")
    taken_over = wait_for_holder(team)
    code = active.process.wait(patient(SECONDS_TO_STOP))
    stopped = time.monotonic()

    assert code == 0
    assert stopped - started < patient(SECONDS_TO_STOP)
    assert taken_over - released < patient(SECONDS_AFTER_A_RELEASE)
    standby.wait_until_active(SECONDS_AFTER_A_RELEASE)
    assert_all_are_whole(team)


def test_after_a_kill_during_creation_the_other_one_finishes_everything_and_doubles_nothing(
    team: Team, operators: OperatorHost
) -> None:
    active = operators.start()
    active.wait_until_active()
    standby = operators.start()
    standby.wait_until_ready()
    for number in range(MANY):
        team.apply({"suspend": True}, f"server-{number}")
    wait_until(lambda: len(team.api.list(SERVICE, team.namespace)) >= 3, 10, "some servers are made")
    before = holder(team)

    active.kill()
    killed = time.monotonic()
    made_by_the_first = {
        claim["metadata"]["uid"] for claim in team.api.list(PERSISTENT_VOLUME_CLAIM, team.namespace)
    }
    wait_until(lambda: holder(team) not in ("", before), 30, "the other one holds the Lease")
    seconds = time.monotonic() - killed

    assert seconds < patient(SECONDS_AFTER_A_KILL), f"taken over only after {seconds:.1f} s"
    assert_all_are_whole(team)
    claims = {claim["metadata"]["uid"] for claim in team.api.list(PERSISTENT_VOLUME_CLAIM, team.namespace)}
    assert made_by_the_first <= claims
    assert len(claims) == 2 * MANY


def test_only_the_active_operator_writes(team: Team, operators: OperatorHost) -> None:
    active = operators.start()
    active.wait_until_active()
    standby = operators.start()
    standby.wait_until_ready()

    team.made({"suspend": True})

    assert any(line["message"].startswith("Wrote ") for line in active.log_lines())
    assert not any(line["message"].startswith("Wrote ") for line in standby.log_lines())
    assert not standby.is_active()


def test_what_happened_while_no_operator_ran_is_made_good(
    team: Team, operators: OperatorHost, calls: OperatorCalls
) -> None:
    first = operators.start()
    for name in ("kept", "changed", "deleted"):
        team.made({"suspend": True, "deletionPolicy": "Delete"}, name)
        team.wait_for_condition("Ready", reason="Suspended", name=name)
    assert first.stop() == 0

    team.api.delete(SERVICE, team.namespace, "changed")
    team.patch(DEPLOYMENT, {"spec": {"replicas": 3}}, "changed")
    team.delete_server("deleted")
    team.apply({"suspend": True}, "new")
    calls.mark()
    operators.start().wait_until_active()

    team.settled("new")
    team.wait_for(SERVICE, "changed")
    team.wait_until_so(
        DEPLOYMENT, "changed", lambda live: live["spec"]["replicas"] == 0, "replicas put right"
    )
    team.wait_until_gone(TRACKING_SERVER, "deleted")
    assert not [call for call in calls.writes(team.namespace) if call.name.startswith("kept")]


def test_an_operator_whose_lease_is_taken_ends_at_once(team: Team, operators: OperatorHost) -> None:
    operator = operators.start()
    operator.wait_until_active()

    team.api.patch(LEASE, OPERATOR_NAMESPACE, LEASE_NAME, {"spec": {"holderIdentity": "somebody-else"}})

    assert operator.process.wait(patient(SECONDS_TO_STOP)) == 1
    assert "is lost" in operator.log_text()


def test_an_operator_without_a_right_says_which(team: Team, operators: OperatorHost) -> None:
    allowed = operators.kubeconfig
    operators.kubeconfig = allowed.with_name("without-rights")
    operators.kubeconfig.write_text(re.sub(r"token: .*", "token: none", allowed.read_text()))
    try:
        operator = operators.start()
    finally:
        operators.kubeconfig = allowed

    assert operator.process.wait(patient(SECONDS_TO_START)) == 1
    last = operator.log_lines()[-1]
    assert last["level"] == "ERROR"
    assert "Unauthorized" in last["message"]


def assert_all_are_whole(team: Team) -> None:
    """All servers have all of their children, and there is nothing else."""
    for number in range(MANY):
        team.wait_for_condition("Ready", reason="Suspended", name=f"server-{number}")
    for number in range(MANY):
        assert len(team.children(f"server-{number}")) == CHILDREN_AT_LEAST
    assert len(team.api.list(DEPLOYMENT, team.namespace)) == MANY


def versions_of_servers(team: Team) -> dict[str, str]:
    """The resource versions of the team's servers, by name."""
    servers = team.api.list(TRACKING_SERVER, team.namespace)
    return {server["metadata"]["name"]: server["metadata"]["resourceVersion"] for server in servers}


def class_named(team: Team, name: str) -> KubeObject:
    """A class."""
    return team.api.get(TRACKING_SERVER_CLASS, None, name)


def holder(team: Team) -> str:
    """Who holds the Lease."""
    return str(lease(team)["spec"].get("holderIdentity") or "")


def lease(team: Team) -> KubeObject:
    """The Lease of the operator."""
    return team.api.get(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)


def wait_for_holder(team: Team, name: str | None = None) -> float:
    """When the Lease has come to this holder, or to anybody."""
    wait_until(
        lambda: holder(team) == name if name is not None else holder(team),
        30,
        f"the holder is {name!r}",
        interval=0.01,
    )
    return time.monotonic()


def reconciles(port: int) -> int:
    """How many looks at a resource an operator has finished."""
    pattern = r"^tracking_operator_reconcile_seconds_count\{.*\} ([0-9.]+)$"
    return int(sum(map(float, re.findall(pattern, metrics(port), re.MULTILINE))))


def metrics(port: int) -> str:
    """What an operator serves as its metrics."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patient(5)) as answer:
        return bytes(answer.read()).decode()
