"""What the namespace of a TrackingServerClient gets: a ConfigMap, and where there is a login a Secret, for pods by ``envFrom``."""

from dataclasses import dataclass, field

from tracking_operator.api.labels_and_annotations import API_VERSION, CLIENT_LABEL
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.resources.client_config_map import BROWSER_URL_VARIABLE, QUIET
from tracking_operator.resources.client_secret import PASSWORD_KEY, USERNAME_KEY
from tracking_operator.resources.labels import CLIENT_COMPONENT, owned_labels
from tracking_operator.resources.secret import ROTATED_FOR_ANNOTATION, watched_secret
from tracking_operator.resources.server_model import KubeObject


@dataclass(frozen=True)
class ClientPassword:
    """With what one client logs in, and the value of the annotation that the password was made for."""

    username: str
    password: str = field(repr=False)
    rotated_for: str


def name_of_objects(client: TrackingServerClient) -> str:
    """What both are called."""
    return f"{client.metadata.name}-client"


def build_config_map(client: TrackingServerClient, service_url: str, url: str) -> KubeObject:
    """Build the settings: no secrets."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": client_metadata(client),
        "data": {"MLFLOW_TRACKING_URI": service_url, BROWSER_URL_VARIABLE: url} | QUIET,
    }


def build_secret(client: TrackingServerClient, known: ClientPassword) -> KubeObject:
    """Build the Secret with the client's own user."""
    metadata = client_metadata(client) | {"annotations": {ROTATED_FOR_ANNOTATION: known.rotated_for}}
    return watched_secret(metadata, {USERNAME_KEY: known.username, PASSWORD_KEY: known.password})


def client_metadata(client: TrackingServerClient) -> KubeObject:
    """Metadata of an object that goes when the client goes."""
    labels = owned_labels(client.spec.server_ref.name, CLIENT_COMPONENT)
    return {
        "name": name_of_objects(client),
        "namespace": client.metadata.namespace,
        "labels": labels | {CLIENT_LABEL: client.metadata.name},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClient",
                "name": client.metadata.name,
                "uid": client.metadata.uid,
                "controller": True,
                # Nothing waits for them, so that the operator needs no right to write finalizers.
                "blockOwnerDeletion": False,
            }
        ],
    }
