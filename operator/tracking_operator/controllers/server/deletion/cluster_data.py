"""What happens when a server is deleted, beyond what Kubernetes collects by itself.

A finalizer is there only for a server with a store that the operator makes, and under ``Delete`` for one with volumes.
"""

from collections.abc import Sequence
from typing import Final

from tracking_operator.api.labels_and_annotations import FIELD_MANAGER, MANAGED_BY_LABEL
from tracking_operator.api.placement import BackendStoreKind
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClassSpec
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    KubeObject,
    kind_of,
    name_of,
    namespace_of,
    uid_of,
)
from tracking_operator.naming import ChildNames
from tracking_operator.resources.server_model import ServerModel

FIRST_TO_GO: Final = DEPLOYMENT
"""A claim stays until no pod uses it, so the pods go first."""


def needs_finalizer(
    resource: TrackingServer, server: ServerModel, class_spec: TrackingServerClassSpec
) -> bool:
    """Whether there is work for a finalizer: data to delete that nothing else deletes."""
    deletes = deletion_policy(resource, class_spec) is DeletionPolicy.DELETE
    stores = server.backend_store, server.artifact_store
    return any(store.is_managed or (deletes and store.claims()) for store in stores)


def deletion_policy(resource: TrackingServer, class_spec: TrackingServerClassSpec) -> DeletionPolicy:
    """What is to happen to the data: what the team says, else what the class says, else it is kept."""
    return resource.spec.deletion_policy or class_spec.defaults.deletion_policy or DeletionPolicy.RETAIN


async def delete_data(kube: KubeClient, resource: TrackingServer, children: Sequence[KubeObject]) -> bool:
    """Delete the server's pods and volumes; return whether all of it is gone.

    Every call may be repeated; whoever calls it again after each change gets through to the end.
    Raises ApiError.
    """
    claims = [child for child in children if is_own_claim(child)]
    workloads = [
        child
        for child in children
        if kind_of(child) == FIRST_TO_GO and controlled_by(child, resource.metadata.uid)
    ]
    for child in (*workloads, *claims):
        if not child["metadata"].get("deletionTimestamp"):
            await kube.delete(kind_of(child), namespace_of(child), name_of(child), uid=uid_of(child))
    return not claims and not workloads


async def delete_keys(kube: KubeClient, resource: TrackingServer, children: Sequence[KubeObject]) -> None:
    """Delete the keys to data that is gone, and not before. Raises ApiError."""
    for child in children:
        if is_encryption(child, resource):
            await kube.delete(SECRET, namespace_of(child), name_of(child), uid=uid_of(child))


def is_encryption(child: KubeObject, resource: TrackingServer) -> bool:
    """Whether an object holds the keys of data that goes; a database that is not ours is left, and its keys with it."""
    if resource.spec.backend_store.kind is BackendStoreKind.EXTERNAL:
        return False
    name = ChildNames(resource.metadata.name).encryption
    return kind_of(child) == SECRET and name_of(child) == name


def is_own_claim(child: KubeObject) -> bool:
    """Whether an object is a volume claim that the operator made."""
    labels = child["metadata"].get("labels") or {}
    return kind_of(child) == PERSISTENT_VOLUME_CLAIM and labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER
