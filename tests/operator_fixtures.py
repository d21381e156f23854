"""What tests of the running operator share: a team with a namespace, and the operator as a local process.

The local operator has exactly the rights of its pod: it uses a token of the ServiceAccount in manifests/base,
so that a permission that is missing there fails the tests that need it.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml

from dev.audit import ApiCall, AuditLog
from dev.classes import generous
from dev.development_cluster import DevelopmentCluster
from dev.loopback import free_port
from dev.service_account import kubeconfig_of
from tests.kube_api import KubeApi
from tests.mlflow_versions import NEWEST_VERSION
from tests.service_proxy import ServiceProxy, service_proxy
from tests.waiting import patient, wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    KubeObject,
    name_of,
    register,
)
from tracking_operator.resources.pod.migration_job import MIGRATE_CONTAINER

BASE = Path(__file__).parent.parent / "manifests" / "base"
OPERATOR_NAMESPACE = "tracking-operator-system"
OPERATOR = "tracking-operator"
OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"
LEASE_NAME = "tracking-operator"
RUNS_AS_A_POD = {"Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service"}
"""What only an operator in the cluster needs."""

ABSENT_REPOSITORY = "registry.invalid/mlflow"
"""Images that no node has: pods of these tests are made, and never run."""

register(Kind("v1", "ResourceQuota", "resourcequotas"))
CHILD_KINDS = (
    SERVICE_ACCOUNT,
    PERSISTENT_VOLUME_CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    SERVICE,
    NETWORK_POLICY,
)
CHILDREN_AT_LEAST = 7
"""How many objects a server with `spec: {}` has."""
PATIENCE_SECONDS = 30.0
"""For what has no bound of its own: long enough for a busy machine."""
SECONDS_TO_START = 90.0
"""For a process to load its libraries, on a machine that does much else."""
SECONDS_FOR_AN_EVENT = 5.0


@dataclass(frozen=True)
class Team:
    """Somebody with a namespace, who makes tracking servers in it and looks at what becomes of them."""

    api: KubeApi
    namespace: str

    def apply(self, spec: KubeObject, name: str = "mlflow", **metadata: object) -> KubeObject:
        """Apply a TrackingServer. Raises Refused."""
        return self.api.apply(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServer",
                "metadata": {"name": name, "namespace": self.namespace, **metadata},
                "spec": spec,
            }
        )

    def settled(self, name: str = "mlflow") -> KubeObject:
        """Return the server once its status is about its current specification."""

        def is_settled() -> KubeObject | None:
            server = self.server(name)
            is_current = (
                server.get("status", {}).get("observedGeneration") == server["metadata"]["generation"]
            )
            return server if is_current else None

        return wait_until(is_settled, PATIENCE_SECONDS, f"the status of {name} is about its specification")

    def made(self, spec: KubeObject, name: str = "mlflow", **metadata: object) -> KubeObject:
        """Apply a TrackingServer and return it once the operator has dealt with it."""
        self.apply(spec, name, **metadata)
        return self.settled(name)

    def server(self, name: str = "mlflow") -> KubeObject:
        """Return the TrackingServer."""
        return self.api.get(TRACKING_SERVER, self.namespace, name)

    def patch_server(self, change: KubeObject, name: str = "mlflow") -> KubeObject:
        """Merge a change into the TrackingServer. Raises Refused."""
        return self.api.patch(TRACKING_SERVER, self.namespace, name, change)

    def edit_placement(self, placement: KubeObject, name: str = "mlflow") -> None:
        """Write where a server and its data are, as only the platform team can, once the last change has been dealt with."""
        self.settled(name)
        self.api.patch_status(TRACKING_SERVER, self.namespace, name, {"placement": placement})

    def placement(self, name: str = "mlflow") -> KubeObject:
        """Where a server and its data are."""
        return dict(self.server(name)["status"]["placement"])

    def delete_server(self, name: str = "mlflow", *, policy: str = "Background") -> None:
        """Delete the TrackingServer, and do not wait."""
        self.api.delete(TRACKING_SERVER, self.namespace, name, policy=policy)

    def condition(self, type_: str, name: str = "mlflow") -> KubeObject | None:
        """Return a condition of the server as it is now."""
        return condition_of(self.server(name), type_)

    def wait_for_condition(
        self,
        type_: str,
        *,
        status: str | None = None,
        reason: str | None = None,
        name: str = "mlflow",
        seconds: float = PATIENCE_SECONDS,
    ) -> KubeObject:
        """Return the condition as soon as it has this status and this reason."""
        wanted = {key: value for key, value in (("status", status), ("reason", reason)) if value}

        def fits() -> KubeObject | None:
            found = self.condition(type_, name)
            return found if found and wanted.items() <= found.items() else None

        def describe() -> str:
            return f"{type_} of {name} is {wanted}; it is {self.condition(type_, name)}"

        return wait_until(fits, seconds, describe)

    def find(self, kind: Kind, name: str = "mlflow") -> KubeObject | None:
        """Return an object of the namespace, or None."""
        return self.api.find(kind, self.namespace, name)

    def get(self, kind: Kind, name: str = "mlflow") -> KubeObject:
        """Return an object of the namespace that has to be there."""
        return self.api.get(kind, self.namespace, name)

    def patch(self, kind: Kind, change: KubeObject, name: str = "mlflow") -> KubeObject:
        """Merge a change into an object of the namespace."""
        return self.api.patch(kind, self.namespace, name, change)

    def children(self, name: str = "mlflow") -> dict[tuple[str, str], KubeObject]:
        """Return everything that carries the label of the server but its pods, by kind and name."""
        return {
            (child["kind"], child["metadata"]["name"]): child
            for kind in CHILD_KINDS
            for child in self.api.list(kind, self.namespace, f"{SERVER_LABEL}={name}")
        }

    def wait_for(self, kind: Kind, name: str, seconds: float = PATIENCE_SECONDS) -> KubeObject:
        """Return an object of the namespace as soon as it is there."""
        return wait_until(lambda: self.find(kind, name), seconds, f"{kind} {name} exists")

    def wait_until_gone(self, kind: Kind, name: str = "mlflow", seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for the end of an object."""
        wait_until(lambda: self.find(kind, name) is None, seconds, f"{kind} {name} is gone")

    def wait_until_so(
        self,
        kind: Kind,
        name: str,
        is_so: Callable[[KubeObject], object],
        what: str,
        seconds: float = PATIENCE_SECONDS,
    ) -> KubeObject:
        """Return an object of the namespace as soon as something is true of it."""

        def fits() -> KubeObject | None:
            found = self.find(kind, name)
            return found if found and is_so(found) else None

        return wait_until(fits, seconds, what, interval=0.01)

    def migration_pod(
        self, name: str = "mlflow", version: str = NEWEST_VERSION, *, but: Sequence[str] = ()
    ) -> KubeObject:
        """Return the pod of a migration that has not ended, as soon as it is there; none of those in ``but``."""
        return self.job_pod(name, f"migrate-{version.replace('.', '-')}", but=but)

    def job_pod(
        self, name: str = "mlflow", what: str = "check-artifacts", *, but: Sequence[str] = ()
    ) -> KubeObject:
        """Return the pod of a Job that has not ended, as soon as it is there; none of those in ``but``."""
        job = f"{name}-{what}"

        def waiting() -> KubeObject | None:
            pods = self.api.list(POD, self.namespace, f"batch.kubernetes.io/job-name={job}")
            open_ = [pod for pod in pods if pod["status"].get("phase") == "Pending"]
            return next((pod for pod in open_ if name_of(pod) not in but), None)

        return wait_until(
            waiting, PATIENCE_SECONDS, lambda: f"Job {job} has a pod; {self.server(name).get('status')}"
        )

    def end_migration(
        self, pod: KubeObject, exit_code: int = 0, reason: str = "", message: str = "", revision: str = ""
    ) -> None:
        """Report the end of a migration's pod, as the kubelet does."""
        assert pod["spec"]["containers"][0]["name"] == MIGRATE_CONTAINER
        self.end(pod, exit_code, reason, message, revision)

    def end(
        self, pod: KubeObject, exit_code: int = 0, reason: str = "", message: str = "", revision: str = ""
    ) -> None:
        """Report the end of a Job's pod, as the kubelet does, with what its program said."""
        terminated = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": json.dumps({"reason": reason, "message": message, "revision": revision}),
            "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": "2026-01-01T00:00:01Z",
        }
        (container,) = pod["spec"]["containers"]
        ended = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": terminated},
        }
        status = {
            "phase": "Failed" if exit_code else "Succeeded",
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [ended],
        }
        self.api.patch_status(POD, self.namespace, name_of(pod), status)

    def warnings(self, name: str = "mlflow") -> list[KubeObject]:
        """Return the Warning Events about the server."""
        return [event for event in self.api.events(self.server(name)) if event["type"] == "Warning"]

    def wait_for_warnings(self, *reasons: str, name: str = "mlflow") -> None:
        """Wait until the Warning Events about the server have these reasons: they are posted after the status is written."""
        wait_until(
            lambda: {event["reason"] for event in self.warnings(name)} >= set(reasons),
            SECONDS_FOR_AN_EVENT,
            lambda: f"Warning Events for {', '.join(reasons)}; there are {self.warnings(name)}",
        )


@dataclass
class RunningOperator:
    """An operator in a process of its own, on this machine."""

    process: "subprocess.Popen[bytes]"
    log: Path
    health_port: int

    def is_active(self) -> bool:
        """Whether it has said that it holds the Lease."""
        self.require_running()
        return any("This operator is active now" in str(line.get("message")) for line in self.log_lines())

    def is_ready(self) -> bool:
        """Whether it has read everything once."""
        self.require_running()
        try:
            with urlopen(f"http://127.0.0.1:{self.health_port}/readyz", timeout=patient(5)) as answer:
                return int(answer.status) == 200
        except (HTTPError, OSError):
            return False

    def require_running(self) -> None:
        """Fail if it has ended."""
        code = self.process.poll()
        assert code is None, f"the operator ended with exit code {code}: {self.log_text()[-4000:]}"

    def wait_until_active(self, seconds: float = SECONDS_TO_START) -> None:
        """Wait until it holds the Lease and works."""
        wait_until(
            self.is_active, seconds, lambda: f"the operator is active; its log: {self.log_text()[-4000:]}"
        )

    def wait_until_ready(self, seconds: float = SECONDS_TO_START) -> None:
        """Wait until it could take over."""
        wait_until(
            self.is_ready, seconds, lambda: f"the operator is ready; its log: {self.log_text()[-4000:]}"
        )

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=patient(PATIENCE_SECONDS))

    def kill(self) -> None:
        """End it without a warning."""
        self.process.kill()
        self.process.wait(timeout=patient(PATIENCE_SECONDS))

    def log_text(self) -> str:
        """Return everything that it has logged."""
        return self.log.read_text()

    def log_lines(self) -> list[KubeObject]:
        """Return its log lines; each has to be JSON."""
        return [json.loads(line) for line in self.log_text().rpartition("\n")[0].splitlines()]


