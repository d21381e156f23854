"""Live objects as Kubernetes reports them, cut down to what the operator reads."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tests.unit.examples import Manifest
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
)

OURS = {SERVER_LABEL: "mlflow", MANAGED_BY_LABEL: FIELD_MANAGER}


def live(api_version: str, kind: str, name: str, **rest: object) -> Manifest:
    """Any live object of the server `team-a/mlflow`."""
    metadata: Manifest = {
        "name": name,
        "namespace": "team-a",
        "uid": f"uid-of-{kind}-{name}",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T09:00:00Z",
        "labels": OURS,
    }
    changed = rest.pop("metadata", {})
    assert isinstance(changed, dict)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata | changed} | rest


def owned_by(uid: str, *, kind: str = "TrackingServer", name: str = "mlflow") -> Manifest:
    """Metadata of an object with a controller."""
    reference = {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid, "controller": True}
    return {"ownerReferences": [reference]}


def deployment(
    *, replicas: int = 1, updated: int | None = None, available: int | None = None, **more: object
) -> Manifest:
    """A Deployment whose controller has seen its newest generation."""
    status: Manifest = {
        "observedGeneration": 2,
        "replicas": replicas,
        "updatedReplicas": replicas if updated is None else updated,
        "availableReplicas": replicas if available is None else available,
    }
    return live(
        "apps/v1",
        "Deployment",
        "mlflow",
        metadata={"generation": 2},
        spec={"replicas": 1},
        status=status | more,
    )


def claim(name: str = "mlflow-backend-store", phase: str = "Bound") -> Manifest:
    """A volume claim."""
    return live("v1", "PersistentVolumeClaim", name, status={"phase": phase})


def pod(
    *,
    name: str = "mlflow-1",
    created: str = "2026-01-01T10:00:00Z",
    version: str = "3.18.0",
    check: Manifest | None = None,
    artifacts: Manifest | None = None,
    server: Manifest | None = None,
    conditions: Iterable[Manifest] = (),
    deleted: bool = False,
) -> Manifest:
    """A pod with the states of its containers; ``artifacts`` is the check of an external artifact store."""
    metadata: Manifest = {
        "creationTimestamp": created,
        "labels": OURS | {"app.kubernetes.io/version": version, "app.kubernetes.io/component": "server"},
    }
    if deleted:
        metadata["deletionTimestamp"] = created
    status: Manifest = {"conditions": list(conditions)}
    if check is not None:
        status["initContainerStatuses"] = [{"name": "check-backend-store"} | check]
    if artifacts is not None:
        status.setdefault("initContainerStatuses", []).append({"name": "check-artifact-store"} | artifacts)
    if server is not None:
        status["containerStatuses"] = [{"name": "mlflow"} | server]
    return live("v1", "Pod", name, metadata=metadata, status=status)


def migration_pod(job: Manifest, state: Manifest, name: str = "mlflow-migrate-1") -> Manifest:
    """A pod of a migration Job, with the state of its container."""
    metadata: Manifest = owned_by(job["metadata"]["uid"], kind="Job", name=job["metadata"]["name"]) | {
        "creationTimestamp": "2026-01-01T09:00:00Z",
        "labels": OURS | {"app.kubernetes.io/component": "migration"},
    }
    status: Manifest = {"phase": "Succeeded", "containerStatuses": [{"name": "migrate", "state": state}]}
    return live("v1", "Pod", name, metadata=metadata, status=status)


def terminated(exit_code: int, reason: str, message: str | None = None) -> Manifest:
    """The state of a container that ended."""
    state: Manifest = {"exitCode": exit_code, "reason": reason}
    return {"terminated": state if message is None else state | {"message": message}}


def waiting(reason: str, message: str = "") -> Manifest:
    """The state of a container that does not run yet, or not again."""
    return {"waiting": {"reason": reason, "message": message}}


def said(reason: str, message: str, revision: str = "") -> str:
    """The termination message of the check."""
    return json.dumps({"reason": reason, "message": message, "revision": revision})


PASSED = {
    "state": terminated(0, "Completed", said("", "The backend store is at revision abc.", "abc")),
    "ready": True,
}
TRIED_OUT = {"state": terminated(0, "Completed", said("", "Everything works.")), "ready": True}
RUNNING = {"state": {"running": {}}, "ready": True}
STARTING = {"state": {"running": {}}, "ready": False}
INITIALIZING = {"state": waiting("PodInitializing"), "ready": False}


def check_failed(exit_code: int, message: str | None) -> Manifest:
    """The check in its back-off, as kubelet reports it from the second attempt on."""
    return {
        "state": waiting("CrashLoopBackOff", "back-off 10s restarting failed container=check-backend-store"),
        "lastState": terminated(exit_code, "Error", message),
        "ready": False,
    }


def crashed(exit_code: int, reason: str, after_seconds: int = 5) -> Manifest:
    """The server's container in its back-off, which had run for a while."""
    started = datetime(2026, 1, 1, 10, tzinfo=UTC)
    finished = started + timedelta(seconds=after_seconds)
    ended = terminated(exit_code, reason)
    ended["terminated"] |= {"startedAt": started.isoformat(), "finishedAt": finished.isoformat()}
    return {
        "state": waiting("CrashLoopBackOff", "back-off 10s restarting failed container=mlflow"),
        "lastState": ended,
        "ready": False,
    }
