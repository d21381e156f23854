"""What kstatus makes of a resource: the rules by which Flux and kpt wait, for kinds that they do not know.

They are those of `sigs.k8s.io/cli-utils/pkg/kstatus/status`: `checkGenericProperties` in `generic.go`, and
`checkReadyCondition` in `status.go`, in this order. With `healthCheckExprs` Flux asks expressions instead
(`github.com/fluxcd/pkg/runtime/cel/status_evaluator.go`): inProgress, failed, current, and in progress if none is true.
"""

from typing import Literal

from tracking_operator.kube.objects import KubeObject

KStatus = Literal["InProgress", "Failed", "Current", "Terminating"]


def kstatus(resource: KubeObject) -> KStatus:
    """What kstatus says of a resource."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return "InProgress"
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"
