"""The metadata that every owned object carries."""

from tracking_operator.resources.labels import owned_labels
from tracking_operator.resources.server_model import KubeObject, ServerModel


def owned_metadata(
    server: ServerModel, name: str, component: str, annotations: dict[str, str] | None = None
) -> KubeObject:
    """Metadata of an object that goes when the server goes."""
    return kept_metadata(server, name, component, annotations) | {"ownerReferences": [server.owner_reference]}


def kept_metadata(
    server: ServerModel, name: str, component: str, annotations: dict[str, str] | None = None
) -> KubeObject:
    """Metadata of an object that outlives the server: no owner reference, so nothing collects it."""
    metadata: KubeObject = {
        "name": name,
        "namespace": server.namespace,
        "labels": owned_labels(server.name, component),
    }
    if annotations:
        metadata["annotations"] = annotations
    return metadata
