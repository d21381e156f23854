"""MLflow's own login with real pods: who is let in, what a switch and other passwords cost, on PostgreSQL and on SQLite."""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event, Thread
from uuid import uuid4

import pytest
import urllib3

from dev.database import ClusterPostgres
from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore
from tests.e2e.conftest import RESTRICTED
from tests.e2e.external_bucket import external_bucket
from tests.e2e.mlflow import (
    SECONDS_TO_READY,
    Tracking,
    assert_no_container_failed,
    forwarded,
    output_of,
    pods_of,
    start_pod,
    wait_until_ready,
)
from tests.kube_api import KubeApi
from tests.operator_fixtures import Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.kube.objects import DEPLOYMENT, SECRET, KubeObject, name_of
from tracking_operator.naming import CONTAINER_PORT
from tracking_operator.pod_tools.start_server import SECONDS_A_LOGIN_IS_REMEMBERED

pytest_plugins = ["tests.cluster_object_store", "tests.cluster_postgres"]

SMALL = {"requests": {"cpu": "250m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}
SECONDS_TO_ROLL = 400.0
SECONDS_TO_ROTATE = 90.0
SECONDS_TO_LET_IN = 90.0
"""A minute, and what a busy machine takes to start a Job."""
SECONDS_TO_FOLLOW = 10.0
"""For a client that finds its password refused to read the new one."""

REFUSED = (401, 500)
"""MLflow looks at a password twice, before and after its work, and has no better word for one that changed in between."""

LOG_A_RUN = """
import mlflow
with mlflow.start_run(run_name="a step") as run:
    mlflow.log_metric("rmse", 0.25)
print(run.info.run_id)
"""

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
PREFIX = "/team-a"


@dataclass(frozen=True)
class Password:
    username: str
    password: str


def secret_of(team: Team, name: str) -> dict[str, str]:
    """What is in a Secret; nothing if there is none."""
    secret = team.find(SECRET, name) or {}
    return {key: base64.b64decode(text).decode() for key, text in secret.get("data", {}).items()}


def admin_of(team: Team) -> Password:
    secret = secret_of(team, "mlflow-auth")
    return Password(secret["username"], secret["password"])


def user_of(team: Team) -> Password:
    secret = secret_of(team, "mlflow-client")
    return Password(secret["MLFLOW_TRACKING_USERNAME"], secret["MLFLOW_TRACKING_PASSWORD"])


def status(tracking: Tracking, login: Password | None, path: str = EXPERIMENTS, prefix: str = "") -> int:
    """The status of a request to the server."""
    headers = urllib3.make_headers(basic_auth=f"{login.username}:{login.password}") if login else {}
    url = f"http://127.0.0.1:{tracking.port}{prefix}{path}"
    return tracking.pool.request("GET", url, headers=headers, retries=False).status


@pytest.fixture(scope="module")
def class_name(api: KubeApi, deployed: None, cluster_postgres: ClusterPostgres) -> Iterator[str]:
    """A class with a login, where a team may do without."""
    access: dict[str, object] = {"authentication": {"basic": {}}}
    spec = {
        "postgres": cluster_postgres.class_spec(),
        "access": access,
        "permissions": {"anonymousAccess": True},
    }
    with a_class(api, spec) as name:
        yield name


@pytest.fixture(scope="module")
def team(api: KubeApi, class_name: str, cluster_object_store: ClusterObjectStore) -> Iterator[Team]:
    """Two pods on PostgreSQL that let everybody in."""
    with a_team(api, **RESTRICTED) as team:
        team.apply(
            {
                "className": class_name,
                "replicas": 2,
                "artifactStore": external_bucket(team, cluster_object_store),
                "access": {"authentication": {"none": {}}},
                "resources": SMALL,
            }
        )
        yield team


@pytest.fixture(scope="module")
def other_team(api: KubeApi, class_name: str) -> Iterator[Team]:
    """One pod on SQLite with a login, below a path."""
    with a_team(api, **RESTRICTED) as team:
        team.apply(
            {
                "className": class_name,
                "backendStore": {"sqlite": {}},
                "artifactStore": {"volume": {}},
                "access": {"path": PREFIX},
                "resources": SMALL,
            }
        )
        yield team


def test_a_login_comes_by_one_roll_and_everything_else_stays(
    team: Team, other_team: Team, cluster: DevelopmentCluster
) -> None:
    wait_until_ready(team, seconds=SECONDS_TO_ROLL)
    with forwarded(cluster, team) as tracking:
        run = tracking.call("POST", "/runs/create", {"experiment_id": "0", "run_name": "before"})["run"]
    revision = deployed_generation(team)

    team.patch_server({"spec": {"access": {"authentication": {"none": None, "basic": {}}}}})
    wait_until_ready(team, seconds=SECONDS_TO_ROLL)
    assert deployed_generation(team) == revision + 1
    assert_no_container_failed(team)
    with forwarded(cluster, team) as tracking:
        assert status(tracking, None) == 401
        assert status(tracking, None, "/health") == 200
        assert status(tracking, admin_of(team)) == 200
        assert status(tracking, user_of(team)) == 200
        found = f"/api/2.0/mlflow/runs/get?run_id={run['info']['run_id']}"
        assert status(tracking, user_of(team), found) == 200
    team.wait_for_condition("Exposed", status="True")
    assert team.server()["status"]["client"]["secretName"] == "mlflow-client"


def test_a_wrong_password_and_that_of_another_team_are_refused(
    team: Team, other_team: Team, cluster: DevelopmentCluster
) -> None:
    wait_until_ready(other_team, seconds=SECONDS_TO_READY)
    with forwarded(cluster, team) as mine, forwarded(cluster, other_team) as theirs:
        assert status(theirs, user_of(other_team), prefix=PREFIX) == 200
        assert status(theirs, None, "/health", PREFIX) == 200
        for stranger in (None, Password("team", "a-password-that-is-none"), admin_of(team), user_of(team)):
            assert status(theirs, stranger, prefix=PREFIX) == 401
        for stranger in (admin_of(other_team), user_of(other_team)):
            assert status(mine, stranger) == 401


def test_other_passwords_restart_nobody_and_clients_follow_the_secret(
    team: Team, cluster: DevelopmentCluster
) -> None:
    before = uids(team)
    old_admin, old_user = admin_of(team), user_of(team)
    with forwarded(cluster, team) as tracking, asking_all_the_time(tracking, team) as seen:
        metadata = {"annotations": {"tracking-operator.dev/rotate-credentials": uuid4().hex}}
        team.patch_server({"metadata": metadata})
        wait_until(
            lambda: user_of(team) != old_user, SECONDS_TO_ROTATE, "the client Secret has another password"
        )
        wait_until(
            lambda: "nextPassword" not in secret_of(team, "mlflow-auth"), SECONDS_TO_ROTATE, "all is swapped"
        )
        assert admin_of(team) != old_admin
        for login in (admin_of(team), user_of(team)):
            assert status(tracking, login) == 200
        for old in (old_admin, old_user):
            wait_until(
                lambda old=old: status(tracking, old) == 401,  # type: ignore[misc]
                SECONDS_A_LOGIN_IS_REMEMBERED + SECONDS_TO_FOLLOW,
                "the old password is refused",
            )
    assert seen["failures"] == []
    assert uids(team) == before


def test_a_user_that_somebody_deleted_is_made_again(team: Team, cluster: DevelopmentCluster) -> None:
    with forwarded(cluster, team) as tracking:
        login = admin_of(team)
        headers = urllib3.make_headers(basic_auth=f"{login.username}:{login.password}")
        url = f"http://127.0.0.1:{tracking.port}/api/2.0/mlflow/users/delete"
        gone = tracking.pool.request("DELETE", url, json={"username": "team"}, headers=headers)
        assert gone.status in (200, 404), gone.data
        # Anything that has the server looked at; more workers would need more connections than it may have.
        team.patch_server({"spec": {"podTemplate": {"annotations": {"example.com/looked": uuid4().hex}}}})
        wait_until_ready(team, seconds=SECONDS_TO_ROLL)
    with forwarded(cluster, team) as tracking:
        assert status(tracking, user_of(team)) == 200


@pytest.mark.parametrize("which", ["team", "other_team"])
def test_lost_passwords_are_replaced_within_a_minute_and_no_pod_restarts(
    which: str, request: pytest.FixtureRequest, cluster: DevelopmentCluster
) -> None:
    team: Team = request.getfixturevalue(which)
    prefix = PREFIX if which == "other_team" else ""
    wait_until_ready(team, seconds=SECONDS_TO_READY)
    before = uids(team)
    with forwarded(cluster, team) as tracking:
        # No operator knows this one, as after a restart in which all Secrets were lost.
        unknown, known = Password("admin", f"known-to-nobody-{uuid4().hex}"), admin_of(team)
        change_password(tracking, known, unknown, prefix)
        wait_until(
            lambda: all(is_refused(pod, known, prefix, cluster) for pod in serving_pods_of(team)),
            SECONDS_A_LOGIN_IS_REMEMBERED + 30,
            "no pod remembers the password of before",
        )
        for name in ("auth", "client", "database"):
            team.api.delete(SECRET, team.namespace, f"mlflow-{name}")

        def is_let_in() -> bool:
            secrets = secret_of(team, "mlflow-auth"), secret_of(team, "mlflow-client")
            return all(secrets) and all(
                status(tracking, login, prefix=prefix) == 200 for login in (admin_of(team), user_of(team))
            )

        wait_until(is_let_in, SECONDS_TO_LET_IN, lambda: f"all are let in; {team.server()['status']}")
        assert status(tracking, unknown, prefix=prefix) == 401
    assert uids(team) == before
    assert_no_container_failed(team)
    team.wait_for_condition("Exposed", status="True", seconds=SECONDS_TO_READY)


def is_refused(pod: KubeObject, login: Password, prefix: str, cluster: DevelopmentCluster) -> bool:
    """Whether this one pod lets nobody in by the login."""
    where = "--namespace", pod["metadata"]["namespace"]
    with cluster.port_forward(f"pod/{name_of(pod)}", CONTAINER_PORT, *where) as port:
        return status(Tracking(port), login, prefix=prefix) == HTTPStatus.UNAUTHORIZED


def change_password(tracking: Tracking, admin: Password, new: Password, prefix: str) -> None:
    """Somebody changes a password in MLflow."""
    headers = urllib3.make_headers(basic_auth=f"{admin.username}:{admin.password}")
    url = f"http://127.0.0.1:{tracking.port}{prefix}/api/2.0/mlflow/users/update-password"
    # Whoever changes their own password has to know the one before (MLflow's server/auth/__init__.py).
    body = {"username": new.username, "password": new.password, "current_password": admin.password}
    done = tracking.pool.request("PATCH", url, json=body, headers=headers)
    assert done.status == 200, done.data


def test_a_pod_of_another_namespace_logs_by_grant_and_is_refused_once_that_is_withdrawn(
    other_team: Team, api: KubeApi, cluster: DevelopmentCluster
) -> None:
    wait_until_ready(other_team, seconds=SECONDS_TO_READY)
    own = user_of(other_team)
    with a_team(api, **RESTRICTED) as pipelines, forwarded(cluster, other_team) as tracking:
        api.apply(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClient",
                "metadata": {"name": "runs", "namespace": pipelines.namespace},
                "spec": {
                    "serverRef": {"namespace": other_team.namespace, "name": "mlflow"},
                    "permission": "EDIT",
                },
            }
        )
        grant(other_team, {"namespaces": [{"name": pipelines.namespace, "permission": "EDIT"}]})
        pipelines.wait_for(SECRET, "runs-client", SECONDS_TO_LET_IN)
        objects = [{kind: {"name": "runs-client"}} for kind in ("configMapRef", "secretRef")]
        start_pod(pipelines, "step", ["python", "-c", LOG_A_RUN], envFrom=objects)
        run = output_of(pipelines, "step").split()[-1]
        found = f"/api/2.0/mlflow/runs/get?run_id={run}"
        assert status(tracking, own, found, PREFIX) == 200

        secret = secret_of(pipelines, "runs-client")
        client = Password(secret["MLFLOW_TRACKING_USERNAME"], secret["MLFLOW_TRACKING_PASSWORD"])
        assert status(tracking, client, found, PREFIX) == 200
        grant(other_team, None)
        pipelines.wait_until_gone(SECRET, "runs-client", SECONDS_TO_FOLLOW)
        wait_until(
            lambda: status(tracking, client, found, PREFIX) == HTTPStatus.UNAUTHORIZED,
            SECONDS_A_LOGIN_IS_REMEMBERED + 1,
            "the pod's user is refused",
        )
        assert status(tracking, own, found, PREFIX) == 200


def grant(team: Team, clients: KubeObject | None) -> None:
    """Let these namespaces in, and no others."""
    team.patch_server({"spec": {"access": {"clients": clients}}})


def test_without_a_login_again_everybody_is_let_in(team: Team, cluster: DevelopmentCluster) -> None:
    admin = admin_of(team)
    team.patch_server({"spec": {"access": {"authentication": {"basic": None, "none": {}}}}})
    wait_until_ready(team, seconds=SECONDS_TO_ROLL)
    with forwarded(cluster, team) as tracking:
        assert status(tracking, None) == 200
    assert secret_of(team, "mlflow-client") == {}
    assert "secretName" not in team.server()["status"]["client"]
    assert admin_of(team) == admin


@contextmanager
def asking_all_the_time(tracking: Tracking, team: Team) -> Iterator[dict[str, list[str]]]:
    """A client that reads its password anew when it is refused, as a restarted job does."""
    seen: dict[str, list[str]] = {"failures": []}
    stop = Event()

    def ask() -> None:
        login, refused_since = user_of(team), 0.0
        while not stop.is_set():
            answer = status(tracking, login)
            if answer == 200:
                refused_since = 0.0
            elif answer not in REFUSED:
                seen["failures"].append(str(answer))
            elif refused_since and time.monotonic() - refused_since > SECONDS_TO_FOLLOW:
                seen["failures"].append("refused for long")
            else:
                refused_since = refused_since or time.monotonic()
                login = user_of(team)
            stop.wait(0.2)

    thread = Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def deployed_generation(team: Team) -> int:
    """How often the pods were rolled so far."""
    deployment = team.api.get(DEPLOYMENT, team.namespace, "mlflow")
    assert deployment
    return int(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def uids(team: Team) -> set[str]:
    """The pods that serve."""
    return {pod["metadata"]["uid"] for pod in serving_pods_of(team)}


def serving_pods_of(team: Team) -> list[KubeObject]:
    """Not those that are still ending, as some are for seconds after a roll: they answer nobody any more."""
    return [pod for pod in pods_of(team) if "deletionTimestamp" not in pod["metadata"]]
