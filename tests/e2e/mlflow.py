"""MLflow as its users meet it: the REST API on a port of this machine, and the Python client in a pod."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import urllib3

from dev.development_cluster import DevelopmentCluster
from tests.kstatus import kstatus
from tests.mlflow_versions import NEWEST_VERSION
from tests.operator_fixtures import OPERATOR_NAMESPACE, Team, condition_of
from tests.waiting import patient, wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    JOB,
    POD,
    REPLICA_SET,
    KubeObject,
    KubeObjects,
)
from tracking_operator.outcomes import OUTCOMES, RetryClass

IMAGE = f"tracking-operator/mlflow:{NEWEST_VERSION}"
API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
SECONDS_TO_READY = 360.0
SECONDS_TO_STOP = 60.0
USER = 10001
HARMLESS_EXIT_CODES = {0, *(one.exit_code for one in OUTCOMES.values() if one.retry is RetryClass.OUTSIDE)}
OUT_OF_REACH = {"StoreUnreachable", "HostNotFound"}
"""What a store without time to answer, or its name server, is called."""

CLIENT_WITH_LOGIN = [
    {"configMapRef": {"name": "mlflow-client"}},
    {"secretRef": {"name": "mlflow-client"}},
]
CLIENTS = 2
# Whoever enforces NetworkPolicies learns of a new pod a moment after the pod runs, and refuses its connections until then.
BEGIN_WHEN_LET_IN = """
import time, urllib.request

def begin_when_let_in(question):
    def is_let_in():
        try:
            return urllib.request.urlopen(question, timeout=10).status == 200
        except OSError:
            return False

    begun = time.monotonic()
    while not is_let_in() and time.monotonic() < begun + 20:
        time.sleep(0.05)
    print("begin", flush=True)
    return begun
