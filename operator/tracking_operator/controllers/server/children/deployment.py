"""What a server's Deployment tells about its pods. Pure."""

from tracking_operator.kube.objects import KubeObject


def is_rolled_out(deployment: KubeObject, replicas: int) -> bool:
    """Whether exactly the wanted pods exist, are of the newest template and serve; as `kubectl rollout status`."""
    status = deployment.get("status") or {}
    is_current = bool(status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0))
    counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
    return is_current and all(count == replicas for count in counts)
