"""The Deployment of a server: how many pods, and how one generation gives way to the next."""

from tracking_operator.resources.labels import SERVER_COMPONENT, pod_selector
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.pod.server_pod import build_pod_template
from tracking_operator.resources.pod.start_time import USUAL_SECONDS, seconds_to_start
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.stores.postgres.pool import SURGE

PROGRESS_DEADLINE_SECONDS = 600
REVISION_HISTORY_LIMIT = 3


def build_deployment(server: ServerModel) -> KubeObject:
    """Build the Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owned_metadata(server, server.names.workload, SERVER_COMPONENT),
        "spec": {
            "replicas": server.replicas,
            "selector": {"matchLabels": pod_selector(server.name)},
            "strategy": _strategy(server),
            "paused": False,  # stated, so that a pause by hand does not hold back a change for ever
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS + seconds_to_start(server) - USUAL_SECONDS,
            "revisionHistoryLimit": REVISION_HISTORY_LIMIT,
            "template": build_pod_template(server),
        },
    }


def _strategy(server: ServerModel) -> KubeObject:
    if server.is_bound_to_one_pod:
        # `rollingUpdate` is stated as empty: one that the API server once defaulted belongs to nobody,
        # and its presence would make the switch to Recreate fail.
        return {"type": "Recreate", "rollingUpdate": None}
    surge, unavailable = (SURGE, 0) if server.surges else (0, 1)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
