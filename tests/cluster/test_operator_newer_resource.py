"""A resource that a newer version has written: this one says so in its conditions, and touches nothing.

The CRD is opened for a value that the operator does not know, as it is after a newer version was there.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dev.development_cluster import DevelopmentCluster
from tests.kube_api import Refused
from tests.operator_fixtures import OperatorCalls, RunningOperator, Team, a_class, condition_of
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, KubeObject

SPEC = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
OF_SERVERS = ("trackingservers", f"{SPEC}/deletionPolicy/enum")
OF_CLASSES = ("trackingserverclasses", f"{SPEC}/defaults/properties/deletionPolicy/enum")
KNOWN = ["Retain", "Delete"]
NEWER = "Archive"
SECONDS = 30.0


@contextmanager
def a_newer_definition(cluster: DevelopmentCluster, resources: str, path: str) -> Iterator[None]:
    """The CRD of a version that knows one policy more."""

    def offer(policies: list[str]) -> None:
        change = json.dumps([{"op": "replace", "path": path, "value": policies}])
        name = f"{resources}.tracking-operator.dev"
        cluster.kubectl("patch", "crd", name, "--type=json", "--patch", change)

    offer([*KNOWN, NEWER])
    try:
        yield
    finally:
        offer(KNOWN)


def once_it_is_known(write: Callable[[], object]) -> None:
    """Write what the API server takes as soon as it has read the definition."""

    def is_written() -> bool:
        try:
            write()
        except Refused:
            return False
        return True

    wait_until(is_written, SECONDS, "the API server takes the newer value")


def test_server_says_what_cannot_be_read_and_what_runs_goes_on(
    team: Team, operator: RunningOperator, cluster: DevelopmentCluster, calls: OperatorCalls
) -> None:
    before = team.made({"suspend": True})
    workload = team.get(DEPLOYMENT)
    with a_newer_definition(cluster, *OF_SERVERS):
        calls.mark()
        newer = {"spec": {"suspend": False, "deletionPolicy": NEWER}}
        once_it_is_known(lambda: team.patch_server(newer))
        said = team.wait_for_condition("SpecValid", status="False", reason="InvalidSpec")
        assert "spec.deletionPolicy" in said["message"]
        assert "bring the operator to the version" in said["message"]
        after = team.server()
        assert after["status"]["observedGeneration"] == after["metadata"]["generation"]
        assert condition_of(after, "Stalled") is not None
        kept = ("placement", "url", "replicas", "selector")
        assert {key: after["status"].get(key) for key in kept} == {
            key: before["status"].get(key) for key in kept
        }
        assert team.get(DEPLOYMENT)["spec"] == workload["spec"]
        written = {(call.resource, call.subresource) for call in calls.writes(team.namespace)}
        assert written == {("trackingservers", "status")}
        team.patch_server({"spec": {"suspend": True, "deletionPolicy": None}})
        team.wait_for_condition("SpecValid", status="True", reason="AsExpected")


def test_class_says_what_cannot_be_read_and_its_servers_go_on(
    team: Team, operator: RunningOperator, cluster: DevelopmentCluster
) -> None:
    with a_class(team.api, {}) as name, a_newer_definition(cluster, *OF_CLASSES):
        team.made({"suspend": True, "className": name})
        workload = team.get(DEPLOYMENT)
        newer = {"spec": {"defaults": {"deletionPolicy": NEWER}}}
        once_it_is_known(lambda: team.api.patch(TRACKING_SERVER_CLASS, None, name, newer))

        def refusal() -> KubeObject | None:
            found = condition_of(team.api.get(TRACKING_SERVER_CLASS, None, name), "SpecValid")
            return found if found and found["reason"] == "InvalidSpec" else None

        said = wait_until(refusal, SECONDS, "the class says that it cannot be read")
        assert "spec.defaults.deletionPolicy" in said["message"]
        said = team.wait_for_condition("SpecValid", status="False", reason="ClassNotFound")
        assert "cannot be read by this version of the operator" in said["message"]
        assert team.get(DEPLOYMENT)["spec"] == workload["spec"]
        team.api.patch(TRACKING_SERVER_CLASS, None, name, {"spec": {"defaults": {"deletionPolicy": None}}})
        team.wait_for_condition("SpecValid", status="True", reason="AsExpected")
