"""A policy of the cluster changes what the operator writes: it gives way, says where, and comes back when the policy goes.

The policies are real ones of the API server; Autopilot, Kyverno and other webhooks change objects at the same place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from tests.cluster.test_operator_access import NOWHERE, serve
from tests.operator_fixtures import OPERATOR_USER, OperatorCalls, OperatorHost, RunningOperator, Team
from tests.waiting import wait_until
from tracking_operator.kube.contested import MOST_TRIES
from tracking_operator.kube.objects import DEPLOYMENT, Kind, KubeObject, register

API = "admissionregistration.k8s.io/v1beta1"
POLICY = register(Kind(API, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", namespaced=False))
BINDING = register(
    Kind(API, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", namespaced=False)
)
RESYNC_SECONDS = 2.0
POD = "Object.spec.template.spec"


@dataclass(frozen=True)
class Change:
    """What a policy makes of every Deployment, as CEL, and what it is seen by."""

    what: str
    mutation: KubeObject
    field: str
    """The place that the condition names."""
    is_there: Callable[[KubeObject], bool]


def merged(expression: str) -> KubeObject:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patched(expression: str) -> KubeObject:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def container(deployment: KubeObject) -> KubeObject:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


DISPUTED = [
    Change(
        "other resources",
        patched(
            '[JSONPatch{op: "add", path: "/spec/template/spec/containers/0/resources/limits/cpu", value: "3"}]'
        ),
        "containers[mlflow].resources.limits",
        lambda live: container(live)["resources"]["limits"].get("cpu") == "3",
    ),
    Change(
        "one more variable",
        merged(
            f"Object{{spec: Object.spec{{template: Object.spec.template{{spec: {POD}{{containers: [{POD}.containers{{"
            f'name: "mlflow", env: [{POD}.containers.env{{name: "HTTPS_PROXY", value: "http://proxy"}}]}}]}}}}}}}}'
        ),
        "containers[mlflow].env",
        lambda live: any(one["name"] == "HTTPS_PROXY" for one in container(live)["env"]),
    ),
    Change(
        "another value of the Deployment itself",
        merged("Object{spec: Object.spec{revisionHistoryLimit: 1}}"),
        "spec.revisionHistoryLimit",
        lambda live: live["spec"]["revisionHistoryLimit"] == 1,
    ),
]

LABELLED = Change(
    "labels",
    merged(
        'Object{metadata: Object.metadata{labels: Object.metadata.labels{cost: "a"}}, spec: Object.spec{template: '
        'Object.spec.template{metadata: Object.spec.template.metadata{labels: Object.spec.template.metadata.labels{cost: "a"}}}}}'
    ),
    "",
    lambda live: live["spec"]["template"]["metadata"]["labels"].get("cost") == "a",
)


@pytest.fixture
def operator(operators: OperatorHost) -> Iterator[RunningOperator]:
    """An operator of this test alone, that looks at everything again after seconds instead of minutes."""
    operators.make_room()
    running = operators.start(resync=RESYNC_SECONDS)
    running.wait_until_active()
    yield running
    running.stop()


@pytest.mark.parametrize("change", DISPUTED, ids=lambda change: change.what)
def test_a_policy_that_changes_the_deployment_is_given_way_to_until_it_goes(
    change: Change, team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.apply(NOWHERE)
    serve(team)
    team.wait_for_condition("WorkloadReady", status="True", reason="WorkloadAvailable")
    before = team.get(DEPLOYMENT)["spec"]
    calls.mark()

    with a_policy(team, change):
        serve(team)
        condition = team.wait_for_condition("WorkloadReady", status="True", reason="ChangedByOthers")
        assert change.field in condition["message"]
        assert 1 <= len(writes_of_deployment(team, calls)) <= MOST_TRIES
        assert_quiet(team, calls, dry_runs=3)
        assert change.is_there(team.get(DEPLOYMENT))
        calls.mark()

    team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["spec"] == before, "it is as it was")
    serve(team)
    team.wait_for_condition("WorkloadReady", status="True", reason="WorkloadAvailable")
    assert len(writes_of_deployment(team, calls)) == 1
    assert_quiet(team, calls, dry_runs=0)


def test_what_was_given_way_to_is_written_again_when_something_else_is_wanted(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    change = DISPUTED[0]
    team.apply(NOWHERE)
    serve(team)
    with a_policy(team, change):
        serve(team)
        team.wait_for_condition("WorkloadReady", reason="ChangedByOthers")
        calls.mark()

        team.patch_server({"spec": {"resources": {"limits": {"cpu": "3"}}}})

        wait_until(lambda: writes_of_deployment(team, calls), 30, "the change is written")
        serve(team)
        team.wait_for_condition("WorkloadReady", status="True", reason="WorkloadAvailable")


def test_a_policy_that_only_adds_labels_is_no_dispute(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.apply(NOWHERE)
    serve(team)
    team.wait_for_condition("WorkloadReady", status="True")
    with a_policy(team, LABELLED):
        serve(team)
        team.wait_for_condition("WorkloadReady", status="True", reason="WorkloadAvailable")
        calls.mark()
        team.patch_server({"spec": {"workers": 2}})
        wait_until(lambda: writes_of_deployment(team, calls), 30, "the change is written")
        serve(team)
        team.wait_for_condition("WorkloadReady", status="True", reason="WorkloadAvailable")
        assert len(writes_of_deployment(team, calls)) == 1
        assert_quiet(team, calls, dry_runs=0)


@contextmanager
def a_policy(team: Team, change: Change) -> Iterator[None]:
    """A policy for the Deployments of the team's namespace, in force for the time of the block."""
    name = f"changes-{team.namespace}"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    here = {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}}
    policy = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
        "mutations": [change.mutation],
    }
    kinds = ((POLICY, policy), (BINDING, {"policyName": name}))
    try:
        for kind, spec in kinds:
            team.api.create({"apiVersion": API, "kind": kind.kind, "metadata": {"name": name}, "spec": spec})
        numbers = count()
        wait_until(lambda: change.is_there(touched(team, next(numbers))), 60, "the policy is in force")
        yield
    finally:
        for kind, _ in reversed(kinds):
            team.api.delete(kind, None, name)


def touched(team: Team, number: int) -> KubeObject:
    """Have somebody write to the Deployment, as its policy sees."""
    return team.patch(DEPLOYMENT, {"metadata": {"annotations": {"example.com/touched": str(number)}}})


def writes_of_deployment(team: Team, calls: OperatorCalls) -> list[str]:
    return [call.verb for call in calls.writes(team.namespace) if call.resource == "deployments"]


def assert_quiet(team: Team, calls: OperatorCalls, *, dry_runs: int) -> None:
    """Nothing is written while the operator asks again by so many dry runs; without a dispute while it makes a later server."""
    calls.mark()
    if dry_runs:
        wait_until(lambda: len(dry_runs_of(team, calls)) >= dry_runs, 60, "the operator asks by dry runs")
    else:
        team.made({"suspend": True}, "later")
        assert not dry_runs_of(team, calls)
    writes = [call for call in calls.writes(team.namespace) if not call.name.startswith("later")]
    assert not writes


def dry_runs_of(team: Team, calls: OperatorCalls) -> list[str]:
    return [
        call.verb
        for call in calls.log.calls()
        if call.user == OPERATOR_USER and call.namespace == team.namespace and call.is_dry_run
    ]
