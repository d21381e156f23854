"""Tracking servers, classes and live objects that the tests of the core rooms share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.reconcile.plan import Plan, ReconcileSettings, Surroundings, make_plan
from tracking_operator.resources.server import ServerModel

Manifest = dict[str, Any]

UID = "0b5f5f2e-0000-4000-8000-000000000001"
SETTINGS = ReconcileSettings(cluster_name="test-cluster", image_repository="tracking-operator/mlflow")

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_SERVERS = sorted(path.stem for path in (GOLDEN / "servers").glob("*.yaml"))

EXTERNAL_DATABASE: Manifest = {"external": {"uriSecretRef": {"name": "mlflow-db", "key": "uri"}}}
EXTERNAL_BUCKET: Manifest = {
    "external": {"uri": "s3://bucket/team-a", "credentialsSecretRef": {"name": "mlflow-bucket"}}
}
SHARED_VOLUME: Manifest = {"volume": {"accessMode": "ReadWriteMany"}}


def server(
    spec: Manifest | None = None, *, status: Manifest | None = None, **metadata: object
) -> TrackingServer:
    """A TrackingServer `team-a/mlflow` as the API server would hand it out."""
    known: Manifest = {
        "name": "mlflow",
        "namespace": "team-a",
        "uid": UID,
        "generation": 1,
        "creationTimestamp": "2026-01-01T10:00:00Z",
    }
    return TrackingServer.model_validate(
        {"metadata": known | metadata, "spec": spec or {}, "status": status or {}}
    )


def tracking_class(
    spec: Manifest | None = None, name: str = "standard", *, is_default: bool = False
) -> TrackingServerClass:
    """A TrackingServerClass."""
    annotations = {"tracking-operator.dev/is-default-class": "true"} if is_default else {}
    return TrackingServerClass.model_validate(
        {"metadata": {"name": name, "annotations": annotations}, "spec": spec or {}}
    )


def plan_of(
    resource: TrackingServer,
    *classes: TrackingServerClass,
    siblings: Iterable[TrackingServer] = (),
    namespace_labels: dict[str, str] | None = None,
    namespace_is_terminating: bool = False,
) -> Plan:
    """Plan a server in surroundings of which only what matters is said."""
    around = Surroundings(
        classes=classes,
        namespace_labels=namespace_labels or {},
        namespace_is_terminating=namespace_is_terminating,
        siblings=list(siblings),
    )
    return make_plan(resource, around, SETTINGS)


def model(spec: Manifest | None = None, *classes: TrackingServerClass) -> ServerModel:
    """The model of a new server with this specification."""
    return plan_of(server(spec), *classes).model


def golden_plan(case: str) -> Plan:
    """Plan the server (and its class) of one golden file."""
    documents = list(yaml.safe_load_all((GOLDEN / "servers" / f"{case}.yaml").read_text()))
    classes = [
        TrackingServerClass.model_validate(one) for one in documents if one["kind"] == "TrackingServerClass"
    ]
    (resource,) = (TrackingServer.model_validate(one) for one in documents if one["kind"] == "TrackingServer")
    return plan_of(resource, *classes)
