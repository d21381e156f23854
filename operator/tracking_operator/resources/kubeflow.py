"""What Kubeflow reads of a TrackingServerClient: a PodDefault for notebooks, and a Secret and one key of a ConfigMap for pipelines.

PodDefault: github.com/kubeflow/dashboard, components/poddefaults-webhooks. Pipelines: kubeflow.org/docs, "MLflow Plugin Configuration",
and backend/src/apiserver/plugins/mlflow/config.go (summer 2026), which refuses any other field than these in a namespace's ConfigMap:
server and kind of login are set by whoever runs Kubeflow Pipelines.
"""

import json
from typing import Final

from tracking_operator.api.operator_admission import LAUNCHER, LAUNCHER_KEY, PIPELINES_SECRET
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.resources.client_secret import PASSWORD_KEY, USERNAME_KEY
from tracking_operator.resources.secret import watched_secret
from tracking_operator.resources.server_model import KubeObject
from tracking_operator.resources.tracking_client import ClientPassword, client_metadata, name_of_objects

CREDENTIALS: Final = PIPELINES_SECRET
"""The Secret that Kubeflow Pipelines reads in each namespace; its name is fixed there."""


def build_pod_default(client: TrackingServerClient, *, has_login: bool) -> KubeObject:
    """Build the PodDefault that people tick for a notebook: settings and login by ``envFrom``, and no values."""
    name = name_of_objects(client)
    server = client.spec.server_ref
    sources: list[KubeObject] = [{"configMapRef": {"name": name}}]
    if has_login:
        sources.append({"secretRef": {"name": name}})
    return {
        "apiVersion": "kubeflow.org/v1alpha1",
        "kind": "PodDefault",
        "metadata": client_metadata(client),
        "spec": {
            "desc": f"MLflow: TrackingServer {server.name} of {server.namespace}",
            "selector": {"matchLabels": {f"mlflow-{client.metadata.name}": "true"}},
            "envFrom": sources,
        },
    }


def build_pipelines_secret(client: TrackingServerClient, known: ClientPassword) -> KubeObject:
    """Build the Secret with the client's user, under the names of the variables that MLflow reads."""
    metadata = client_metadata(client) | {"name": CREDENTIALS}
    return watched_secret(metadata, {USERNAME_KEY: known.username, PASSWORD_KEY: known.password})


def launcher_settings(*, has_login: bool) -> str:
    """What the key says: which keys of the Secret hold the login, and that steps get MLflow's variables."""
    reference = {"usernameKey": USERNAME_KEY, "passwordKey": PASSWORD_KEY}
    settings: KubeObject = {"injectUserEnvVars": True}
    return json.dumps({"settings": settings | ({"credentialSecretRef": reference} if has_login else {})})


def build_launcher(namespace: str, settings: str | None) -> KubeObject:
    """Build what is applied to the ConfigMap: the one key, or nothing, which takes it away."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LAUNCHER, "namespace": namespace},
        "data": {} if settings is None else {LAUNCHER_KEY: settings},
    }
