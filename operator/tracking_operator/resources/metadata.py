"""The metadata that every object of a server carries, owned or kept."""

from typing import Final

from tracking_operator.resources.labels import INSTANCE_LABEL, owned_labels
from tracking_operator.resources.server_model import KubeObject, ServerModel

KEEP: Final = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "helm.sh/resource-policy": "keep",
}
"""On what is kept on purpose: no tool removes it that takes it for its own.

https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/, https://helm.sh/docs/howto/charts_tips_and_tricks/
"""


def owned_metadata(
    server: ServerModel, name: str, component: str, annotations: dict[str, str] | None = None
) -> KubeObject:
    """Metadata of an object that goes when the server goes."""
    metadata = _metadata(server, name, owned_labels(server.name, component), annotations)
    return metadata | {"ownerReferences": [server.owner_reference]}


def kept_metadata(
    server: ServerModel, name: str, component: str, annotations: dict[str, str] | None = None
) -> KubeObject:
    """Metadata of an object that outlives the server: no owner reference, so nothing collects it.

    Argo CD takes what has no owner and the label ``app.kubernetes.io/instance`` for the Application of that name, and prunes it
    (its default tracking before 3.0): kept objects do without (decision 0048).
    """
    labels = _without_instance(owned_labels(server.name, component))
    return _metadata(server, name, labels, KEEP | (annotations or {}))


def kept_marks(live: KubeObject) -> KubeObject | None:
    """Labels and annotations that a kept object lacks which an earlier operator has made; None: it has them."""
    labels, annotations = live["metadata"].get("labels") or {}, live["metadata"].get("annotations") or {}
    wanted: KubeObject = {"labels": _without_instance(labels), "annotations": annotations | KEEP}
    return None if wanted == {"labels": labels, "annotations": annotations} else wanted


def _without_instance(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key != INSTANCE_LABEL}


def _metadata(
    server: ServerModel, name: str, labels: dict[str, str], annotations: dict[str, str] | None
) -> KubeObject:
    metadata: KubeObject = {"name": name, "namespace": server.namespace, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return metadata
