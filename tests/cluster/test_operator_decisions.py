"""Decided once: nothing that the platform team changes later moves a server's data."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dev.classes import generous
from tests.admission import BINDING
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import OperatorCalls, RunningOperator, Team, a_class
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION, RESOLVED_ANNOTATION
from tracking_operator.api.store_kind_admission import store_kind_binding
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    INGRESS,
    PERSISTENT_VOLUME_CLAIM,
    KubeObject,
)

OLD = {"version": "3.16.1", "image": "registry.invalid/mlflow:3.16.1"}
NEW = {"version": "3.17.2", "image": "registry.invalid/mlflow:3.17.2"}
EXTERNAL = {"backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}}}


def test_a_new_default_class_moves_nobody_and_the_condition_says_so(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    before = team.made({"suspend": True})
    calls.mark()

    with a_class(team.api, {"naming": {"path": "/elsewhere"}}, is_default=True) as name:
        condition = team.wait_for_condition("SpecValid", status="True", reason="ResolvedDiffers")
        assert name in condition["message"]
        after = team.settled()

    assert_nothing_moved(before, after)
    assert {(call.resource, call.subresource) for call in calls.writes(team.namespace)} == {
        ("trackingservers", "status")
    }
    team.wait_for_condition("SpecValid", status="True", reason="AsExpected")


def test_a_new_server_gets_the_default_class_of_the_moment(team: Team, operator: RunningOperator) -> None:
    with a_class(team.api, {"naming": {"path": "/{{ namespace }}"}}, is_default=True) as name:
        server = team.made({"suspend": True})

    assert server["status"]["className"] == name
    assert server["status"]["url"] == f"http://mlflow.{team.namespace}.svc/{team.namespace}"


def test_a_changed_naming_template_moves_nobody_and_the_condition_says_so(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"naming": {"path": "/first"}}) as name:
        before = team.made({"suspend": True, "className": name})
        container_before = container(team)

        team.api.patch(TRACKING_SERVER_CLASS, None, name, {"spec": {"naming": {"path": "/second"}}})

        condition = team.wait_for_condition("SpecValid", status="True", reason="ResolvedDiffers")
        assert "'/second'" in condition["message"]
        assert "'/first'" in condition["message"]
        assert_nothing_moved(before, team.settled())
        assert container(team) == container_before
        team.made({"suspend": True, "className": name}, "later")
        assert team.server("later")["status"]["url"].endswith("/second")


def test_a_new_default_version_upgrades_nobody_and_the_condition_says_so(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"mlflow": {"versions": [OLD]}}) as name:
        before = team.made({"suspend": True, "className": name})

        team.api.patch(
            TRACKING_SERVER_CLASS,
            None,
            name,
            {"spec": {"mlflow": {"versions": [OLD, NEW], "defaultVersion": "3.17.2"}}},
        )

        condition = team.wait_for_condition("SpecValid", status="True", reason="UpgradeAvailable")
        assert "3.17.2" in condition["message"]
        assert_nothing_moved(before, team.settled())
        assert container(team)["image"] == OLD["image"]
        assert team.made({"suspend": True, "className": name}, "later")
        assert container(team, "later")["image"] == NEW["image"]


def test_a_new_image_for_the_same_version_reaches_the_servers(team: Team, operator: RunningOperator) -> None:
    with a_class(team.api, {"mlflow": {"versions": [NEW]}}) as name:
        team.made({"suspend": True, "className": name})

        rebuilt = NEW | {"image": "registry.invalid/mlflow:3.17.2-rebuilt"}
        team.api.patch(TRACKING_SERVER_CLASS, None, name, {"spec": {"mlflow": {"versions": [rebuilt]}}})

        team.wait_until_so(
            DEPLOYMENT,
            "mlflow",
            lambda live: live["spec"]["template"]["spec"]["containers"][0]["image"] == rebuilt["image"],
            "the rebuilt image is in the Deployment",
        )


def test_another_kind_of_store_is_refused_with_the_remedy(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})

    with pytest.raises(Refused) as refusal:
        team.patch_server({"spec": EXTERNAL})

    assert "spec.backendStore may not change from sqlite to external" in refusal.value.message
    assert ALLOW_EMPTY_STORE_ANNOTATION in refusal.value.message


def test_without_the_admission_policy_the_operator_itself_refuses_another_kind_of_store(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    before = team.made({"suspend": True})
    calls.mark()

    with without_admission_policy(team.api):
        wait_until(lambda: is_admitted(team, {"spec": EXTERNAL}), 30, "the change is admitted")

        condition = team.wait_for_condition("SpecValid", status="False", reason="ResolvedDiffers")
        assert "spec.backendStore.sqlite" in condition["message"]
        assert ALLOW_EMPTY_STORE_ANNOTATION in condition["message"]
        team.wait_for_condition("Stalled", status="True")
        assert_nothing_moved(before, team.settled())
        writes = [call for call in calls.writes(team.namespace) if call.subresource != "status"]
        assert not writes
        events = wait_until(team.warnings, 5, "an Event")
        assert [event["reason"] for event in events] == ["ResolvedDiffers"]


def test_the_annotation_lets_a_server_begin_with_an_empty_store_and_keeps_the_old_one(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})
    claim = team.get(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")

    team.patch_server({"metadata": {"annotations": {ALLOW_EMPTY_STORE_ANNOTATION: "true"}}, "spec": EXTERNAL})

    team.wait_for_condition("BackendStoreReady", reason="SecretNotFound")
    server = team.settled()
    assert server["status"]["placement"]["backendStore"] == "external"
    assert server["status"]["backendStore"] == {"kind": "external"}
    kept = team.get(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    assert "deletionTimestamp" not in kept["metadata"]


def test_a_server_of_an_earlier_operator_stays_where_it_is_whatever_its_annotation_says(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"naming": {"path": "/first"}}, is_default=True) as name:
        before = team.made({"suspend": True})
    with a_class(team.api, {"naming": {"path": "/other"}}, is_default=True):
        team.api.create(
            {
                "apiVersion": "tracking-operator.dev/v1alpha1",
                "kind": "TrackingServerClass",
                "metadata": {"name": name},
                "spec": generous({"naming": {"path": "/second"}}),
            }
        )
        claim = before["status"]["placement"] | {"className": "", "host": "grafana.example.com"}
        team.patch_server({"metadata": {"annotations": {RESOLVED_ANNOTATION: json.dumps(claim)}}})

        team.api.patch_status(TRACKING_SERVER, team.namespace, "mlflow", {"placement": None})

        team.wait_until_so(
            TRACKING_SERVER,
            "mlflow",
            lambda live: (
                "placement" in live["status"]
                and RESOLVED_ANNOTATION not in live["metadata"].get("annotations", {})
            ),
            "the placement is there again, and the annotation gone",
        )
        assert_nothing_moved(before, team.server())
        assert team.find(INGRESS) is None
    team.api.delete(TRACKING_SERVER_CLASS, None, name)


def assert_nothing_moved(before: KubeObject, after: KubeObject) -> None:
    """Everything in the status but the conditions is as it was."""
    changing = ("conditions", "observedGeneration", "replicas")
    was, is_now = (
        {key: value for key, value in server["status"].items() if key not in changing}
        for server in (before, after)
    )
    assert is_now == was


def container(team: Team, name: str = "mlflow") -> KubeObject:
    """The server's container in the Deployment."""
    return dict(team.get(DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"][0])


def is_admitted(team: Team, change: KubeObject) -> bool:
    """Whether the change could be made."""
    try:
        team.patch_server(change)
    except Refused:
        return False
    return True


@contextmanager
def without_admission_policy(api: KubeApi) -> Iterator[None]:
    """The cluster as one whose administrator did not install the admission policy."""
    binding = store_kind_binding()
    api.delete(BINDING, None, binding["metadata"]["name"])
    try:
        yield
    finally:
        api.apply(binding)
