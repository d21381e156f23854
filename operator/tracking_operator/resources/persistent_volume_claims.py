"""The volume claims that hold a server's data and outlive it."""

from tracking_operator.resources.labels import ARTIFACT_STORE_COMPONENT, BACKEND_STORE_COMPONENT
from tracking_operator.resources.metadata import kept_metadata
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.stores.interface import Volume


def build_persistent_volume_claims(server: ServerModel) -> list[KubeObject]:
    """Build a claim for each store that lives on a volume of the server's own."""
    return [
        *(_claim(server, one, BACKEND_STORE_COMPONENT) for one in server.backend_store.claims()),
        *(_claim(server, one, ARTIFACT_STORE_COMPONENT) for one in server.artifact_store.claims()),
    ]


def _claim(server: ServerModel, volume: Volume, component: str) -> KubeObject:
    spec: KubeObject = {
        "accessModes": [volume.access_mode.value],
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class is not None:
        spec["storageClassName"] = volume.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": kept_metadata(server, volume.claim, component),
        "spec": spec,
    }
