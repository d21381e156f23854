"""The expressions that docs/how-to/gitops.md gives to Flux, judged by an API server, which speaks CEL as well."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.admission import a_policy
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import OperatorHost, RunningOperator, Team
from tests.waiting import wait_until
from tracking_operator.kube.objects import DEPLOYMENT

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "gitops.md"
ASKED = "example.com/asked"
SECONDS_TO_BE_ACTIVE = 30.0
"""Until the API server goes by a new policy."""


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


def expressions() -> dict[str, str]:
    """What the page gives to Flux, in the words of a policy: the server is ``object`` there."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (given,) = yaml.safe_load(block)["spec"]["healthCheckExprs"]
    return {
        name: re.sub(r"\b(status|metadata)\.(?=observed|generation|conditions)", r"object.\1.", text)
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
