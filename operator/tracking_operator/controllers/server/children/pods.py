"""What a server's pods tell about it: pure readings of their status.

Only facts that Kubernetes states are used, and the termination message of the check; container logs
may hold anything and never become part of a condition.
"""

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, ValidationError

from tracking_operator.api.base import ApiModel
from tracking_operator.api.conditions import Reason, reason_of
from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL
from tracking_operator.kube.objects import POD, KubeObject, kind_of, name_of
from tracking_operator.outcomes import EXIT_CODES, OUTCOMES
from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.pod.artifact_jobs import DELETE_ARTIFACTS_CONTAINER
from tracking_operator.resources.pod.backup_jobs import BACKUP_CONTAINER, RESTORE_CONTAINER
from tracking_operator.resources.pod.garbage_job import GARBAGE_CONTAINER
from tracking_operator.resources.pod.login_proxy import CHECK_PROVIDER_CONTAINER, PROXY_CONTAINER
from tracking_operator.resources.pod.login_reset_job import RESET_CONTAINER
from tracking_operator.resources.pod.migration_job import MIGRATE_CONTAINER
from tracking_operator.resources.pod.server_pod import (
    CHECK_ARTIFACTS_CONTAINER,
    CHECK_CONTAINER,
    SERVER_CONTAINER,
)

VERSION_LABEL: Final = "app.kubernetes.io/version"

IMAGE_PROBLEMS: Final = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
START_PROBLEMS: Final = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
NEVER_RAN: Final = {"StartError", "ContainerCannotRun"}
"""What a container's end is called that the runtime could not start: containerd and CRI-O say the first, Docker the second."""
ENDED: Final = {"Succeeded", "Failed"}
"""Phases of a pod that starts nothing any more."""
NO_SUCH_PROGRAM: Final = re.compile(
    "executable file .{0,80}not found|no such file or directory", re.IGNORECASE
)
"""How runtimes say that an image does not have the program that is to be started in it."""
KILLED_FOR_MEMORY: Final = "OOMKilled"
SIGNALLED: Final = (128 + signal.SIGKILL, 128 + signal.SIGTERM)
WAITS_FOR_VOLUME: Final = re.compile(
    "unbound immediate PersistentVolumeClaims|persistentvolumeclaim .* not found"
)
"""What the scheduler says while a volume is being provisioned, or while it has not heard of the claim that was made
beside the Deployment (k8s.io/kubernetes/pkg/scheduler, volumebinding)."""

TASKS: Final = {
    CHECK_CONTAINER: "check of the backend store",
    MIGRATE_CONTAINER: "migration of the backend store",
    CHECK_ARTIFACTS_CONTAINER: "check of the artifact store",
    CHECK_PROVIDER_CONTAINER: "look at the identity provider",
    DELETE_ARTIFACTS_CONTAINER: "deletion of the artifacts",
    RESET_CONTAINER: "reset of the login",
    BACKUP_CONTAINER: "backup",
    RESTORE_CONTAINER: "restore",
    GARBAGE_CONTAINER: "collection of garbage",
}
"""What each container of ours is for, in a sentence."""

LONGEST_QUOTE: Final = 400
HIGHEST_OF_A_PROGRAM: Final = 128
"""Exit codes above this one stand for a signal: whatever was said before, Jobs try again after them."""


LARGEST_COUNT: Final = 2**53
"""No program counts further, and no status takes more for a number."""
_Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
_Ids = Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=20)]


class Collected(ApiModel):
    """What a program says that it has removed of what a team has deleted, or would have."""

    dry_run: bool
    removed: _Count
    bytes: _Count
    kept_count: _Count
    kept: _Ids = ()
    failed_count: _Count
    failed: _Ids = ()


class TerminationMessage(ApiModel):
    """What our programs leave behind; an image of the team's own may leave anything."""

    reason: str = ""
    message: str = ""
    revision: str = ""
    login_revision: str = ""
    collected: Collected | None = None


@dataclass(frozen=True)
class CheckResult:
    """What a program found out about a store; ``reason`` is None when all is well."""

    reason: Reason | None
    message: str
    revision: str
    ended_at: str = ""
    """When it ended, as Kubernetes writes times."""
    remark: Reason | None = None
    """What is worth knowing although all is well."""
    login_revision: str = ""
    """The revision of the login's tables; empty where nobody has to log in."""
    collected: Collected | None = None
    """What was removed of what a team has deleted; None of another program."""

    @property
    def is_of_the_store(self) -> bool:
        """Whether it says something about the backend store itself, and not about the schema in it."""
        return self.reason is not None and OUTCOMES[self.reason].is_of_the_backend_store


@dataclass(frozen=True)
class PodProblem:
    """Why a pod does not serve."""

    reason: Reason
    message: str
    ended_after: float | None = None
    """After how many seconds somebody ended MLflow, as the kubelet does when it does not answer in time; None: it ended itself."""


def server_pods(children: Sequence[KubeObject]) -> list[KubeObject]:
    """The pods that are there to serve; those of Jobs are not."""
    return [child for child in children if kind_of(child) == POD and _serves(child)]


def _serves(pod: KubeObject) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == SERVER_COMPONENT)


def has_pods_on_their_way_out(children: Sequence[KubeObject]) -> bool:
    """Whether a pod finishes the requests that it has, with what it was started with; a Deployment does not count it."""
    return any(
        pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") == "Running"
        for pod in server_pods(children)
    )


def newest_first(pods: Sequence[KubeObject]) -> list[KubeObject]:
    """The pods that are not on their way out, newest first."""
    present = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return sorted(present, key=lambda pod: (pod["metadata"]["creationTimestamp"], name_of(pod)), reverse=True)


def check_result(pods: Sequence[KubeObject], version: str) -> CheckResult | None:
    """The newest answer of the init container in a pod of this MLflow version; None while there is none."""
    for pod in newest_first(pods):
        if (pod["metadata"].get("labels") or {}).get(VERSION_LABEL) != version:
            continue
        for terminated in _terminations(pod, CHECK_CONTAINER):
            return _result_in(terminated, CHECK_CONTAINER)
    return None


def container_result(pods: Sequence[KubeObject], container: str) -> CheckResult | None:
    """What the newest pod whose container has ended left behind; None while there is none."""
    for pod in newest_first(pods):
        for terminated in _terminations(pod, container):
            return _result_in(terminated, container)
    return None


def pod_problem(pods: Sequence[KubeObject]) -> PodProblem | None:
    """Why the newest pod does not serve, as far as that can be told."""
    for pod in newest_first(pods)[:1]:
        return (
            _unschedulable(pod)
            or _image_problem(pod)
            or _start_problem(pod)
            or _crash(pod)
            or _crash_of_proxy(pod)
        )
    return None


def _result_in(terminated: KubeObject, container: str) -> CheckResult:
    """Read a termination message; a program that died without one has failed for a reason of its own."""
    try:
        said = TerminationMessage.model_validate_json(terminated.get("message") or "{}")
    except ValidationError:
        said = TerminationMessage()
    ended_at = str(terminated.get("finishedAt") or "")
    known = reason_of(said.reason) if said.reason in EXIT_CODES else None
    if terminated.get("exitCode") == 0:
        return CheckResult(
            None,
            said.message,
            said.revision,
            ended_at,
            remark=known,
            login_revision=said.login_revision,
            collected=said.collected,
        )
    if known and _is_believed(known, terminated.get("exitCode")):
        return CheckResult(known, said.message, "", ended_at)
    if terminated.get("reason") in NEVER_RAN:
        reason, why = _why_never_ran(terminated)
        return CheckResult(reason, f"The {TASKS[container]} cannot be started: {why}", "", ended_at)
    return CheckResult(
        Reason.CRASH_LOOPING,
        f"The {TASKS[container]} ended with exit code {terminated.get('exitCode')} and said no reason: "
        f"read its log (container {container}).",
        "",
        ended_at,
    )


def _why_never_ran(state: KubeObject) -> tuple[Reason, str]:
    """Why the runtime could not start a container, by its own words."""
    words = str(state.get("message") or "")
    if NO_SUCH_PROGRAM.search(words) and "mount" not in words.lower():
        why = f"the image has no python3 in its PATH ({_quoted(state)}). Take an image that has Python, MLflow and psycopg2."
        return Reason.IMAGE_INCOMPLETE, why
    return Reason.POD_REFUSED, f"{_quoted(state)}."


def _is_believed(reason: Reason, exit_code: int | None) -> bool:
    """Whether a pod's word goes with how it ended, by which Kubernetes has decided whether its Job tries again.

    A program of an image of the team's own may say that a state passes, and end as if it never did.
    """
    return exit_code == EXIT_CODES[reason] or (exit_code or 0) > HIGHEST_OF_A_PROGRAM