"""
ASK_AGAIN_AND_AGAIN = f"""{BEGIN_WHEN_LET_IN}
import base64, json, os, pathlib, threading
url = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/experiments/get?experiment_id=0"
login = ":".join(os.environ.get(f"MLFLOW_TRACKING_{{key}}", "") for key in ("USERNAME", "PASSWORD"))
headers = {{"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}} if login != ":" else {{}}
question = urllib.request.Request(url, headers=headers)
answers, failures = [], []

def ask():
    while not pathlib.Path("/tmp/stop").exists() and len(failures) < 10:
        try:
            with urllib.request.urlopen(question, timeout=10) as answer:
                answers.append(answer.read() and 1)
        except Exception as error:
            failures.append(f"{{time.monotonic() - begun:.1f}} s: {{error!r}}")
        time.sleep(0.05)

begun = begin_when_let_in(question)
threads = [threading.Thread(target=ask) for _ in range({CLIENTS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(dict(answers=len(answers), failures=failures)))
"""


@dataclass(frozen=True)
class Tracking:
    """A tracking server, as somebody reaches it: behind a port of this machine, or behind an Ingress controller.

    Attributes:
        port: where to connect to.
        address: of this machine, or of the node.
        host: what requests say they are for; empty: address and port.
        prefix: of all paths; empty, or like `/team-a`.
        login: user and password; None: nobody in particular.
    """

    port: int
    address: str = "127.0.0.1"
    host: str = ""
    prefix: str = ""
    login: tuple[str, str] | None = field(default=None, repr=False)
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=patient(30.0)))

    def answer(self, method: str, path: str, body: object = None, host: str = "") -> urllib3.BaseHTTPResponse:
        """Send a request, as from a browser that has reached the server under the name `host`."""
        named = {"Host": host or self.host} if host or self.host else {}
        login = urllib3.make_headers(basic_auth=":".join(self.login)) if self.login else {}
        return self.pool.request(
            method,
            f"http://{self.address}:{self.port}{self.prefix}{path}",
            body=body if isinstance(body, bytes) or body is None else json.dumps(body),
            headers={"Content-Type": "application/json", **named, **login},
        )

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Call the REST API, which has to answer 200."""
        answer = self.answer(method, API + path, body)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.data!r}"
        return dict(json.loads(answer.data))

    def make_experiment(self, name: str) -> str:
        """Make an experiment of one's own; return its id."""
        return str(self.call("POST", "/experiments/create", {"name": name})["experiment_id"])

    def log_run(self, note: str, experiment: str = "0") -> str:
        """Log a run with a parameter, a metric and an artifact; return its id."""
        start = {"experiment_id": experiment, "run_name": note, "start_time": 1}
        created = self.call("POST", "/runs/create", start)
        run = str(created["run"]["info"]["run_id"])
        self.call("POST", "/runs/log-parameter", {"run_id": run, "key": "note", "value": note})
        self.call("POST", "/runs/log-metric", {"run_id": run, "key": "rmse", "value": 0.25, "timestamp": 1})
        stored = self.answer("PUT", f"{ARTIFACTS}/{experiment}/{run}/artifacts/note.txt", note.encode())
        assert stored.status == 200, stored.data
        return run

    def run_ids(self, experiment: str = "0") -> list[str]:
        """The ids of all runs."""
        found = self.call("POST", "/runs/search", {"experiment_ids": [experiment]})
        return [run["info"]["run_id"] for run in found.get("runs", [])]

    def assert_has(self, run: str, note: str) -> None:
        """The run is there with all that `log_run` has logged."""
        data = self.call("GET", f"/runs/get?run_id={run}")["run"]["data"]
        assert {entry["key"]: entry["value"] for entry in data["params"]} == {"note": note}
        assert {entry["key"]: entry["value"] for entry in data["metrics"]} == {"rmse": 0.25}
        artifact = self.answer("GET", f"{ARTIFACTS}/0/{run}/artifacts/note.txt")
        assert (artifact.status, artifact.data) == (200, note.encode())


@contextmanager
def forwarded(cluster: DevelopmentCluster, team: Team, name: str = "mlflow") -> Iterator[Tracking]:
    """A team's server by `kubectl port-forward` to its Service."""
    with cluster.port_forward(f"service/{name}", 80, "--namespace", team.namespace) as port:
        yield Tracking(port)


def wait_until_ready(team: Team, name: str = "mlflow", seconds: float = SECONDS_TO_READY) -> KubeObject:
    """Return the server once it is Ready as it is specified now, and nothing is under way any more."""

    def is_ready() -> KubeObject | None:
        server = team.server(name)
        ready = team.condition("Ready", name) or {}
        is_current = ready.get("observedGeneration") == server["metadata"]["generation"]
        is_settled = is_current and team.condition("Reconciling", name) is None
        return server if is_settled and ready.get("status") == "True" else None

    return wait_until(
        is_ready, seconds, lambda: f"{name} is Ready: {team.server(name).get('status')}", interval=0.2
    )


@contextmanager
def staying_ready(team: Team, name: str = "mlflow") -> Iterator[None]:
    """Look at a server all the time: it is Ready at each look, and at one of them at least something is under way.

    A store that has no time to answer the operator, on a busy machine, is not what is under way.
    """
    seen, over = list[KubeObject](), threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(team.server(name))
            over.wait(0.3)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    found = [condition_of(one, "Ready") or {"status": "Unknown", "reason": "Pending"} for one in seen]
    not_ready = [one for one in found if one["status"] != "True"]
    assert {one["reason"] for one in not_ready} <= OUT_OF_REACH, not_ready[:3]
    assert "InProgress" in {kstatus(one) for one in seen}, "nothing was under way"


def wait_until_no_pods(team: Team) -> None:
    """Wait for the end of all pods of the servers of a namespace."""
    selector = "app.kubernetes.io/component=server"
    wait_until(
        lambda: not team.api.list(POD, team.namespace, selector),
        SECONDS_TO_STOP,
        "no pod of a server is left",
    )


def all_pods_of(team: Team, name: str = "mlflow") -> list[KubeObject]:
    """The pods of a server, those of its migrations included."""
    return team.api.list(POD, team.namespace, f"tracking-operator.dev/tracking-server={name}")


def pods_of(team: Team, name: str = "mlflow") -> list[KubeObject]:
    """The pods of a server that serve, or shall."""
    return [
        pod
        for pod in all_pods_of(team, name)
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    ]


def uids(team: Team, name: str = "mlflow") -> set[str]:
    """The pods that serve."""
    return {pod["metadata"]["uid"] for pod in pods_of(team, name)}


def assert_no_container_failed(team: Team, name: str = "mlflow") -> None:
    """No container that serves was started again, and none of the server's ended badly, its Jobs' included.

    What tries a store may have found it, or its name, out of reach for a moment: it says so and is tried again, which a busy
    machine is enough for.
    """
    for pod in all_pods_of(team, name):
        status = pod["status"]
        serving, others = status.get("containerStatuses", []), status.get("initContainerStatuses", [])
        for container in (*serving, *others):
            ends = [
                container[state]["terminated"]
                for state in ("state", "lastState")
                if "terminated" in container[state]
            ]
            assert {end["exitCode"] for end in ends} <= HARMLESS_EXIT_CODES, (container["name"], ends)
        assert not any(one["restartCount"] for one in serving), pod["metadata"]["name"]


def age_of(team: Team, type_: str) -> float:
    """For how many seconds a condition has been as it is."""
    since = datetime.fromisoformat((team.condition(type_) or {})["lastTransitionTime"])
    return (datetime.now(since.tzinfo) - since).total_seconds()


def start_pod(
    team: Team, name: str, command: list[str], volumes: KubeObjects | None = None, **more: object
) -> None:
    """Start a pod of the MLflow image that the `restricted` standard admits, with the server's client settings.

    Without ``volumes`` what it mounts are PersistentVolumeClaims of these names.
    """
    container = {
        "name": "client",
        "image": IMAGE,
        "command": command,
        "envFrom": [{"configMapRef": {"name": "mlflow-client", "optional": True}}],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "GIT_PYTHON_REFRESH", "value": "quiet"}],  # noqa: S108
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **more,
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    claims = [
        {"name": mount["name"], "persistentVolumeClaim": {"claimName": mount["name"]}}
        for mount in more.get("volumeMounts", [])  # type: ignore[attr-defined]
    ]
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": team.namespace},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": security,
                "containers": [container],
                "volumes": claims if volumes is None else volumes,
            },
        }
    )


