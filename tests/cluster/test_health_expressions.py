"""The expressions that docs/how-to/gitops.md gives to Flux, judged by an API server, which speaks CEL as well."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.admission import a_policy
from tests.kstatus import health_check_exprs, is_asleep, kstatus
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import OperatorHost, RunningOperator, Team
from tests.reported_servers import reported_backups, reported_servers
from tests.waiting import wait_until
from tracking_operator.kube.objects import DEPLOYMENT, Kind, KubeObject, KubeObjects, register

ASKED = "example.com/asked"
SECONDS_TO_BE_ACTIVE = 30.0
"""Until the API server goes by a new policy."""
LIST = register(Kind("apps/v1", "ControllerRevision", "controllerrevisions"))
"""A kind of Kubernetes' own whose data may be anything."""
AT_ONCE = 100
"""How many servers one request is about: what a policy may compute for one is limited."""
SAID = "said: "


@pytest.fixture
def judge(api: KubeApi, team: Team) -> Iterator[None]:
    """A policy that refuses to label a server, and says what each expression is for it."""
    said = " + ' ' + ".join(f"'{name}=' + string({text})" for name, text in expressions().items())
    servers = {
        "apiGroups": ["tracking-operator.dev"],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["trackingservers"],
    }
    spec = {
        "matchConstraints": {
            "resourceRules": [servers],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}},
        },
        "validations": [
            {
                "expression": f"!has(object.metadata.annotations) || !('{ASKED}' in object.metadata.annotations)",
                "messageExpression": said,
            }
        ],
    }
    with a_policy(api, f"{team.namespace}.example.com", spec):
        yield


@pytest.mark.usefixtures("judge")
def test_a_suspended_server_is_current_and_a_refused_one_has_failed(
    team: Team, operators: OperatorHost
) -> None:
    operators.share()
    team.made({"suspend": True})
    team.wait_for_condition("Ready", reason="Suspended")
    assert judged(team) == {"current"}

    team.made({"suspend": True, "className": "there-is-none"})
    team.wait_for_condition("Stalled", status="True")
    assert judged(team) == {"failed"}

    operators.make_room()
    team.patch_server({"spec": {"className": None}})
    assert "inProgress" in judged(team)


@pytest.mark.usefixtures("judge")
def test_a_server_whose_pods_find_no_node_yet_is_in_progress(team: Team, operator: RunningOperator) -> None:
    team.made({"podTemplate": {"nodeSelector": {"no-such-node": "true"}}})
    team.wait_for(DEPLOYMENT, "mlflow")
    assert judged(team) == {"inProgress"}


@pytest.mark.usefixtures("judge_of_many")
def test_flux_says_of_whatever_the_operator_reports_what_kstatus_says_but_of_servers_that_sleep(
    api: KubeApi, team: Team
) -> None:
    reported = (*reported_servers(), *reported_backups())
    different = {json.dumps(essence(one)): one for one in reported if "status" in one}
    essences, servers = [json.loads(text) for text in different], list(different.values())
    assert len(servers) > 500
    verdicts = [
        verdict
        for first in range(0, len(servers), AT_ONCE)
        for verdict in judged_at_once(api, team.namespace, essences[first : first + AT_ONCE])
    ]
    wrong = [
        (verdict, one["status"])
        for one, verdict in zip(servers, verdicts, strict=True)
        if verdict != ("Current" if is_asleep(one) else kstatus(one))
    ]
    assert wrong == []
    assert {*verdicts} == {"InProgress", "Failed", "Current"}
    assert any(is_asleep(one) for one in servers)


@pytest.fixture
def judge_of_many(api: KubeApi, team: Team) -> Iterator[None]:
    """A policy that refuses lists of servers, and says what the expressions are for each of them."""
    letters = " + ".join(f"(({text}) ? '1' : '0')" for text in expressions("one").values())
    spec = {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [LIST.group],
                    "apiVersions": ["*"],
                    "operations": ["CREATE"],
                    "resources": [LIST.plural],
                }
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}},
        },
        "validations": [
            {
                "expression": "false",
                "messageExpression": f"'{SAID}' + object.data.servers.map(one, {letters}).join(' ')",
            }
        ],
    }
    with a_policy(api, f"many.{team.namespace}.example.com", spec):
        yield


def essence(server: KubeObject) -> KubeObject:
    """What the expressions can ask of a server."""
    conditions = [
        {key: one[key] for key in ("type", "status", "reason")} for one in server["status"]["conditions"]
    ]
    return {
        "metadata": {"generation": server["metadata"]["generation"]},
        "status": {"observedGeneration": server["status"]["observedGeneration"], "conditions": conditions},
    }


def judged_at_once(api: KubeApi, namespace: str, servers: KubeObjects) -> list[str]:
    """What Flux makes of each server: of the expressions the first that is true decides, and it is in progress if none is."""
    said = wait_until(
        lambda: refusal_of(api, namespace, servers), SECONDS_TO_BE_ACTIVE, "the policy is active"
    )
    words = ("InProgress", "Failed", "Current")
    return [
        next((word for word, letter in zip(words, letters, strict=True) if letter == "1"), "InProgress")
        for letters in said.partition(SAID)[2].split()
    ]


def refusal_of(api: KubeApi, namespace: str, servers: KubeObjects) -> str | None:
    """What the policy says of a list of servers; None while it lets the list pass."""
    metadata = {"name": "judged", "namespace": namespace}
    named = {"apiVersion": LIST.api_version, "kind": LIST.kind, "metadata": metadata}
    try:
        api.create(named | {"revision": 1, "data": {"servers": servers}})
    except Refused as refused:
        assert SAID in refused.message, refused.message
        return refused.message
    api.delete(LIST, namespace, "judged")
    return None


def expressions(server: str = "object") -> dict[str, str]:
    """What the page gives to Flux, in the words of a policy, in which the server has this name."""
    (given,) = health_check_exprs()
    return {
        name: re.sub(r"\b(status|metadata)\.(?=observed|generation|conditions)", rf"{server}.\1.", text)
        for name, text in given.items()
        if name in ("inProgress", "failed", "current")
    }


def judged(team: Team) -> set[str]:
    """Which of the expressions are true of the server."""
    said = wait_until(lambda: answer(team), SECONDS_TO_BE_ACTIVE, "the policy is active")
    return {name for name, value in re.findall(r"(\w+)=(true|false)", said) if value == "true"}


def answer(team: Team) -> str | None:
    """What the policy says; None while it lets the label pass."""
    try:
        team.patch_server({"metadata": {"annotations": {ASKED: "yes"}}})
    except Refused as refused:
        assert "inProgress=" in refused.message, refused.message
        return refused.message
    team.patch_server({"metadata": {"annotations": {ASKED: None}}})
    return None
