"""What this release states of pods in another way than the one before, so that nobody is rolled for it.

A Deployment that is otherwise as it should be goes on as it is; with its next roll it gets what is stated now. Pure.
"""

from tracking_operator.resources.pod.scheduling import default_spread
from tracking_operator.resources.pod.start_time import USUAL_SECONDS
from tracking_operator.resources.server_model import KubeObject, ServerModel


def with_earlier_settings(desired: KubeObject, live: KubeObject, server: ServerModel) -> KubeObject:
    """The desired Deployment, stated as the live one was where both mean the same to a pod that runs.

    There was no default spread, no affinity was stated as an empty one, and every pod had the same time to start: those that
    have done so need no more.
    """
    wanted, found = _pod_of(desired), _pod_of(live)
    changes: KubeObject = {}
    if wanted.get("affinity") is None and found.get("affinity") == {}:
        changes["affinity"] = {}
    pod = wanted | changes
    spread = pod.get("topologySpreadConstraints")
    if spread and spread == default_spread(server) and not found.get("topologySpreadConstraints"):
        del pod["topologySpreadConstraints"]
    if _has_started(live):
        pod["containers"] = _with_usual_start(wanted["containers"], found.get("containers") or [])
    if pod == wanted:
        return desired
    template = desired["spec"]["template"] | {"spec": pod}
    return desired | {"spec": desired["spec"] | {"template": template}}


def _has_started(live: KubeObject) -> bool:
    return bool((live.get("status") or {}).get("availableReplicas"))


def _with_usual_start(wanted: list[KubeObject], found: list[KubeObject]) -> list[KubeObject]:
    """The containers, whose start may take as long as it could before where the live ones say so."""
    usual = {
        one["name"]: probe
        for one in found
        if (probe := one.get("startupProbe")) and probe.get("failureThreshold") == USUAL_SECONDS
    }
    return [
        one | {"startupProbe": one["startupProbe"] | {"failureThreshold": USUAL_SECONDS}}
        if one["name"] in usual and "startupProbe" in one
        else one
        for one in wanted
    ]


def _pod_of(obj: KubeObject) -> KubeObject:
    pod: KubeObject = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return pod