@dataclass
class OperatorHost:
    """Starts operators on this machine with the rights of the operator's ServiceAccount."""

    api: KubeApi
    kubeconfig: Path
    folder: Path
    servers: ServiceProxy
    started: list[RunningOperator] = field(default_factory=list)
    shared: RunningOperator | None = None

    def start(self, **settings: object) -> RunningOperator:
        """Start an operator; settings are those of OperatorSettings."""
        port = free_port()
        options = {
            "namespace": OPERATOR_NAMESPACE,
            "lease_name": LEASE_NAME,
            "image_repository": ABSENT_REPOSITORY,
            "health_port": port,
            "metrics_port": 0,
            "service_proxy": self.servers.url,
            **settings,
        }
        environment = {f"TRACKING_OPERATOR_{key.upper()}": str(value) for key, value in options.items()}
        log = self.folder / f"operator-{len(self.started) + 1}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "tracking_operator", "run"],
                env={**os.environ, **environment, "KUBECONFIG": str(self.kubeconfig)},
                stdout=stream,
                stderr=stream,
            )
        operator = RunningOperator(process, log, port)
        self.started.append(operator)
        return operator

    def share(self) -> RunningOperator:
        """The one active operator that all tests of a run use which do not stop it."""
        if self.shared is None or self.shared.process.poll() is not None:
            self.make_room()
            self.shared = self.start()
            self.shared.wait_until_active()
        return self.shared

    def make_room(self) -> None:
        """End every operator of this machine and of the cluster."""
        self.stop_all()
        remove_operator_pods(self.api)

    def stop_all(self) -> None:
        """End every operator of this machine."""
        running = [operator for operator in self.started if operator.process.poll() is None]
        for operator in running:
            operator.process.terminate()
        for operator in running:
            try:
                operator.process.wait(timeout=patient(15))
            except subprocess.TimeoutExpired:
                operator.kill()


HOSTS: list[OperatorHost] = []
"""Whoever wants an operator in the cluster has to end those on this machine first."""


