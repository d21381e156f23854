"""The objects of one server that keeps data, in a namespace of its own: pure builders on plain dicts."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracking_operator.api.labels_and_annotations import WATCH_LABEL
from tracking_operator.kube.objects import KubeObject

USER_ID = 10001
CA_KEY = "ca.crt"
IMAGE_ANNOTATION = "tracking-operator.dev/image-digest"
SCRATCH = {"name": "scratch", "mountPath": "/tmp"}  # noqa: S108 - an emptyDir of the pod's own


@dataclass(frozen=True)
class StoreServer:
    """How a server is run.

    Attributes:
        name: of its Deployment, Service, container and port.
        port: the one that it listens on.
        namespace: its namespace, which it has for itself.
        image_digest: what tells one build of its image from another.
        storage: the size of its volume; empty: its data ends with its pod.
        labels: what all of its objects carry, and its Service selects.
    """

    name: str
    port: int
    namespace: str
    image_digest: str
    storage: str
    labels: dict[str, str]

    @property
    def claim(self) -> str:
        """The name of its volume claim."""
        return f"{self.name}-data"

    def metadata(self, name: str) -> KubeObject:
        """The metadata of an object of its own."""
        return {"name": name, "namespace": self.namespace, "labels": self.labels}


def labels_of(program: str) -> dict[str, str]:
    """What all objects of a server carry that runs this program."""
    return {"app.kubernetes.io/name": program, "app.kubernetes.io/part-of": "development"}


def build_server_objects(
    server: StoreServer, container: KubeObject, volumes: Sequence[KubeObject], secrets: Sequence[KubeObject]
) -> list[KubeObject]:
    """Build everything in the server's namespace, and the namespace; ``volumes`` come beside those for data and scratch."""
    return [
        _build_namespace(server),
        *secrets,
        *([_build_claim(server)] if server.storage else []),
        _build_deployment(server, container, volumes),
        _build_service(server),
    ]


def build_operator_objects(
    namespace: str, operator_namespace: str, labels: Mapping[str, str], admin: Mapping[str, str], ca: str
) -> list[KubeObject]:
    """Build what a TrackingServerClass refers to: the admin's Secret and the certificate authority's ConfigMap."""
    secret = build_secret(admin_secret_name(namespace), operator_namespace, labels, admin)
    secret["metadata"]["labels"][WATCH_LABEL] = "true"
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ca_name(namespace), "namespace": operator_namespace, "labels": dict(labels)},
        "data": {CA_KEY: ca},
    }
    return [secret, config_map]


def admin_secret_name(namespace: str) -> str:
    """The Secret in the operator's namespace with which it is the admin of the store in `namespace`."""
    return f"{namespace}-admin"


def ca_name(namespace: str) -> str:
    """The ConfigMap in the operator's namespace that holds the certificate authority."""
    return f"{namespace}-ca"


def service_host(name: str, namespace: str) -> str:
    """The name under which pods reach a server, and which its certificate carries."""
    return f"{name}.{namespace}.svc"


def service_hosts(name: str, namespace: str) -> tuple[str, ...]:
    """Every name of a server's Service."""
    host = service_host(name, namespace)
    return (host, f"{host}.cluster.local", f"{name}.{namespace}", name)


def build_secret(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    contents: Mapping[str, str],
    type_: str = "Opaque",
) -> KubeObject:
    """Build a Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "type": type_,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in contents.items()},
    }


def contents_of(secret: KubeObject) -> dict[str, str]:
    """Read back what `build_secret` wrote."""
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def container_security() -> KubeObject:
    """The container's part of the `restricted` Pod Security Standard, and a root that cannot be written to."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _build_namespace(server: StoreServer) -> KubeObject:
    labels = {**server.labels, "pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": server.namespace, "labels": labels},
    }


def _build_claim(server: StoreServer) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": server.metadata(server.claim),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": server.storage}}},
    }


def _build_deployment(
    server: StoreServer, container: KubeObject, volumes: Sequence[KubeObject]
) -> KubeObject:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": server.metadata(server.name),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": server.labels},
            "template": {
                "metadata": {
                    "labels": server.labels,
                    "annotations": {IMAGE_ANNOTATION: server.image_digest},
                },
                "spec": _pod(server, container, volumes),
            },
        },
    }


def _pod(server: StoreServer, container: KubeObject, volumes: Sequence[KubeObject]) -> KubeObject:
    data = {"persistentVolumeClaim": {"claimName": server.claim}} if server.storage else {"emptyDir": {}}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", **data}, {"name": SCRATCH["name"], "emptyDir": {}}, *volumes],
    }


def _build_service(server: StoreServer) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": server.metadata(server.name),
        "spec": {
            "selector": server.labels,
            "ports": [{"name": server.name, "port": server.port, "targetPort": server.name}],
        },
    }
