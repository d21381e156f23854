"""What goes with a server, what stays, and what its successor takes up again."""

import pytest

from tests.operator_fixtures import CHILDREN_AT_LEAST, RunningOperator, Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import FINALIZER
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    KubeObject,
)

SECONDS_TO_COLLECT = 60.0
"""The garbage collector of a busy cluster takes its time."""

CLAIMS = ("mlflow-backend-store", "mlflow-artifact-store")
HOLD = "example.com/hold"


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_a_deleted_server_leaves_its_volume_claims_and_nothing_else(
    policy: str, team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})
    claims = claim_uids(team)

    team.delete_server(policy=policy)

    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_COLLECT)
    wait_until(
        lambda: {kind for kind, _ in team.children()} == {"PersistentVolumeClaim"},
        SECONDS_TO_COLLECT,
        lambda: f"only claims are left: {sorted(team.children())}",
    )
    assert claim_uids(team) == claims


def test_a_server_of_the_same_name_takes_the_volume_claims_up_again(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})
    claims = claim_uids(team)
    team.delete_server()
    team.wait_until_gone(TRACKING_SERVER)

    team.made({"suspend": True})

    team.wait_for_condition("Ready", reason="Suspended")
    assert claim_uids(team) == claims
    team.wait_for(DEPLOYMENT, "mlflow")


def test_claims_are_taken_up_as_they_are_when_less_or_something_else_is_asked_for(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True, "backendStore": {"sqlite": {"size": "5Gi"}}})
    claims = claim_uids(team)
    team.delete_server()
    team.wait_until_gone(TRACKING_SERVER)

    asked = {"sqlite": {"size": "1Gi", "storageClassName": "another"}}
    volume = {"volume": {"size": "1Gi", "storageClassName": "another", "accessMode": "ReadWriteMany"}}
    team.made({"suspend": True, "backendStore": asked, "artifactStore": volume})

    team.wait_for_condition("Ready", reason="Suspended")
    assert claim_uids(team) == claims
    claim = team.get(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"


def test_deletion_policy_delete_removes_the_claims_of_this_server_only(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True}, "mlflow-backend")
    server = team.made({"suspend": True, "deletionPolicy": "Delete"})
    assert FINALIZER in server["metadata"]["finalizers"]

    team.delete_server()

    team.wait_until_gone(TRACKING_SERVER)
    for claim in CLAIMS:
        assert team.find(PERSISTENT_VOLUME_CLAIM, claim) is None
    for claim in ("mlflow-backend-backend-store", "mlflow-backend-artifact-store"):
        assert "deletionTimestamp" not in team.get(PERSISTENT_VOLUME_CLAIM, claim)["metadata"]
    wait_until(lambda: not team.children(), SECONDS_TO_COLLECT, "all children are gone")


def test_deletion_policy_delete_does_not_touch_a_claim_of_somebody_else(
    team: Team, operator: RunningOperator
) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
    team.api.create(claim | {"metadata": {"name": "mlflow-backend-store", "namespace": team.namespace}})
    team.made({"suspend": True, "deletionPolicy": "Delete"})

    team.delete_server()

    team.wait_until_gone(TRACKING_SERVER)
    assert "deletionTimestamp" not in team.get(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")["metadata"]


def test_the_finalizer_comes_and_goes_with_the_deletion_policy(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})
    for policy in ("Delete", "Retain", "Delete", None):
        team.patch_server({"spec": {"deletionPolicy": policy}})
        expected = [FINALIZER] if policy == "Delete" else []
        team.wait_until_so(
            TRACKING_SERVER,
            "mlflow",
            lambda live, expected=expected: finalizers(live) == expected,  # type: ignore[misc]
            f"with deletionPolicy {policy} the finalizers are {expected}",
        )


