"""The objects of a versitygw in the cluster: pure builders on plain dicts."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracking_operator.api.marks import WATCH_LABEL
from tracking_operator.artifact_store.place import Keys
from tracking_operator.kube.objects import KubeObject

NAME = "s3"
PORT = 7070
BUCKET = "ml-artifacts"
REGION = "us-east-1"
USER_ID = 10001
LABELS = {"app.kubernetes.io/name": "versitygw", "app.kubernetes.io/part-of": "development"}
ROOT_SECRET = "s3-root"  # noqa: S105 - a name
ADMIN_SECRET = "s3-admin"  # noqa: S105 - a name
TLS_SECRET = "s3-tls"  # noqa: S105 - a name
CLAIM = "s3-data"
DATA = "/var/lib/versitygw"
CERTIFICATES = "/etc/versitygw/tls"
CA_KEY = "ca.crt"
HEALTH = "/health"
IMAGE_ANNOTATION = "tracking-operator.dev/image-digest"


@dataclass(frozen=True)
class Identities:
    """Who may do everything, who may administer, and what the server proves itself with; PEM text."""

    root: Keys
    admin: Keys
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
        tls: whether it speaks HTTPS, and nothing else.
        storage: the size of its volume; empty: its data and its users end with its pod.
    """

    namespace: str
    image: str
    image_digest: str
    tls: bool = True
    storage: str = "4Gi"


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
    secret = _secret(admin_secret_name(namespace), operator_namespace, _words_of(identities.admin))
    secret["metadata"]["labels"][WATCH_LABEL] = "true"
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ca_name(namespace), "namespace": operator_namespace, "labels": LABELS},
        "data": {CA_KEY: identities.ca_certificate},
    }
    return [secret, config_map]


def build_class_spec(namespace: str, *, tls: bool = True) -> dict[str, object]:
    """Build the `spec.s3` of a TrackingServerClass whose servers use it; the operator makes the bucket."""
    authority = {"caConfigMapRef": {"name": ca_name(namespace)}} if tls else {}
    return {
        "bucket": BUCKET,
        "endpoint": endpoint_of(namespace, tls=tls),
        "region": REGION,
        "addressingStyle": "path",
        "identity": {"versitygw": {}},
        "adminSecretRef": {"name": admin_secret_name(namespace)},
        "create": {},
        **authority,
    }


def admin_secret_name(namespace: str) -> str:
    """The Secret in the operator's namespace that holds the admin's keys."""
    return f"{namespace}-admin"


def ca_name(namespace: str) -> str:
    """The ConfigMap in the operator's namespace that holds the certificate authority."""
    return f"{namespace}-ca"


def host_of(namespace: str) -> str:
    """The name under which pods reach the server, and which its certificate carries."""
    return f"{NAME}.{namespace}.svc"


def endpoint_of(namespace: str, *, tls: bool = True) -> str:
    """The URL by which pods reach it, the admin API too."""
    return f"{'https' if tls else 'http'}://{host_of(namespace)}:{PORT}"


def hosts_of(namespace: str) -> tuple[str, ...]:
    """Every name of the server's Service, and the address of a forwarded port."""
    host = host_of(namespace)
    return (host, f"{host}.cluster.local", f"{NAME}.{namespace}", NAME, "127.0.0.1")


def identities_in(secrets: Mapping[str, KubeObject]) -> Identities | None:
    """Read back what `build_server_objects` wrote, by the Secrets' names; None if a part of it is missing."""
    try:
        root, admin, tls = (_decoded(secrets[name]) for name in (ROOT_SECRET, ADMIN_SECRET, TLS_SECRET))
        return Identities(
            root=_keys_of(root, ROOT_SECRET),
            admin=_keys_of(admin, ADMIN_SECRET),
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
    tls = {"tls.crt": identities.certificate, "tls.key": identities.key, CA_KEY: identities.ca_certificate}
    return [
        _secret(ROOT_SECRET, wanted.namespace, _words_of(identities.root)),
        _secret(ADMIN_SECRET, wanted.namespace, _words_of(identities.admin)),
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
            {"name": "tls", "secret": {"secretName": TLS_SECRET}},
        ],
    }


def _container(wanted: Wanted) -> KubeObject:
    scheme = "HTTPS" if wanted.tls else "HTTP"
    return {
        "name": NAME,
        "image": wanted.image,
        "imagePullPolicy": "IfNotPresent",
        "args": _arguments(wanted),
        "env": [
            _from_root_secret("ROOT_ACCESS_KEY_ID", "accessKeyId"),
            _from_root_secret("ROOT_SECRET_ACCESS_KEY", "secretAccessKey"),
        ],
        "ports": [{"name": NAME, "containerPort": PORT}],
        "readinessProbe": {
            "httpGet": {"path": HEALTH, "port": NAME, "scheme": scheme},
            "periodSeconds": 1,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
            {"name": "tls", "mountPath": CERTIFICATES, "readOnly": True},
        ],
    }


def _arguments(wanted: Wanted) -> list[str]:
    certificates = (f"--cert={CERTIFICATES}/tls.crt", f"--key={CERTIFICATES}/tls.key") if wanted.tls else ()
    return [f"--port=:{PORT}", f"--region={REGION}", f"--health={HEALTH}", *certificates]


def _from_root_secret(variable: str, key: str) -> KubeObject:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": ROOT_SECRET, "key": key}}}


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


def _words_of(keys: Keys) -> dict[str, str]:
    return {"accessKeyId": keys.access_key_id, "secretAccessKey": keys.secret_access_key}


def _keys_of(contents: Mapping[str, str], secret: str) -> Keys:
    return Keys(contents["accessKeyId"], contents["secretAccessKey"], source=f"the Secret {secret}")


def _decoded(secret: KubeObject) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
