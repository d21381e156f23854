"""The tracking servers that are measured, and the objects that each of them has to get."""

from typing import Final

from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.server.plan import ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import Inputs
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    KubeObject,
    KubeObjects,
)
from tracking_operator.resources import build_objects

NAME: Final = "mlflow"
"""Every team has one server of this name in a namespace of its own."""

CHILD_KINDS: Final[tuple[Kind, ...]] = (
    SERVICE_ACCOUNT,
    PERSISTENT_VOLUME_CLAIM,
    CONFIG_MAP,
    SERVICE,
    DEPLOYMENT,
    NETWORK_POLICY,
)

_SETTINGS: Final = ReconcileSettings(cluster_name="bench", image_repository="tracking-operator/mlflow")


def tracking_server(namespace: str, *, suspend: bool) -> KubeObject:
    """A server as a team would write it; a suspended one has all its objects but no pods."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": {"namespace": namespace, "name": NAME},
        "spec": {"suspend": True} if suspend else {},
    }


def objects_of(server: KubeObject) -> KubeObjects:
    """Build the objects that a stored server has to get."""
    around = Inputs([], {}, namespace_is_terminating=False, siblings=[])
    return build_objects(make_plan(TrackingServer.model_validate(server), around, _SETTINGS).model)


def unowned(obj: KubeObject) -> KubeObject:
    """Return the object as nobody's: the operator does not look at it."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    labels = {key: value for key, value in metadata["labels"].items() if key != SERVER_LABEL}
    return obj | {"metadata": metadata | {"labels": labels}}


def is_ready(obj: KubeObject) -> bool:
    """Whether an object is a server whose status says that it is Ready; pods have a condition of that name, too."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return obj["kind"] == "TrackingServer" and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )
