"""Volume claims that stay unbound: after a minute somebody is told which StorageClasses there are, and what the provisioner says.

A claim of a class that waits for its first consumer is bound when a pod is scheduled, so time counts only while pods are
there that wait for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tracking_operator.controllers.server.children.last_event import words_of_last_event
from tracking_operator.controllers.server.children.pods import newest_first, quoted
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import (
    STORAGE_CLASS,
    KubeObject,
    KubeObjects,
    name_of,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.interface import Volume

SECONDS_TO_BIND: Final = 60.0
SECONDS_BETWEEN_LOOKS: Final = 30.0
MOST_CLASSES: Final = 100
MOST_NAMED: Final = 10
FAILURES: Final = ("ProvisioningFailed", "FailedBinding")
"""What provisioners and the binder post (kubernetes 1.35, pkg/controller/volume/events/event.go)."""
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""What the scheduler writes on a claim before its provisioner may begin."""
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class PendingVolumes:
    """Why claims are not bound that should be, by their names; and when to look again."""

    why: Mapping[str, str]
    look_again: float | None = None


async def pending_volumes(
    kube: KubeClient,
    server: ServerModel,
    claims: Mapping[str, KubeObject],
    pods: Sequence[KubeObject],
    now: datetime,
) -> PendingVolumes:
    """Look at the claims that are not bound; costs no request within the first minute, and none once all are."""
    unbound = [one for one in server.volumes if _is_pending(claims.get(one.claim))]
    waiting = newest_first(pods)
    if not unbound or not waiting or not server.replicas:
        return PendingVolumes({})
    remaining = SECONDS_TO_BIND - min(
        _age(now, waiting[-1]), *(_age(now, claims[one.claim]) for one in unbound)
    )
    if remaining > 0:
        return PendingVolumes({}, remaining)
    classes = await _storage_classes(kube)
    why = {}
    for one in unbound:
        claim = claims[one.claim]
        words = await words_of_last_event(kube, claim, FAILURES)
        if words or not _waits_for_a_node(claim, classes):
            why[one.claim] = explanation(one, claim, classes, words)
    return PendingVolumes(why, SECONDS_BETWEEN_LOOKS)


def explanation(
    volume: Volume, claim: KubeObject, classes: Sequence[KubeObject] | None, words: str | None
) -> str:
    """What is said of one claim; ``classes`` None: nobody may list them."""
    said = f": {quoted(words)}" if words else ""
    return (
        f"Volume claim {volume.claim} has not been bound for a minute{said}. {_of_class(claim, classes)}Set "
        f"{volume.class_field} (and, for artifacts, accessMode) to what a StorageClass here can provide, and delete the claim, "
        f"which holds nothing yet: 'kubectl delete pvc {volume.claim}'."
    )


def _of_class(claim: KubeObject, classes: Sequence[KubeObject] | None) -> str:
    if classes is None:
        return ""
    names = sorted(_title(one) for one in classes)
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    there = f"there are {', '.join([*names[:MOST_NAMED], *more])}" if names else "there is none at all"
    named = claim["spec"].get("storageClassName")
    if not named:
        return f"It names no StorageClass, and none is the default: {there}. "
    if named not in {name_of(one) for one in classes}:
        return f"StorageClass {named} does not exist: {there}. "
    modes = ", ".join(claim["spec"].get("accessModes") or ())
    return f"It asks StorageClass {named} for {modes}; {there}. "


def _waits_for_a_node(claim: KubeObject, classes: Sequence[KubeObject] | None) -> bool:
    """Whether it is nobody's turn before the scheduler has found a node for the pod: what keeps it from that is told of the pod."""
    named = claim["spec"].get("storageClassName")
    waiting = [one for one in classes or () if name_of(one) == named]
    has_node = SELECTED_NODE in (claim["metadata"].get("annotations") or {})
    return not has_node and any(one.get("volumeBindingMode") == "WaitForFirstConsumer" for one in waiting)


def _title(storage_class: KubeObject) -> str:
    annotations = storage_class["metadata"].get("annotations") or {}
    is_default = annotations.get(DEFAULT_CLASS) == "true"
    return name_of(storage_class) + (" (the default)" if is_default else "")


def _is_pending(claim: KubeObject | None) -> bool:
    return claim is not None and ((claim.get("status") or {}).get("phase") or "Pending") == "Pending"


def _age(now: datetime, obj: KubeObject) -> float:
    return (now - datetime.fromisoformat(obj["metadata"]["creationTimestamp"])).total_seconds()


async def _storage_classes(kube: KubeClient) -> KubeObjects | None:
    try:
        return await kube.list(STORAGE_CLASS, limit=MOST_CLASSES)
    except ApiError:
        return None
