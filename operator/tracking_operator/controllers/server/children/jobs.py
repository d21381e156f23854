"""The Jobs of a server as they are in the cluster, and what their pods tell. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.controllers.server.children.pods import (
    CheckResult,
    PodProblem,
    container_result,
    pod_problem,
)
from tracking_operator.kube.apply import digest
from tracking_operator.kube.objects import JOB, POD, KubeObject, kind_of, name_of
from tracking_operator.outcomes import EXIT_CODES, TERMINAL_EXIT_CODES
from tracking_operator.resources.pod.tools import like
from tracking_operator.resources.server_model import ServerModel


@dataclass(frozen=True)
class LiveJob:
    """One Job and its pods."""

    job: KubeObject
    result: CheckResult | None
    """What its newest pod left behind."""
    problem: PodProblem | None
    """Why its newest pod does not run."""
    is_running: bool
    """Whether a pod of it is at work right now."""
    has_pods: bool = True
    """Whether there is a pod of it."""

    @property
    def name(self) -> str:
        """What it is called."""
        return name_of(self.job)

    @property
    def is_done(self) -> bool:
        """Whether it succeeded."""
        return self._condition("Complete") is not None

    @property
    def completed_at(self) -> str:
        """When it succeeded, as Kubernetes writes times; empty while it has not."""
        return str((self.job.get("status") or {}).get("completionTime") or "") if self.is_done else ""

    @property
    def has_failed(self) -> bool:
        """Whether Kubernetes has given it up."""
        return self._condition("Failed") is not None

    @property
    def waits_for_a_pod(self) -> bool:
        """Whether its next pod has not been made yet."""
        return not (self.has_pods or self.is_done or self.has_failed)

    def seconds_since_failure(self, now: datetime) -> float:
        """How long ago Kubernetes gave it up; 0 while it has not."""
        failed = self._condition("Failed")
        if failed is None:
            return 0.0
        return (now - datetime.fromisoformat(failed["lastTransitionTime"])).total_seconds()

    def seconds_since_end(self, now: datetime) -> float:
        """How long ago it came to its end, good or bad; 0 while it has not."""
        if not self.is_done:
            return self.seconds_since_failure(now)
        ended = self.completed_at
        return (now - datetime.fromisoformat(ended)).total_seconds() if ended else 0.0

    @property
    def complaint(self) -> CheckResult | None:
        """What the last attempt did not like, while no other one is at work."""
        return self.result if self.result and self.result.reason and not self.is_running else None

    def trouble(self, type_: ConditionType) -> ConditionResult | None:
        """What keeps it from going on, or what its last attempt met; None if there is nothing to tell."""
        if self.problem:
            return problem(type_, self.problem.reason, self.problem.message)
        if self.complaint is None or self.complaint.reason is None:
            return None
        reason, message = self.complaint.reason, self.complaint.message
        if EXIT_CODES.get(reason) in TERMINAL_EXIT_CODES:
            return problem(type_, reason, message)
        found = problem(type_, reason, f"{message} Job {self.name} tries again.")
        # A pod that says no reason is tried again, too, whatever befell it.
        return replace(found, verdict=Verdict.FAILING) if found.verdict is Verdict.BLOCKED else found

    def differs_from(self, desired: KubeObject, server: ServerModel) -> bool:
        """Whether it was made of something else than what is desired now; a Job cannot be changed.

        With which release's programs does not count.
        """
        stamp = (self.job["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)
        return bool(stamp != digest(like(self.job, desired, server.names.former_scripts)))

    def _condition(self, type_: str) -> KubeObject | None:
        conditions = (self.job.get("status") or {}).get("conditions") or ()
        return next((one for one in conditions if one["type"] == type_ and one["status"] == "True"), None)


def live_job(
    children: Sequence[KubeObject], server: ServerModel, name: str, container: str
) -> LiveJob | None:
    """Find the server's own Job of this name, and what ``container`` of its pods tells."""
    return live_job_of(children, server.uid, name, container)


def live_job_of(children: Sequence[KubeObject], owner_uid: str, name: str, container: str) -> LiveJob | None:
    """The same of whoever has this UID."""
    for job in children:
        if kind_of(job) == JOB and name_of(job) == name and controlled_by(job, owner_uid):
            uid = str(job["metadata"]["uid"])
            pods = [pod for pod in children if kind_of(pod) == POD and controlled_by(pod, uid)]
            return LiveJob(
                job,
                result=container_result(pods, container),
                problem=pod_problem(pods),
                is_running=any((pod.get("status") or {}).get("phase") == "Running" for pod in pods),
                has_pods=bool(pods),
            )
    return None
