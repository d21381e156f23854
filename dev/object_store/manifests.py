"""The objects of a versitygw in the cluster: pure builders on plain dicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dev.stores import manifests as stores
from dev.stores.manifests import (
    CA_KEY,
    SCRATCH,
    StoreServer,
    admin_secret_name,
    build_secret,
    ca_name,
    container_security,
    contents_of,
    labels_of,
    service_host,
    service_hosts,
)
from tracking_operator.kube.objects import KubeObject
from tracking_operator.stores.s3.bucket_address import Keys

NAME = "s3"
PORT = 7070
BUCKET = "ml-artifacts"
REGION = "us-east-1"
LABELS = labels_of("versitygw")
ROOT_SECRET = "s3-root"  # noqa: S105 - a name
ADMIN_SECRET = "s3-admin"  # noqa: S105 - a name
TLS_SECRET = "s3-tls"  # noqa: S105 - a name
DATA = "/var/lib/versitygw"
CERTIFICATES = "/etc/versitygw/tls"
HEALTH = "/health"


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
    server = StoreServer(NAME, PORT, wanted.namespace, wanted.image_digest, wanted.storage, LABELS)
    volumes = [{"name": "tls", "secret": {"secretName": TLS_SECRET}}]
    secrets = _build_secrets(wanted.namespace, identities)
    return stores.build_server_objects(server, _container(wanted), volumes, secrets)


def build_operator_objects(
    namespace: str, operator_namespace: str, identities: Identities
) -> list[KubeObject]:
    """Build what a TrackingServerClass refers to: the admin's Secret and the certificate authority's ConfigMap."""
    return stores.build_operator_objects(
        namespace, operator_namespace, LABELS, _words_of(identities.admin), identities.ca_certificate
    )


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


def host_of(namespace: str) -> str:
    """The name under which pods reach the server, and which its certificate carries."""
    return service_host(NAME, namespace)


def endpoint_of(namespace: str, *, tls: bool = True) -> str:
    """The URL by which pods reach it, the admin API too."""
    return f"{'https' if tls else 'http'}://{host_of(namespace)}:{PORT}"


def hosts_of(namespace: str) -> tuple[str, ...]:
    """Every name of the server's Service, and the address of a forwarded port."""
    return (*service_hosts(NAME, namespace), "127.0.0.1")


def identities_in(secrets: Mapping[str, KubeObject]) -> Identities | None:
    """Read back what `build_server_objects` wrote, by the Secrets' names; None if a part of it is missing."""
    try:
        root, admin, tls = (contents_of(secrets[name]) for name in (ROOT_SECRET, ADMIN_SECRET, TLS_SECRET))
        return Identities(
            root=_keys_of(root, ROOT_SECRET),
            admin=_keys_of(admin, ADMIN_SECRET),
            ca_certificate=tls[CA_KEY],
            certificate=tls["tls.crt"],
            key=tls["tls.key"],
        )
    except KeyError:
        return None


def _build_secrets(namespace: str, identities: Identities) -> list[KubeObject]:
    tls = {"tls.crt": identities.certificate, "tls.key": identities.key, CA_KEY: identities.ca_certificate}
    return [
        build_secret(ROOT_SECRET, namespace, LABELS, _words_of(identities.root)),
        build_secret(ADMIN_SECRET, namespace, LABELS, _words_of(identities.admin)),
        build_secret(TLS_SECRET, namespace, LABELS, tls, type_="kubernetes.io/tls"),
    ]


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
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            SCRATCH,
            {"name": "tls", "mountPath": CERTIFICATES, "readOnly": True},
        ],
    }


def _arguments(wanted: Wanted) -> list[str]:
    certificates = (f"--cert={CERTIFICATES}/tls.crt", f"--key={CERTIFICATES}/tls.key") if wanted.tls else ()
    return [f"--port=:{PORT}", f"--region={REGION}", f"--health={HEALTH}", *certificates]


def _from_root_secret(variable: str, key: str) -> KubeObject:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": ROOT_SECRET, "key": key}}}


def _words_of(keys: Keys) -> dict[str, str]:
    return {"accessKeyId": keys.access_key_id, "secretAccessKey": keys.secret_access_key}


def _keys_of(contents: Mapping[str, str], secret: str) -> Keys:
    return Keys(contents["accessKeyId"], contents["secretAccessKey"], source=f"the Secret {secret}")
