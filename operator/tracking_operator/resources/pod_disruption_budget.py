"""The PodDisruptionBudget of a server with several pods: they are evicted one after the other, never all at once."""

from tracking_operator.resources.labels import SERVER_COMPONENT, pod_selector
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_pod_disruption_budget(server: ServerModel) -> KubeObject | None:
    """Build the budget; None for a single pod, which nobody could drain from its node if one had to be there."""
    if server.replicas <= 1:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owned_metadata(server, server.names.workload, SERVER_COMPONENT),
        "spec": {
            "maxUnavailable": 1,
            # A pod that is not ready serves nobody, and would otherwise keep its node from being drained for ever.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pod_selector(server.name)},
        },
    }