@dataclass
class OperatorCalls:
    """The API calls of the operator, counted from the API server's audit log."""

    log: AuditLog

    def mark(self) -> None:
        """Begin to count."""
        self.log.mark()

    def writes(self, namespace: str | None = None) -> list[ApiCall]:
        """Every write since the mark, but for the Lease and Events; of one namespace, or of all."""
        return [
            call
            for call in self.log.calls()
            if call.user == OPERATOR_USER
            and call.is_write
            and call.resource not in ("leases", "events")
            and namespace in (None, call.namespace)
        ]

    def all(self) -> list[ApiCall]:
        """Every call since the mark, but for the Lease and the watches, which come and go by themselves."""
        return [
            call
            for call in self.log.calls()
            if call.user == OPERATOR_USER and call.resource != "leases" and call.verb != "watch"
        ]


@pytest.fixture(scope="session")
def api(cluster: DevelopmentCluster) -> KubeApi:
    """The API server, as an administrator."""
    return KubeApi(cluster.kubeconfig_path)


@pytest.fixture(scope="session")
def installation(cluster: DevelopmentCluster, api: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of manifests/base but what runs as a pod; gives a kubeconfig of the operator's ServiceAccount."""
    manifests = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(BASE))))
    chosen = [manifest for manifest in manifests if manifest["kind"] not in RUNS_AS_A_POD]
    chosen.sort(key=lambda manifest: manifest["kind"] != "Namespace")
    cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(chosen)
    )
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    path = tmp_path_factory.mktemp("operator") / "kubeconfig"
    path.write_text(kubeconfig_of(cluster, OPERATOR_NAMESPACE, OPERATOR))
    return path


@pytest.fixture(scope="session")
def servers() -> Iterator[ServiceProxy]:
    """Where the operator on this machine asks servers, whose pods do not run: all answer unless a test says otherwise."""
    with service_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def operators(
    installation: Path, api: KubeApi, servers: ServiceProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHost]:
    """Starts operators on this machine; none is left afterwards."""
    host = OperatorHost(api, installation, tmp_path_factory.mktemp("operators"), servers)
    HOSTS.append(host)
    yield host
    host.stop_all()


@pytest.fixture
def operator(operators: OperatorHost) -> Iterator[RunningOperator]:
    """An active operator, which has to survive the test without an unexpected failure."""
    running = operators.share()
    before = len(running.log_lines())
    yield running
    running.require_running()
    unexpected = [line for line in running.log_lines()[before:] if "exception" in line]
    assert not unexpected, f"the operator logged a traceback: {unexpected[0]}"


@pytest.fixture
def team(api: KubeApi, installation: Path) -> Iterator[Team]:
    """A team with a new namespace, which is deleted afterwards, without waiting for its end."""
    with a_team(api) as team:
        yield team


@pytest.fixture
def calls(cluster: DevelopmentCluster) -> OperatorCalls:
    """The operator's calls since the beginning of the test."""
    counted = OperatorCalls(AuditLog(cluster.audit_log))
    counted.mark()
    return counted


@contextmanager
def a_team(api: KubeApi, **labels: str) -> Iterator[Team]:
    """A team with a namespace of these labels, for the time of the block."""
    name = f"team-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        yield Team(api, name)
    finally:
        api.delete(NAMESPACE, None, name)


@contextmanager
def a_class(api: KubeApi, spec: KubeObject, *, is_default: bool = False) -> Iterator[str]:
    """A TrackingServerClass for the time of the block; gives its name. What it does not forbid is permitted."""
    name = f"class-{secrets.token_hex(4)}"
    annotations = {"tracking-operator.dev/is-default-class": "true"} if is_default else {}
    api.create(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerClass",
            "metadata": {"name": name, "annotations": annotations},
            "spec": generous(spec),
        }
    )
    try:
        yield name
    finally:
        api.delete(TRACKING_SERVER_CLASS, None, name)


def remove_operator_pods(api: KubeApi) -> None:
    """End the operator that runs in the cluster, if any, without touching what it has made."""
    api.delete(DEPLOYMENT, OPERATOR_NAMESPACE, OPERATOR)
    wait_until(lambda: not api.list(POD, OPERATOR_NAMESPACE), 60, "no operator runs in the cluster")
    api.delete(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)


def condition_of(obj: KubeObject, type_: str) -> KubeObject | None:
    """Return a condition of a resource, or None."""
    conditions: list[KubeObject] = obj.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == type_), None)
