"""Programs of a data scientist, run as Jobs in the team's namespace."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from dev.demo.failures import DemoError
from dev.demo.watching import wait_for
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.progress import say
from tracking_operator.kube.objects import KubeObject

SCRIPTS = "/opt/demo"
USER_ID = 10001
SECONDS_TO_START = 180
SECONDS_TO_END = 600
UID_LABEL = "batch.kubernetes.io/controller-uid"

QUIET = {
    # MLflow warns for each model that the image has no pip.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Program:
    """A Python file and how to run it.

    Attributes:
        name: the name of its Job and ConfigMap.
        file: the program; the pod gets nothing else of this repository.
        client: the ConfigMap whose entries become environment variables: where the tracking server is.
        login: the Secret whose entries become environment variables: user and password; empty where there is no login.
        image: an image with Python and what the program imports.
        arguments: the program's command line.
        environment: more environment variables.
    """

    name: str
    file: Path
    client: str
    image: str
    login: str = ""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def run_job(
    cluster: DevelopmentCluster, namespace: str, program: Program, show: Callable[[str], None] = say
) -> str:
    """Run the program as a Job, in place of an earlier one; give each line to `show` as it is printed, then all.

    Raises:
        DemoError: the pod is refused or does not start in time, or the program fails.
    """
    manifests = yaml.safe_dump_all([build_config_map(program), build_job(program)])
    cluster.kubectl("delete", "job", program.name, "--namespace", namespace, "--ignore-not-found")
    cluster.kubectl("apply", "--namespace", namespace, "-f", "-", stdin=manifests)
    query = ("--namespace", namespace, "--output=jsonpath={.metadata.uid}")
    uid = cluster.kubectl("get", "job", program.name, *query)
    pods = ("pods", f"--selector={UID_LABEL}={uid}")
    running = f"the pod of Job {program.name} runs"
    pod = wait_for(cluster, namespace, pods, _has_started, expected=running, seconds=SECONDS_TO_START)
    place = (str(pod["metadata"]["name"]), "--namespace", namespace)
    seen = _follow_log(cluster, place, show)
    job, ending = ("job", program.name), f"Job {program.name} ends"
    ended = wait_for(cluster, namespace, job, _has_ended, expected=ending, seconds=SECONDS_TO_END)
    printed = cluster.kubectl("logs", *place)
    _show_missed(printed.splitlines(), seen, show)
    if "Complete" not in _true_conditions(ended):
        raise DemoError(
            f"Job {program.name} in namespace {namespace} failed. What its pod printed:\n{printed.strip()}"
        )
    return printed


def build_config_map(program: Program) -> KubeObject:
    """Build the ConfigMap that brings the program to its pod."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": program.name, "labels": _labels(program)},
        "data": {program.file.name: program.file.read_text(encoding="utf-8")},
    }


def build_job(program: Program) -> KubeObject:
    """Build a Job whose pod the `restricted` Pod Security Standard admits, with an address book for MLflow."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": program.name, "labels": _labels(program)},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": SECONDS_TO_END,
            "template": {"metadata": {"labels": _labels(program)}, "spec": _pod(program)},
        },
    }


def _pod(program: Program) -> KubeObject:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(program)],
        "volumes": [
            {"name": "program", "configMap": {"name": program.name}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }


def _container(program: Program) -> KubeObject:
    environment = {**QUIET, "HOME": "/tmp", **program.environment}  # noqa: S108 - an emptyDir of the pod's own
    return {
        "name": program.name,
        "image": program.image,
        "command": ["python", f"{SCRIPTS}/{program.file.name}", *program.arguments],
        "envFrom": _environment_of_client(program),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "program", "mountPath": SCRIPTS, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - as above
        ],
    }


def _environment_of_client(program: Program) -> list[KubeObject]:
    login = [{"secretRef": {"name": program.login}}] if program.login else []
    return [{"configMapRef": {"name": program.client}}, *login]


def _labels(program: Program) -> dict[str, str]:
    return {"app.kubernetes.io/name": program.name, "app.kubernetes.io/part-of": "demo"}


def _has_started(pod: KubeObject) -> bool:
    return pod.get("status", {}).get("phase") not in (None, "Pending")


def _has_ended(job: KubeObject) -> bool:
    return bool(_true_conditions(job) & {"Complete", "Failed"})


def _true_conditions(job: KubeObject) -> set[str]:
    conditions = job.get("status", {}).get("conditions", [])
    return {condition["type"] for condition in conditions if condition["status"] == "True"}


def _follow_log(cluster: DevelopmentCluster, place: tuple[str, ...], show: Callable[[str], None]) -> set[str]:
    """Show a pod's log as it grows; return its lines, which are not all when the connection breaks."""
    command = [str(cluster.kubectl_path), "logs", "--follow", *place]
    seen = set()
    with subprocess.Popen(
        command,
        env=cluster.kubectl_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stdout or ():
            seen.add(line.rstrip("\n"))
            show(line.rstrip("\n"))
    return seen


def _show_missed(lines: Sequence[str], seen: set[str], show: Callable[[str], None]) -> None:
    for line in lines:
        if line not in seen:
            show(line)
