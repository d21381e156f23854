"""Whatever people and operators do at random, in the end everything is as the specifications ask."""

import random

import pytest

from tests.kube_api import Refused
from tests.operator_fixtures import (
    CHILDREN_AT_LEAST,
    LEASE_NAME,
    OPERATOR_NAMESPACE,
    OperatorCalls,
    OperatorHost,
    Team,
    condition_of,
)
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import FINALIZER
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, LEASE, SERVICE, SERVICE_ACCOUNT, KubeObject

STEPS = 250
KILLED_AT = {100: "killed", 180: "stopped"}
NAMES = ("one", "two", "three", "four")
CHILDREN = (
    (DEPLOYMENT, ""),
    (SERVICE, ""),
    (SERVICE_ACCOUNT, ""),
    (CONFIG_MAP, "-client"),
)
ADD_A_VARIABLE = {
    "op": "add",
    "path": "/spec/template/spec/containers/0/env/0",
    "value": {"name": "Z", "value": "1"},
}
MOVE_THE_PORT = {"op": "replace", "path": "/spec/ports/0/port", "value": 8080}


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [20, 21, 22])
def test_random_changes_by_everybody_end_well(
    seed: int, team: Team, operators: OperatorHost, calls: OperatorCalls
) -> None:
    chance = random.Random(seed)  # noqa: S311 — repeatable
    operators.make_room()
    operator = operators.start()
    operator.wait_until_active()

    for step in range(STEPS):
        if step in KILLED_AT:
            operator.kill() if KILLED_AT[step] == "killed" else operator.stop()
            team.api.delete(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)
            operator = operators.start()
        try:
            do_something(team, chance)
        except Refused as refusal:
            assert refusal.status in (404, 409, 422), refusal

    operator.wait_until_active()
    wait_until(lambda: not troubles(team), 60, lambda: f"all is well: {troubles(team)}", interval=0.5)
    calls.mark()
    team.made({"suspend": True}, "later")
    assert not [call for call in calls.writes(team.namespace) if not call.name.startswith("later")]
    assert not [line for line in operator.log_lines() if "exception" in line]


def do_something(team: Team, chance: random.Random) -> None:
    """What teams, administrators and other controllers do."""
    name = chance.choice(NAMES)
    kind, suffix = chance.choice(CHILDREN)
    match chance.randrange(8):
        case 0 | 1 | 2:
            team.apply(some_specification(chance), name)
        case 3:
            team.delete_server(name, policy=chance.choice(["Background", "Foreground"]))
        case 4:
            team.api.delete(kind, team.namespace, name + suffix)
        case 5:
            team.patch(
                kind, {"metadata": {"labels": {"app.kubernetes.io/name": "x", "theirs": "y"}}}, name + suffix
            )
        case 6:
            team.api.json_patch(SERVICE, team.namespace, name, [MOVE_THE_PORT])
        case _:
            team.api.json_patch(DEPLOYMENT, team.namespace, name, [ADD_A_VARIABLE])


def some_specification(chance: random.Random) -> KubeObject:
    """One of a few hundred servers that have no pods."""
    return {
        "suspend": True,
        "workers": chance.randint(1, 3),
        "deletionPolicy": chance.choice(["Retain", "Delete"]),
        "podTemplate": {
            "env": [{"name": f"V{chance.randint(1, 3)}", "value": str(chance.randint(1, 9))}],
            "annotations": {f"example.com/{chance.randint(1, 2)}": "x"},
        },
    }


def troubles(team: Team) -> list[str]:
    """What is not yet as the servers' specifications ask."""
    return [
        f"{server['metadata']['name']}: {trouble}"
        for server in team.api.list(TRACKING_SERVER, team.namespace)
        for trouble in troubles_of(team, server)
    ]


def troubles_of(team: Team, server: KubeObject) -> list[str]:
    """What is not as one server's specification asks."""
    metadata, spec = server["metadata"], server["spec"]
    name = metadata["name"]
    children = team.children(name)
    deployment = children.get(("Deployment", name), {}).get("spec", {}).get("template", {})
    service = children.get(("Service", name), {}).get("spec", {})
    containers = deployment.get("spec", {}).get("containers", [{}])
    variables = [one for one in containers[0].get("env", []) if one["name"][0] in "VZ"]
    owners = {
        owner["uid"] for child in children.values() for owner in child["metadata"].get("ownerReferences", [])
    }
    facts = {
        "is being deleted": "deletionTimestamp" not in metadata,
        "has an old status": server.get("status", {}).get("observedGeneration") == metadata["generation"],
        "is not suspended": (condition_of(server, "Ready") or {}).get("reason") == "Suspended",
        "has other children": len(children) == CHILDREN_AT_LEAST,
        "has children of another server": owners == {metadata["uid"]},
        "has a child that goes": not any(
            "deletionTimestamp" in child["metadata"] for child in children.values()
        ),
        "has a strange label": all(
            child["metadata"]["labels"]["app.kubernetes.io/name"] == "mlflow" for child in children.values()
        ),
        "has other variables": variables == spec["podTemplate"]["env"],
        "has other annotations": deployment.get("metadata", {}).get("annotations")
        == spec["podTemplate"]["annotations"],
        "has another port": [port["port"] for port in service.get("ports", [])] == [80],
        "has the wrong finalizer": (FINALIZER in metadata.get("finalizers", []))
        == (spec["deletionPolicy"] == "Delete"),
    }
    return [trouble for trouble, is_well in facts.items() if not is_well]