def _terminations(pod: KubeObject, container: str) -> Iterator[KubeObject]:
    """How a container ended, the latest first."""
    for status in _statuses(pod, container):
        for state in (status.get("state"), status.get("lastState")):
            if state and state.get("terminated"):
                yield state["terminated"]


def _statuses(pod: KubeObject, *containers: str) -> list[KubeObject]:
    status = pod.get("status") or {}
    reported = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return [one for one in reported if one["name"] in containers]


def _waiting(pod: KubeObject) -> Iterator[KubeObject]:
    for status in _statuses(pod, *TASKS, PROXY_CONTAINER, SERVER_CONTAINER):
        if waiting := (status.get("state") or {}).get("waiting"):
            yield waiting


def _unschedulable(pod: KubeObject) -> PodProblem | None:
    status = pod.get("status") or {}
    if status.get("phase") in ENDED:
        return None  # it waits for no node any more, whatever the scheduler said of it before
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            if WAITS_FOR_VOLUME.search(condition.get("message") or ""):
                return None  # the condition of the store says so, and it passes by itself
            return PodProblem(
                Reason.UNSCHEDULABLE,
                f"No node takes pod {name_of(pod)}: {_quoted(condition)}. Lower spec.resources or change "
                "spec.podTemplate; if a volume is at fault, look at its claim.",
            )
    return None


def _image_problem(pod: KubeObject) -> PodProblem | None:
    for waiting in _waiting(pod):
        if waiting.get("reason") in IMAGE_PROBLEMS:
            return PodProblem(
                Reason.IMAGE_PULL_FAILED,
                f"The image of pod {name_of(pod)} cannot be pulled: {_quoted(waiting)}. Check the image's name and "
                "spec.podTemplate.imagePullSecrets.",
            )
    return None


def _start_problem(pod: KubeObject) -> PodProblem | None:
    for waiting in _waiting(pod):
        if waiting.get("reason") in START_PROBLEMS:
            reason, why = _why_never_ran(waiting)
            return PodProblem(reason, f"Pod {name_of(pod)} cannot start a container: {why}")
    return None


def _crash(pod: KubeObject) -> PodProblem | None:
    for status in _statuses(pod, SERVER_CONTAINER):
        if status.get("ready"):
            return None
    for terminated in _terminations(pod, SERVER_CONTAINER):
        if terminated.get("reason") in NEVER_RAN:
            reason, why = _why_never_ran(terminated)
            return PodProblem(reason, f"MLflow in pod {name_of(pod)} cannot be started: {why}")
        if terminated.get("reason") == KILLED_FOR_MEMORY:
            return PodProblem(
                Reason.OUT_OF_MEMORY,
                f"MLflow in pod {name_of(pod)} needed more memory than its limit: raise "
                "spec.resources.limits.memory or lower spec.workers.",
            )
        return PodProblem(
            Reason.CRASH_LOOPING,
            f"MLflow in pod {name_of(pod)} ended with exit code {terminated.get('exitCode')}: "
            f"read 'kubectl logs --previous {name_of(pod)}'.",
            ended_after=_seconds_of_run(terminated) if terminated.get("exitCode") in SIGNALLED else None,
        )
    return None


def _crash_of_proxy(pod: KubeObject) -> PodProblem | None:
    """Why the proxy does not serve that logs people in; MLflow does not start before it does."""
    if any(status.get("ready") or status.get("started") for status in _statuses(pod, PROXY_CONTAINER)):
        return None
    for terminated in _terminations(pod, PROXY_CONTAINER):
        return PodProblem(
            Reason.CRASH_LOOPING,
            f"The proxy that logs people in, in pod {name_of(pod)}, ended with exit code {terminated.get('exitCode')}: "
            f"read 'kubectl logs --previous {name_of(pod)} -c {PROXY_CONTAINER}'.",
        )
    return None


def _seconds_of_run(terminated: KubeObject) -> float | None:
    started, finished = terminated.get("startedAt"), terminated.get("finishedAt")
    if not started or not finished:
        return None
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def _quoted(status: KubeObject) -> str:
    return quoted(str(status.get("message") or status.get("reason") or "no reason given"))


def quoted(words: str) -> str:
    """What somebody else says, as part of a sentence of ours."""
    text = " ".join(words.split())
    return text.rstrip(".") if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"
