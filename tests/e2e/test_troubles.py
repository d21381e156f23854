"""What goes wrong in real life, and what the conditions say about it."""

import secrets
import subprocess
from contextlib import suppress

from dev.development_cluster import DevelopmentCluster
from tests.e2e.mlflow import (
    SECONDS_TO_READY,
    forwarded,
    output_of,
    start_pod,
    uids,
    wait_until_no_pods,
    wait_until_ready,
    wait_until_rolled_out,
)
from tests.kube_api import KubeApi
from tests.operator_fixtures import CHILDREN_AT_LEAST, LEASE_NAME, OPERATOR_NAMESPACE, Team
from tests.waiting import wait_until
from tracking_operator.api.kubernetes_types import LEAST_MEMORY
from tracking_operator.kube.objects import DEPLOYMENT, LEASE, PERSISTENT_VOLUME_CLAIM, SERVICE, KubeObject

MANY = 6
SECONDS_TO_TAKE_OVER = 40.0
MEBIBYTES_TOO_MANY = 110
"""A server that has just started has about 180."""
FILL = "dd if=/dev/zero of=/full/filling bs=4k 2>&1 | tail -n 1; df /full"


def test_a_full_volume_is_reported_and_the_server_starts_when_there_is_room_again(
    restricted_team: Team, cluster: DevelopmentCluster
) -> None:
    team = restricted_team
    with cluster.bounded_volume(f"small-{secrets.token_hex(4)}", 16) as storage_class:
        team.apply(
            {"suspend": True, "backendStore": {"sqlite": {"size": "16Mi", "storageClassName": storage_class}}}
        )
        claim = team.wait_for(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")["metadata"]["name"]
        on_the_volume(team, "fill", claim, FILL)

        team.patch_server({"spec": {"suspend": None}})
        condition = team.wait_for_condition(
            "BackendStoreReady", status="False", reason="VolumeFull", seconds=SECONDS_TO_READY
        )
        assert "spec.backendStore.sqlite.size" in condition["message"]
        assert team.wait_for_condition("Ready", status="False", reason="VolumeFull")
        assert [event["reason"] for event in wait_until(team.warnings, 5, "an Event")] == ["VolumeFull"]

        on_the_volume(team, "empty", claim, "rm /full/filling")
        wait_until_ready(team)
        with forwarded(cluster, team) as tracking:
            tracking.assert_has(tracking.log_run("room"), "room")
        team.patch_server({"spec": {"suspend": True}})
        wait_until_no_pods(team)


def test_the_least_memory_that_is_permitted_starts_and_more_than_the_limit_is_reported_as_such(
    restricted_team: Team, cluster: DevelopmentCluster
) -> None:
    team = restricted_team
    team.apply({"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": LEAST_MEMORY}}})
    wait_until_ready(team)

    def is_out_of_memory() -> KubeObject | None:
        use_memory(cluster, team)
        condition = team.condition("WorkloadReady") or {}
        return condition if condition.get("reason") == "OutOfMemory" else None

    condition = wait_until(is_out_of_memory, SECONDS_TO_READY, lambda: f"out of memory: {team.server()}")
    assert condition["status"] == "False"
    assert "spec.resources.limits.memory" in condition["message"]
    team.patch_server({"spec": {"resources": None}})
    wait_until_ready(team)


def use_memory(cluster: DevelopmentCluster, team: Team) -> None:
    """Use more in the server's container than its limit leaves; less than the server itself, which is what the kernel then ends."""
    words = ("exec", "deployment/mlflow", "--namespace", team.namespace, "--container", "mlflow", "--")
    program = f"import signal; held = b'x' * ({MEBIBYTES_TOO_MANY} << 20); signal.pause()"
    with suppress(subprocess.CalledProcessError):  # it ends with the container, or finds none that runs
        cluster.kubectl(*words, "timeout", "10", "python", "-c", program)


def test_an_operator_that_is_killed_while_it_creates_leaves_nothing_half_done(
    restricted_team: Team, api: KubeApi, cluster: DevelopmentCluster
) -> None:
    team = restricted_team
    before = holder(api)
    for number in range(MANY):
        team.apply({"suspend": True}, f"server-{number}")
    wait_until(lambda: api.list(SERVICE, team.namespace), 10, "the operator has begun")

    pod = before.partition("_")[0]
    cluster.kubectl("delete", "pod", pod, "--namespace", OPERATOR_NAMESPACE, "--grace-period=0", "--force")

    wait_until(lambda: holder(api) not in ("", before), SECONDS_TO_TAKE_OVER, "another operator is active")
    for number in range(MANY):
        team.wait_for_condition("Ready", reason="Suspended", name=f"server-{number}")
        assert len(team.children(f"server-{number}")) == CHILDREN_AT_LEAST
    assert len(api.list(DEPLOYMENT, team.namespace)) == MANY


def test_a_deployment_that_somebody_deletes_is_back_with_its_data(
    restricted_team: Team, cluster: DevelopmentCluster
) -> None:
    team = restricted_team
    team.apply({})
    wait_until_ready(team)
    with forwarded(cluster, team) as tracking:
        run = tracking.log_run("kept")

    uid, former_pods = team.get(DEPLOYMENT)["metadata"]["uid"], uids(team)
    team.api.delete(DEPLOYMENT, team.namespace, "mlflow")

    team.wait_until_so(DEPLOYMENT, "mlflow", lambda live: live["metadata"]["uid"] != uid, "a new Deployment")
    wait_until(lambda: not uids(team) & former_pods, SECONDS_TO_READY, "the former pods are gone")
    wait_until_rolled_out(team)
    wait_until_ready(team)
    with forwarded(cluster, team) as tracking:
        tracking.assert_has(run, "kept")


def on_the_volume(team: Team, name: str, claim: str, script: str) -> None:
    """Run a shell script in a pod that has a volume at /full."""
    start_pod(team, name, ["sh", "-c", script], volumeMounts=[{"name": claim, "mountPath": "/full"}])
    output_of(team, name)


def holder(api: KubeApi) -> str:
    """Who holds the operator's Lease."""
    return str(api.get(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)["spec"].get("holderIdentity") or "")