def output_of(team: Team, name: str, seconds: float = SECONDS_TO_READY) -> str:
    """What a pod has printed when it ended well; it is removed."""
    pod = team.wait_until_so(
        POD,
        name,
        lambda live: live["status"]["phase"] in ("Succeeded", "Failed"),
        f"pod {name} ends",
        seconds,
    )
    printed = team.api.pod_log(team.namespace, name)
    assert pod["status"]["phase"] == "Succeeded", printed
    remove_pod(team, name)
    return printed


def remove_pod(team: Team, name: str) -> None:
    """Remove a pod, if it is there, and wait until its name is free."""
    if team.find(POD, name):
        team.api.delete(POD, team.namespace, name)
        team.wait_until_gone(POD, name, SECONDS_TO_STOP)


def run_pod(team: Team, name: str, script: str) -> str:
    """Run Python in a pod and return what it printed."""
    start_pod(team, name, ["python", "-c", script])
    return output_of(team, name)


def wait_until_rolled_out(team: Team, name: str = "mlflow") -> None:
    """Wait until every pod is of the newest generation."""

    def is_rolled_out(live: KubeObject) -> bool:
        status = live.get("status", {})
        wanted = live["spec"]["replicas"]
        return status.get("observedGeneration") == live["metadata"]["generation"] and all(
            status.get(field, 0) == wanted for field in ("replicas", "updatedReplicas", "availableReplicas")
        )

    team.wait_until_so(DEPLOYMENT, name, is_rolled_out, "all pods are new", SECONDS_TO_READY)


@contextmanager
def clients(
    team: Team, cluster: DevelopmentCluster, script: str = ASK_AGAIN_AND_AGAIN, *, has_login: bool = False
) -> Iterator[KubeObject]:
    """A pod that asks the server all the time through its Service; what it met is known after the block.

    With ``has_login`` it gets the team's user and password. Another ``script`` has to print a line at its beginning, end when there is `/tmp/stop`, and print a line of JSON.
    """
    seen: KubeObject = {}
    more = {"envFrom": CLIENT_WITH_LOGIN} if has_login else {}
    start_pod(team, "clients", ["python", "-c", script], **more)
    team.wait_until_so(
        POD, "clients", lambda live: live["status"]["phase"] == "Running", "the client pod runs", 60
    )
    wait_until(lambda: team.api.pod_log(team.namespace, "clients"), 60, "the client pod begins")
    try:
        yield seen
        cluster.kubectl("exec", "clients", "--namespace", team.namespace, "--", "touch", "/tmp/stop")  # noqa: S108
        seen.update(json.loads(output_of(team, "clients", 60).splitlines()[-1]))
    finally:
        remove_pod(team, "clients")


def assert_says_nothing_of(password: str, team: Team) -> None:
    """Neither objects nor logs of the server or of the operator hold the password."""
    kinds = (TRACKING_SERVER, DEPLOYMENT, REPLICA_SET, JOB, POD, CONFIG_MAP, EVENT)
    for obj in (obj for kind in kinds for obj in team.api.list(kind, team.namespace)):
        assert password not in json.dumps(obj), f"{obj['kind']} {obj['metadata']['name']} holds the password"
    for pod in all_pods_of(team):
        for container in ("check-backend-store", "migrate", "mlflow"):
            if has_started(pod, container):
                assert password not in team.api.pod_log(team.namespace, pod["metadata"]["name"], container)
    for pod in team.api.list(POD, OPERATOR_NAMESPACE):
        assert password not in team.api.pod_log(OPERATOR_NAMESPACE, pod["metadata"]["name"])


def has_started(pod: KubeObject, container: str) -> bool:
    """Whether a container has a log."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    return any(status["name"] == container and "waiting" not in status["state"] for status in statuses)
