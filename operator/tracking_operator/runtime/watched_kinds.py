"""What the operator watches, and with which labels the API server narrows it down."""

from dataclasses import dataclass
from typing import Final

from tracking_operator.api.labels_and_annotations import SERVER_LABEL, WATCH_LABEL
from tracking_operator.controllers.kinds import (
    TRACKING_SERVER,
    TRACKING_SERVER_BACKUP,
    TRACKING_SERVER_CLASS,
    TRACKING_SERVER_CLIENT,
)
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    HTTP_ROUTE,
    INGRESS,
    JOB,
    NAMESPACE,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)


@dataclass(frozen=True)
class Watched:
    """One kind that is listed and watched; an empty ``label_selector`` means all objects of it."""

    kind: Kind
    label_selector: str = ""
    is_child: bool = False
    """Whether only one server's reconcile writes it, so that the echo of such a write is no news."""

    def namespaces(self, served: tuple[str, ...]) -> tuple[str | None, ...]:
        """Return where to list it: the served namespaces, or everywhere (None)."""
        return served if served and self.kind.namespaced else (None,)


def _child(kind: Kind) -> Watched:
    return Watched(kind, SERVER_LABEL, is_child=True)


WATCHED: Final = (
    Watched(TRACKING_SERVER),
    Watched(TRACKING_SERVER_BACKUP),
    Watched(TRACKING_SERVER_CLASS),
    Watched(TRACKING_SERVER_CLIENT),
    Watched(NAMESPACE),
    _child(SERVICE_ACCOUNT),
    _child(CONFIG_MAP),
    _child(PERSISTENT_VOLUME_CLAIM),
    _child(SERVICE),
    _child(INGRESS),
    _child(DEPLOYMENT),
    _child(NETWORK_POLICY),
    _child(POD_DISRUPTION_BUDGET),
    _child(JOB),
    _child(POD),
    Watched(SECRET, f"{WATCH_LABEL}=true"),
)


def watched_kinds(*, secrets: bool) -> tuple[Watched, ...]:
    """What is watched; without ``secrets`` an operator that may not list these is content with reading them by name."""
    return WATCHED if secrets else tuple(each for each in WATCHED if each.kind != SECRET)


GATEWAY_API: Final = (_child(HTTP_ROUTE),)
"""What is watched as long as the cluster knows it."""
