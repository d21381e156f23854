"""The objects of a PostgreSQL in the cluster: pure builders on plain dicts."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracking_operator.api.marks import WATCH_LABEL
from tracking_operator.kube.objects import KubeObject

NAME = "postgres"
PORT = 5432
USER_ID = 10001
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "development"}
SUPERUSER_SECRET = "postgres-superuser"  # noqa: S105 - a name
ADMIN_SECRET = "postgres-admin"  # noqa: S105 - a name
TLS_SECRET = "postgres-tls"  # noqa: S105 - a name
CLAIM = "postgres-data"
DATA = "/var/lib/postgresql/data"
MOUNTED = "/etc/postgres"
CA_KEY = "ca.crt"
IMAGE_ANNOTATION = "tracking-operator.dev/image-digest"


@dataclass(frozen=True)
class Identities:
    """Who may log in and what the server proves itself with; PEM text."""

    admin_username: str
    admin_password: str = field(repr=False)
    superuser_password: str = field(repr=False)
    ca_certificate: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True)
class Wanted:
    """How the server is to be run.

    Attributes:
        namespace: its namespace, which it has for itself.
        image: the image's name.
        image_digest: what tells one build of the image from another.
        storage: the size of its volume; empty: its data ends with its pod.
        max_connections: of all clients together.
    """

    namespace: str
    image: str
    image_digest: str
    storage: str = "2Gi"
    max_connections: int = 200


def build_server_objects(wanted: Wanted, identities: Identities) -> list[KubeObject]:
    """Build everything that is in the server's own namespace, and the namespace."""
    claim = [_build_claim(wanted)] if wanted.storage else []
    return [
        _build_namespace(wanted),
        *_build_secrets(wanted, identities),
        *claim,
        _build_deployment(wanted),
        _build_service(wanted),
    ]


def build_operator_objects(
    namespace: str, operator_namespace: str, identities: Identities
) -> list[KubeObject]:
    """Build what a TrackingServerClass refers to: the admin's Secret and the certificate authority's ConfigMap."""
    admin = {"username": identities.admin_username, "password": identities.admin_password}
    secret = _secret(admin_secret_name(namespace), operator_namespace, admin)
    secret["metadata"]["labels"][WATCH_LABEL] = "true"
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ca_name(namespace), "namespace": operator_namespace, "labels": LABELS},
        "data": {CA_KEY: identities.ca_certificate},
    }
    return [secret, config_map]


def build_class_spec(namespace: str) -> dict[str, object]:
    """Build the `spec.postgres` of a TrackingServerClass whose servers use it."""
    return {
        "host": host_of(namespace),
        "port": PORT,
        "adminSecretRef": {"name": admin_secret_name(namespace)},
        "sslMode": "verify-full",
        "caConfigMapRef": {"name": ca_name(namespace)},
    }


def admin_secret_name(namespace: str) -> str:
    """The Secret in the operator's namespace that holds the admin's login."""
    return f"{namespace}-admin"


def ca_name(namespace: str) -> str:
    """The ConfigMap in the operator's namespace that holds the certificate authority."""
    return f"{namespace}-ca"


def host_of(namespace: str) -> str:
    """The name under which pods reach the server, and which its certificate carries."""
    return f"{NAME}.{namespace}.svc"


def hosts_of(namespace: str) -> tuple[str, ...]:
    """Every name of the server's Service."""
    host = host_of(namespace)
    return (host, f"{host}.cluster.local", f"{NAME}.{namespace}", NAME)


def identities_in(secrets: Mapping[str, KubeObject]) -> Identities | None:
    """Read back what `build_server_objects` wrote, by the Secrets' names; None if a part of it is missing."""
    try:
        admin, superuser, tls = (
            _decoded(secrets[name]) for name in (ADMIN_SECRET, SUPERUSER_SECRET, TLS_SECRET)
        )
        return Identities(
            admin_username=admin["username"],
            admin_password=admin["password"],
            superuser_password=superuser["password"],
            ca_certificate=tls[CA_KEY],
            certificate=tls["tls.crt"],
            key=tls["tls.key"],
        )
    except KeyError:
        return None


def _build_namespace(wanted: Wanted) -> KubeObject:
    labels = {**LABELS, "pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": wanted.namespace, "labels": labels},
    }


def _build_secrets(wanted: Wanted, identities: Identities) -> list[KubeObject]:
    admin = {"username": identities.admin_username, "password": identities.admin_password}
    tls = {"tls.crt": identities.certificate, "tls.key": identities.key, CA_KEY: identities.ca_certificate}
    return [
        _secret(SUPERUSER_SECRET, wanted.namespace, {"password": identities.superuser_password}),
        _secret(ADMIN_SECRET, wanted.namespace, admin),
        _secret(TLS_SECRET, wanted.namespace, tls, type_="kubernetes.io/tls"),
    ]


def _build_claim(wanted: Wanted) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(wanted, CLAIM),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": wanted.storage}}},
    }


def _build_deployment(wanted: Wanted) -> KubeObject:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(wanted, NAME),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS, "annotations": {IMAGE_ANNOTATION: wanted.image_digest}},
                "spec": _pod(wanted),
            },
        },
    }


def _pod(wanted: Wanted) -> KubeObject:
    data = {"persistentVolumeClaim": {"claimName": CLAIM}} if wanted.storage else {"emptyDir": {}}
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
        "containers": [_container(wanted)],
        "volumes": [
            {"name": "data", **data},
            {"name": "scratch", "emptyDir": {}},
            {"name": "superuser", "secret": {"secretName": SUPERUSER_SECRET}},
            {"name": "admin", "secret": {"secretName": ADMIN_SECRET}},
            {"name": "tls", "secret": {"secretName": TLS_SECRET}},
        ],
    }


def _container(wanted: Wanted) -> KubeObject:
    secrets = ("superuser", "admin", "tls")
    return {
        "name": NAME,
        "image": wanted.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-c", f"max_connections={wanted.max_connections}", "-c", "shared_buffers=32MB"],
        "ports": [{"name": NAME, "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": NAME}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
            *({"name": name, "mountPath": f"{MOUNTED}/{name}", "readOnly": True} for name in secrets),
        ],
    }


def _build_service(wanted: Wanted) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(wanted, NAME),
        "spec": {"selector": LABELS, "ports": [{"name": NAME, "port": PORT, "targetPort": NAME}]},
    }


def _metadata(wanted: Wanted, name: str) -> KubeObject:
    return {"name": name, "namespace": wanted.namespace, "labels": LABELS}


def _secret(name: str, namespace: str, contents: Mapping[str, str], type_: str = "Opaque") -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(LABELS)},
        "type": type_,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in contents.items()},
    }


def _decoded(secret: KubeObject) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
