"""The labels of owned objects, and the selector that never changes."""

from tracking_operator.api.labels_and_annotations import (
    COMPONENT_LABEL,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
)

INSTANCE_LABEL = "app.kubernetes.io/instance"

SERVER_COMPONENT = "server"
MIGRATION_COMPONENT = "migration"
BACKEND_STORE_COMPONENT = "backend-store"
ARTIFACT_STORE_COMPONENT = "artifact-store"
ARTIFACT_CHECK_COMPONENT = "artifact-check"
ARTIFACT_DELETION_COMPONENT = "artifact-deletion"
BACKUP_COMPONENT = "backup"
RESTORE_COMPONENT = "restore"
GARBAGE_COMPONENT = "garbage-collection"
TRIAL_COMPONENT = "restore-trial"
CLIENT_COMPONENT = "client"


def owned_labels(server: str, component: str, version: str | None = None) -> dict[str, str]:
    """Label an object as one of ``server``'s; ``version`` is MLflow's, where the object depends on it."""
    labels = {
        "app.kubernetes.io/name": "mlflow",
        INSTANCE_LABEL: server,
        COMPONENT_LABEL: component,
        MANAGED_BY_LABEL: FIELD_MANAGER,
        SERVER_LABEL: server,
    }
    if version:
        labels["app.kubernetes.io/version"] = version
    return labels


def pod_selector(server: str) -> dict[str, str]:
    """Select the server's pods. A Deployment's selector is immutable, so this must never change."""
    return {COMPONENT_LABEL: SERVER_COMPONENT, SERVER_LABEL: server}


def jobs_selector(server: str, *components: str) -> dict[str, object]:
    """Select the pods of the server's Jobs of these kinds."""
    if len(components) == 1:
        return {"matchLabels": {COMPONENT_LABEL: components[0], SERVER_LABEL: server}}
    kinds = {"key": COMPONENT_LABEL, "operator": "In", "values": list(components)}
    return {"matchLabels": {SERVER_LABEL: server}, "matchExpressions": [kinds]}


def selector_text(labels: dict[str, str]) -> str:
    """Write equality labels the way the scale subresource and ``kubectl -l`` read them."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
