"""Objects for tests: desired ones, and what the API server makes of them."""

import copy

from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION, SERVER_LABEL
from tracking_operator.kube.apply import digest
from tracking_operator.kube.objects import KubeObject

OWNER = "mlflow"


def service() -> KubeObject:
    """A Service as a builder makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mlflow", "namespace": "team-a", "labels": {SERVER_LABEL: OWNER}},
        "spec": {
            "selector": {"app.kubernetes.io/instance": "mlflow"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def deployment() -> KubeObject:
    """A Deployment as a builder makes it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mlflow", "namespace": "team-a", "labels": {SERVER_LABEL: OWNER}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "mlflow"}},
            "template": {
                "metadata": {"labels": {"app": "mlflow"}},
                "spec": {
                    "hostNetwork": False,
                    "tolerations": [],
                    "initContainers": [{"name": "check", "image": "mlflow:3.17.2"}],
                    "containers": [
                        {
                            "name": "server",
                            "image": "mlflow:3.17.2",
                            "args": ["--host", "localhost"],
                            "ports": [{"name": "http", "containerPort": 5000}],
                            "env": [{"name": "HOME", "value": "/home"}, {"name": "WORKERS", "value": "1"}],
                            "resources": {"requests": {"cpu": "250m", "memory": "640Mi"}},
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        }
                    ],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                },
            },
        },
    }


def config_map() -> KubeObject:
    """A ConfigMap as a builder makes it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mlflow-client", "namespace": "team-a", "labels": {SERVER_LABEL: OWNER}},
        "data": {"MLFLOW_TRACKING_URI": "http://mlflow.team-a.svc"},
    }


def stored(desired: KubeObject, *, version: int = 7) -> KubeObject:
    """Return what the server stores when ``desired`` is applied: with its mark and the server's fields."""
    live = copy.deepcopy(desired)
    live["metadata"] |= {"uid": "uid-1", "resourceVersion": str(version), "generation": 1}
    live["metadata"].setdefault("annotations", {})[APPLIED_ANNOTATION] = digest(desired)
    return live


def containers(obj: KubeObject) -> list[KubeObject]:
    """The containers of a Deployment's template."""
    found: list[KubeObject] = obj["spec"]["template"]["spec"]["containers"]
    return found
