"""One server from its first run on: used, put to sleep, deleted, taken up again."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from dev.audit import AuditLog
from dev.development_cluster import DevelopmentCluster
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import (
    IMAGE,
    SECONDS_TO_READY,
    forwarded,
    pods_of,
    run_pod,
    wait_until_no_pods,
    wait_until_ready,
)
from tests.kube_api import KubeApi
from tests.mlflow_versions import NEWEST_VERSION
from tests.operator_fixtures import OPERATOR, OPERATOR_NAMESPACE, OperatorCalls, Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import DEPLOYMENT, LEASE, PERSISTENT_VOLUME_CLAIM, POD

WORKING = {"version": NEWEST_VERSION, "image": IMAGE}
BROKEN = {"version": "99.0.0", "image": "registry.invalid/mlflow:99.0.0"}
OPERATOR_PODS = "app.kubernetes.io/name=tracking-operator"

LOG_A_RUN = """
import json, mlflow, pathlib
with mlflow.start_run(run_name="from a pod") as run:
    mlflow.log_params({"alpha": 0.5, "test_size": 0.25})
    mlflow.log_metrics({"rmse": 0.75, "r2": 0.5})
    mlflow.log_text("a plot", "plot.txt")
found = mlflow.get_run(run.info.run_id)
print(json.dumps({
    "uri": mlflow.get_tracking_uri(),
    "run": run.info.run_id,
    "params": found.data.params,
    "metrics": found.data.metrics,
    "artifact": mlflow.artifacts.load_text(found.info.artifact_uri + "/plot.txt"),
}))
"""


@pytest.fixture(scope="module")
def teams(api: KubeApi, deployed: None) -> Iterator[tuple[Team, Team]]:
    """Two teams, each with a Ready server `mlflow` of its own."""
    with ExitStack() as namespaces:
        one, other = (namespaces.enter_context(a_team(api, **RESTRICTED)) for _ in range(2))
        offer = {"mlflow": {"versions": [WORKING, BROKEN], "defaultVersion": WORKING["version"]}}
        one.apply({"className": namespaces.enter_context(a_class(api, offer))})
        other.apply({"deletionPolicy": "Delete"})
        wait_until_ready(one)
        wait_until_ready(other)
        yield one, other


@pytest.fixture
def ready(teams: tuple[Team, Team]) -> Team:
    """A team whose server is Ready."""
    wait_until_ready(teams[0])
    return teams[0]


def test_a_run_is_logged_and_read_back_through_the_service_from_another_pod(
    ready: Team, cluster: DevelopmentCluster
) -> None:
    said = json.loads(run_pod(ready, "client", LOG_A_RUN).splitlines()[-1])

    assert said["uri"] == f"http://mlflow.{ready.namespace}.svc"
    assert said["params"] == {"alpha": "0.5", "test_size": "0.25"}
    assert said["metrics"] == {"rmse": 0.75, "r2": 0.5}
    assert said["artifact"] == "a plot"
    with forwarded(cluster, ready) as tracking:
        assert said["run"] in tracking.run_ids()


def test_page_and_api_answer_through_a_port_forward(ready: Team, cluster: DevelopmentCluster) -> None:
    with forwarded(cluster, ready) as tracking:
        page = tracking.answer("GET", "/")
        assert (page.status, b"<title>MLflow" in page.data) == (200, True)
        tracking.assert_has(tracking.log_run("by port-forward"), "by port-forward")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("mlflow", 200),
        ("mlflow.{namespace}", 200),
        ("mlflow.{namespace}.svc:80", 200),
        ("mlflow.{namespace}.svc.cluster.local", 200),
        ("localhost:8080", 200),
        ("evil.example.com", 403),
    ],
)
def test_the_server_answers_under_its_own_names_only(
    host: str, status: int, ready: Team, cluster: DevelopmentCluster
) -> None:
    with forwarded(cluster, ready) as tracking:
        search = "/api/2.0/mlflow/experiments/search?max_results=1"
        assert tracking.answer("GET", search, host=host.format(namespace=ready.namespace)).status == status


def test_the_status_tells_what_runs(ready: Team) -> None:
    status = wait_until_ready(ready)["status"]

    assert status["version"] == NEWEST_VERSION
    assert status["schemaRevision"]
    assert status["replicas"] == 1
    assert {condition["type"] for condition in status["conditions"] if condition["status"] == "True"} == {
        "Ready",
        "SpecValid",
        "BackendStoreReady",
        "ArtifactStoreReady",
        "SchemaReady",
        "WorkloadReady",
        "Exposed",
    }
    assert not ready.warnings()


def test_the_pod_cannot_write_where_its_image_is(ready: Team, cluster: DevelopmentCluster) -> None:
    (pod,) = pods_of(ready)
    script = "for f in / /usr /opt/tracking-operator; do touch $f/x 2>/dev/null && echo $f; done; id -u; ls /var/run/secrets"
    said = cluster.kubectl(
        *("exec", pod["metadata"]["name"], "--namespace", ready.namespace, "--container", "mlflow"),
        *("--", "sh", "-c", f"({script}) 2>/dev/null || true"),
    )
    assert said.split() == ["10001"]


def test_suspend_and_wake_keep_the_runs(ready: Team, cluster: DevelopmentCluster) -> None:
    with forwarded(cluster, ready) as tracking:
        run = tracking.log_run("before the night")

    ready.patch_server({"spec": {"suspend": True}})
    ready.wait_for_condition("Ready", status="False", reason="Suspended")
    wait_until_no_pods(ready)
    ready.patch_server({"spec": {"suspend": None}})
    wait_until_ready(ready)

    with forwarded(cluster, ready) as tracking:
        tracking.assert_has(run, "before the night")


def test_a_deleted_server_is_taken_up_again_with_its_runs(ready: Team, cluster: DevelopmentCluster) -> None:
    with forwarded(cluster, ready) as tracking:
        run = tracking.log_run("before the end")

    spec = ready.server()["spec"]
    ready.delete_server()
    ready.wait_until_gone(TRACKING_SERVER)
    ready.wait_until_gone(DEPLOYMENT, seconds=SECONDS_TO_READY)
    ready.apply(spec)
    wait_until_ready(ready)

    with forwarded(cluster, ready) as tracking:
        tracking.assert_has(run, "before the end")


def test_the_server_of_another_team_sees_none_of_it(
    teams: tuple[Team, Team], ready: Team, cluster: DevelopmentCluster
) -> None:
    other = teams[1]
    with forwarded(cluster, ready) as tracking, forwarded(cluster, other) as tracking_of_other:
        mine = tracking.log_run("mine")
        theirs = tracking_of_other.log_run("theirs")
        assert theirs not in tracking.run_ids()
        assert tracking_of_other.run_ids() == [theirs]
        artifact = f"/api/2.0/mlflow-artifacts/artifacts/0/{mine}/artifacts/note.txt"
        assert tracking_of_other.answer("GET", artifact).status != 200


def test_a_volume_that_cannot_grow_leaves_the_server_ready_and_is_told(ready: Team) -> None:
    ready.patch_server({"spec": {"backendStore": {"sqlite": {"size": "2Gi"}}}})

    condition = ready.wait_for_condition("BackendStoreReady", reason="VolumeCannotGrow")
    assert condition["status"] == "True"
    assert "mlflow-backend-store" in condition["message"]
    wait_until_ready(ready)
    ready.patch_server({"spec": {"backendStore": None}})
    ready.wait_for_condition("BackendStoreReady", reason="AsExpected")


def is_told_all(team: Team) -> bool:
    """Whether the server is Ready, and every condition is about its specification as it is now."""
    server = team.server()
    conditions = {one["type"]: one for one in server["status"]["conditions"]}
    generations = {one["observedGeneration"] for one in conditions.values()}
    return conditions["Ready"]["status"] == "True" and generations == {server["metadata"]["generation"]}


def test_a_restart_of_the_operator_touches_no_server(
    teams: tuple[Team, Team], ready: Team, api: KubeApi, cluster: DevelopmentCluster
) -> None:
    for team in teams:
        wait_until(lambda team=team: is_told_all(team), 60, "each condition is about the last change")  # type: ignore[misc]
    calls = OperatorCalls(AuditLog(cluster.audit_log))
    pods = {pod["metadata"]["uid"] for team in teams for pod in pods_of(team)}
    before = holder(api)
    calls.mark()

    cluster.kubectl("delete", "pod", "--namespace", OPERATOR_NAMESPACE, "--selector", OPERATOR_PODS)

    cluster.kubectl(
        "rollout", "status", f"deployment/{OPERATOR}", "--namespace", OPERATOR_NAMESPACE, "--timeout=120s"
    )
    wait_until(lambda: holder(api) not in ("", before), 30, "a new operator is active")
    for team in teams:
        assert not calls.writes(team.namespace)
        wait_until_ready(team)
    assert {pod["metadata"]["uid"] for team in teams for pod in pods_of(team)} == pods


def test_the_operators_pods_are_restricted_and_log_json(ready: Team, api: KubeApi) -> None:
    pods = [
        pod
        for pod in api.list(POD, OPERATOR_NAMESPACE, OPERATOR_PODS)
        if "deletionTimestamp" not in pod["metadata"]
    ]
    assert len(pods) == 2
    for pod in pods:
        for line in api.pod_log(OPERATOR_NAMESPACE, pod["metadata"]["name"]).splitlines():
            assert {"time", "level", "message"} <= json.loads(line).keys()
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_an_image_that_cannot_be_pulled_is_reported_and_the_data_is_there_afterwards(
    ready: Team, cluster: DevelopmentCluster
) -> None:
    with forwarded(cluster, ready) as tracking:
        run = tracking.log_run("before the bad image")

    # The old pod has to stop before another one may open its SQLite file, so nothing serves meanwhile.
    ready.patch_server({"spec": {"version": BROKEN["version"]}})
    condition = ready.wait_for_condition("Ready", status="False", reason="ImagePullFailed", seconds=60)
    assert BROKEN["image"] in condition["message"]
    assert ready.server()["status"]["version"] == NEWEST_VERSION
    ready.patch_server({"spec": {"version": None}})
    wait_until_ready(ready)

    with forwarded(cluster, ready) as tracking:
        tracking.assert_has(run, "before the bad image")


def test_deletion_policy_delete_takes_the_volumes_of_a_server_that_runs(teams: tuple[Team, Team]) -> None:
    other = teams[1]

    other.delete_server()

    other.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_READY)
    assert not other.api.list(PERSISTENT_VOLUME_CLAIM, other.namespace)
    assert not pods_of(other)


def holder(api: KubeApi) -> str:
    """Who holds the operator's Lease."""
    return str(api.get(LEASE, OPERATOR_NAMESPACE, OPERATOR)["spec"].get("holderIdentity") or "")
