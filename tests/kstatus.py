"""What kstatus makes of a resource: the rules by which Flux and kpt wait, for kinds that they do not know.

They are those of `sigs.k8s.io/cli-utils/pkg/kstatus/status`: `checkGenericProperties` in `generic.go`, and
`checkReadyCondition` in `status.go`, in this order. With `healthCheckExprs` Flux asks expressions instead
(`github.com/fluxcd/pkg/runtime/cel/status_evaluator.go`): inProgress, failed, current, and in progress if none is true.
`tests/unit/dev/test_flux_health.py` compares this with their own code.
"""

from typing import Literal

import yaml

from dev.images.recipes import ROOT
from dev.site.blocks import blocks
from tests.operator_fixtures import condition_of
from tracking_operator.kube.objects import KubeObject

PAGE = ROOT / "docs" / "how-to" / "gitops.md"
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


def is_asleep(server: KubeObject) -> bool:
    """Whether a server sleeps as it shall: the one thing for which kstatus has no word."""
    ready = condition_of(server, "Ready") or {}
    return (
        ready.get("reason") == "Suspended"
        and server["status"]["observedGeneration"] == server["metadata"]["generation"]
        and not (condition_of(server, "Reconciling") or condition_of(server, "Stalled"))
    )


def health_check_exprs() -> list[dict[str, str]]:
    """What the page gives to Flux, as a Kustomization has it."""
    ((_, block),) = blocks(PAGE.read_text(), "yaml")
    return list(yaml.safe_load(block)["spec"]["healthCheckExprs"])
