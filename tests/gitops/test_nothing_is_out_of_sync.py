"""What is as Git wants it stays so, whichever way Argo CD compares: nobody writes what the other takes back."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dev.audit import ApiCall, AuditLog
from dev.development_cluster import DevelopmentCluster
from dev.gitops.files import SERVER
from tests.e2e.mlflow import uids
from tests.gitops.conftest import ASLEEP, MakeTeam
from tests.gitops.git_team import GitTeam
from tests.mlflow_versions import NEWEST_VERSION
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.kube.objects import Kind, KubeObject, register

SETTLED_SECONDS = float(os.environ.get("TRACKING_OPERATOR_TEST_SETTLED", "60"))
"""For how long nothing may happen; `make campaign` says ten minutes."""
SECONDS_TO_HEAL = 90.0
SECONDS_BETWEEN_LOOKS = 0.5
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
FINALIZER = "tracking-operator.dev"


@contextmanager
def counting(cluster: DevelopmentCluster, team: GitTeam) -> Iterator[list[ApiCall]]:
    """The writes of the block to the team's TrackingServers, whoever made them."""
    log, found = AuditLog(cluster.audit_log), list[ApiCall]()
    log.mark()
    yield found
    found += [
        call
        for call in log.calls()
        if call.is_write and call.resource == "trackingservers" and call.namespace == team.name
    ]


def stays_as_it_is(team: GitTeam, seconds: float) -> None:
    """Look at the Application all the time: it is Synced, and of the same health, at each look."""
    begun, before, over = time.monotonic(), team.state(), threading.Event()
    assert before.sync == "Synced"
    while time.monotonic() - begun <= seconds:
        state = team.state()
        assert (state.sync, state.health) == (before.sync, before.health), team.described()
        over.wait(SECONDS_BETWEEN_LOOKS)


def test_a_server_that_is_replaced_keeps_where_it_is_and_what_cleans_up_after_it(make_team: MakeTeam) -> None:
    replace = {"annotations": {SYNC_OPTIONS: "Replace=true"}}
    team = make_team(ASLEEP, "Suspended", **replace)
    before = team.team.server(SERVER)
    revision = team.commit("two pods", {**ASLEEP, "replicas": 2}, **replace)
    team.wait_until_well(revision, health="Suspended")
    after = wait_until(
        lambda: with_finalizer(team.team.server(SERVER)), 30, "the operator's finalizer is there again"
    )
    assert after["spec"]["replicas"] == 2
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["placement"] == before["status"]["placement"]


def with_finalizer(server: KubeObject) -> KubeObject | None:
    """The server, if the operator cleans up after it."""
    finalizers = server["metadata"].get("finalizers") or ()
    return server if any(FINALIZER in one for one in finalizers) else None


def test_what_somebody_edits_is_taken_back_once_and_nobody_fights(
    team_that_runs: GitTeam, cluster: DevelopmentCluster
) -> None:
    team, pods = team_that_runs, uids(team_that_runs.team, SERVER)
    team.wait_for_state(lambda state: state.is_well, "well")
    with counting(cluster, team) as writes:
        team.team.patch_server({"spec": {"version": None}}, SERVER)  # which replaces no pod
        wait_until(
            lambda: team.team.server(SERVER)["spec"].get("version") == NEWEST_VERSION,
            SECONDS_TO_HEAL,
            lambda: f"Argo CD takes the edit back: {team.described()}",
        )
        team.wait_for_state(lambda state: state.is_well, "well")
        stays_as_it_is(team, min(SETTLED_SECONDS, 30))
    edits = [call for call in writes if not call.subresource]
    assert len(edits) == 2, edits
    assert uids(team.team, SERVER) == pods


register(Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"))
AUTOSCALER: KubeObject = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": SERVER},
    "spec": {
        "scaleTargetRef": {
            "apiVersion": "tracking-operator.dev/v1alpha1",
            "kind": "TrackingServer",
            "name": SERVER,
        },
        "minReplicas": 2,  # without metrics an autoscaler keeps to its bounds
        "maxReplicas": 3,
    },
}


def test_an_autoscaler_has_the_last_word_about_replicas_and_git_about_all_else(
    make_team: MakeTeam, cluster: DevelopmentCluster
) -> None:
    team = make_team({**ASLEEP, "replicas": 1}, "Suspended")
    team.api.create({**AUTOSCALER, "metadata": {"name": SERVER, "namespace": team.name}})
    wait_until(
        lambda: team.team.server(SERVER)["spec"].get("replicas") == 2, 120, "the autoscaler wants two pods"
    )
    team.wait_for_state(lambda state: state.sync == "Synced", "Synced")
    with counting(cluster, team) as writes:
        stays_as_it_is(team, min(SETTLED_SECONDS, 60))
    assert [call for call in writes if call.subresource != "status"] == []

    revision = team.commit("another policy", {**ASLEEP, "replicas": 1, "deletionPolicy": "Delete"})
    team.wait_until_well(revision, health="Suspended")
    spec = team.team.server(SERVER)["spec"]
    assert (spec["replicas"], spec["deletionPolicy"]) == (2, "Delete")


def test_an_autoscaler_finds_nothing_to_scale_where_git_has_no_replicas(
    make_team: MakeTeam, cluster: DevelopmentCluster
) -> None:
    team = make_team(ASLEEP, "Suspended")
    path = f"/apis/{API_VERSION}/namespaces/{team.name}/trackingservers/{SERVER}/scale"
    with pytest.raises(subprocess.CalledProcessError) as raised:
        cluster.kubectl("get", "--raw", path)
    assert "spec.replicas" in raised.value.stderr
