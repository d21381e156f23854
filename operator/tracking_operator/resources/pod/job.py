"""What the Jobs of a server have in common: when they try again, when they give up, and how long they can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracking_operator.outcomes import TERMINAL_EXIT_CODES
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.pod.server_pod import pod_metadata, pod_settings
from tracking_operator.resources.server_model import KubeObject, ServerModel

SECONDS_KEPT = 3600
"""How long a finished Job can be looked at; what it found is in the server's status by then."""


@dataclass(frozen=True)
class Task:
    """What a Job runs, and how often it tries."""

    name: str
    component: str
    container: KubeObject
    volumes: Sequence[KubeObject]
    retries: int


def build_job(server: ServerModel, task: Task) -> KubeObject:
    """Build a Job of which only one pod at a time runs."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owned_metadata(server, task.name, task.component),
        "spec": {
            "backoffLimit": task.retries,
            "ttlSecondsAfterFinished": SECONDS_KEPT,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": task.container["name"],
                            "operator": "In",
                            "values": list(TERMINAL_EXIT_CODES),
                        },
                    },
                ]
            },
            "template": {
                "metadata": pod_metadata(server, task.component),
                "spec": {
                    **pod_settings(server),
                    "restartPolicy": "Never",
                    "containers": [task.container | {"resources": server.job_resources.as_kubernetes()}],
                    "volumes": list(task.volumes),
                },
            },
        },
    }