def test_the_finalizer_of_somebody_else_stays(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True, "deletionPolicy": "Delete"}, finalizers=[HOLD])

    team.delete_server()

    wait_until(lambda: finalizers(team.server()) == [HOLD], 30, "only the finalizer of somebody else is left")
    assert team.find(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store") is None
    team.api.patch(TRACKING_SERVER, team.namespace, "mlflow", {"metadata": {"finalizers": None}})
    team.wait_until_gone(TRACKING_SERVER)


def test_the_deletion_policy_of_the_class_counts_for_servers_that_name_none(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"defaults": {"deletionPolicy": "Delete"}}) as name:
        server = team.made({"suspend": True, "className": name})
        assert FINALIZER in finalizers(server)

        team.delete_server()

        team.wait_until_gone(TRACKING_SERVER)
        assert team.find(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store") is None


def test_a_claim_that_is_still_in_use_holds_the_deletion_up_and_the_condition_says_so(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True, "deletionPolicy": "Delete"})
    team.patch(PERSISTENT_VOLUME_CLAIM, {"metadata": {"finalizers": [HOLD]}}, "mlflow-backend-store")

    team.delete_server()

    condition = team.wait_for_condition("Ready", status="False", reason="Deleting")
    assert "volumes are being deleted" in condition["message"]
    team.patch(PERSISTENT_VOLUME_CLAIM, {"metadata": {"finalizers": None}}, "mlflow-backend-store")
    team.wait_until_gone(TRACKING_SERVER)


def test_deleting_a_namespace_with_servers_of_every_policy_never_hangs(
    team: Team, operator: RunningOperator
) -> None:
    with a_team(team.api) as leaving:
        leaving.made({"suspend": True}, "retain")
        leaving.made({"suspend": True, "deletionPolicy": "Delete"}, "delete")
        leaving.made({"podTemplate": {"nodeSelector": {"no": "where"}}, "deletionPolicy": "Delete"}, "busy")
        leaving.made({"suspend": True, "className": "missing"}, "invalid")

        leaving.api.delete(NAMESPACE, None, leaving.namespace)

        wait_until(
            lambda: leaving.api.find(NAMESPACE, None, leaving.namespace) is None,
            SECONDS_TO_COLLECT,
            "the namespace is gone",
        )


def test_a_server_waits_for_what_its_predecessor_has_left_behind(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})
    team.patch(SERVICE, {"metadata": {"finalizers": [HOLD]}})
    team.delete_server()
    team.wait_until_gone(TRACKING_SERVER)

    team.apply({"suspend": True})

    wait_until(
        lambda: f"Waits for Service {team.namespace}/mlflow" in str(team.condition("WorkloadReady")),
        SECONDS_TO_COLLECT,
        "the condition says which object is still there",
    )
    assert not team.warnings()
    team.patch(SERVICE, {"metadata": {"finalizers": None}})
    team.wait_for_condition("Ready", reason="Suspended", seconds=SECONDS_TO_COLLECT)
    owner = team.server()["metadata"]["uid"]
    wait_until(
        lambda: (
            {
                child["metadata"].get("ownerReferences", [{"uid": owner}])[0]["uid"]
                for child in team.children().values()
            }
            == {owner}
        ),
        SECONDS_TO_COLLECT,
        "everything belongs to the new server",
    )
    assert len(team.children()) == CHILDREN_AT_LEAST


def test_a_server_that_is_made_again_at_once_ends_up_whole(team: Team, operator: RunningOperator) -> None:
    for _ in range(3):
        team.made({"suspend": True})
        team.delete_server()
        team.wait_until_gone(TRACKING_SERVER)
    server = team.made({"suspend": True})

    team.wait_for_condition("Ready", reason="Suspended", seconds=SECONDS_TO_COLLECT)
    owned = {
        child["metadata"]["ownerReferences"][0]["uid"]
        for (kind, _), child in team.children().items()
        if kind != "PersistentVolumeClaim"
    }
    assert owned == {server["metadata"]["uid"]}


def test_a_child_that_is_no_longer_part_of_a_server_goes_but_its_claims_stay(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})
    extra = team.get(CONFIG_MAP, "mlflow-client")
    metadata = {key: extra["metadata"][key] for key in ("labels", "ownerReferences", "namespace")}
    left_over = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata | {"name": "mlflow-of-an-older-release"},
    }

    team.api.create(left_over)

    team.wait_until_gone(CONFIG_MAP, "mlflow-of-an-older-release")
    assert claim_uids(team)


def claim_uids(team: Team) -> set[str]:
    """The identities of the team's volume claims."""
    return {claim["metadata"]["uid"] for claim in team.api.list(PERSISTENT_VOLUME_CLAIM, team.namespace)}


def finalizers(obj: KubeObject) -> list[str]:
    """The finalizers of an object."""
    return list(obj["metadata"].get("finalizers", []))
