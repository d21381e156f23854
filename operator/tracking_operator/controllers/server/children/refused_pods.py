"""Pods that the API server does not let be created: in whose words, and what helps.

Of a ReplicaSet's pods a condition of the Deployment tells. A Job has none for it: its controller posts the Event
FailedCreate and tries again (kubernetes 1.36, pkg/controller/job/job_controller.go and pkg/controller/controller_utils.go).
So the Events of a Job are read, now and then, while it has no pod.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.last_event import words_of_last_event
from tracking_operator.controllers.server.children.pods import PodProblem, quoted
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import is_of_a_quota

FAILED_CREATE: Final = "FailedCreate"
SECONDS_UNTIL_A_POD: Final = 2.0
"""How long a Job's controller may take for the first pod."""
SECONDS_BETWEEN_LOOKS: Final = 10.0

_OF_A_POD: Final = re.compile(
    r'^(\(combined from similar events\): )?(Error creating: )?(pods? "[^"]*" is (forbidden|invalid): )?',
    re.IGNORECASE,
)
"""What comes before the words that matter. The name of a pod is another one at each attempt."""


@dataclass(frozen=True)
class Heard:
    """A Job with what is known of its pods, and when to ask again."""

    job: LiveJob | None
    look_again: float | None = None


async def with_refusal(kube: KubeClient, job: LiveJob | None, now: datetime) -> Heard:
    """The Job, with the refusal of its pods as its problem, if it has none because of that."""
    if job is None or not job.waits_for_a_pod:
        return Heard(job)
    age = (now - datetime.fromisoformat(job.job["metadata"]["creationTimestamp"])).total_seconds()
    if age < SECONDS_UNTIL_A_POD:
        return Heard(job, SECONDS_UNTIL_A_POD - age)
    words = await words_of_last_event(kube, job.job, (FAILED_CREATE,))
    if words is None:
        return Heard(job, SECONDS_BETWEEN_LOOKS)
    return Heard(replace(job, problem=refusal_of_job(job.name, words)), SECONDS_BETWEEN_LOOKS)


def refusal_of_job(name: str, words: str) -> PodProblem:
    """Why a Job gets no pod, and what helps."""
    said = f"The API server refuses the pods of Job {name}: {_essential(words)}."
    if is_of_a_quota(words):
        return PodProblem(
            Reason.QUOTA_EXCEEDED,
            f"{said} Set spec.jobs.resources to what is left, or have the ResourceQuota raised.",
        )
    return PodProblem(
        Reason.POD_REFUSED,
        f"{said} Set spec.jobs.resources, or the labels and annotations of spec.podTemplate, as this asks; if it is about none "
        "of these, ask the platform team.",
    )


def refusal_of_server(words: str, *, is_surge: bool) -> PodProblem:
    """Why the server's pods are not made, and what helps; ``is_surge``: it is about the one pod more while they roll."""
    said = f"The API server refuses the server's pods: {_essential(words)}."
    if not is_of_a_quota(words):
        return PodProblem(
            Reason.POD_REFUSED,
            f"{said} Change spec.resources or spec.podTemplate as this asks; if it is about neither, ask the platform team.",
        )
    if is_surge:
        return PodProblem(
            Reason.QUOTA_EXCEEDED,
            f"{said} A new pod starts before an old one ends, and there is no room for both: set "
            "spec.podTemplate.rollout.strategy to StopFirst, or have the ResourceQuota raised.",
        )
    return PodProblem(
        Reason.QUOTA_EXCEEDED,
        f"{said} Lower spec.resources or spec.replicas, or have the ResourceQuota raised.",
    )


def _essential(words: str) -> str:
    return quoted(_OF_A_POD.sub("", words))
