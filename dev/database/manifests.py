"""The objects of a PostgreSQL in the cluster: pure builders on plain dicts."""

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

NAME = "postgres"
PORT = 5432
LABELS = labels_of(NAME)
SUPERUSER_SECRET = "postgres-superuser"  # noqa: S105 - a name
ADMIN_SECRET = "postgres-admin"  # noqa: S105 - a name
TLS_SECRET = "postgres-tls"  # noqa: S105 - a name
DATA = "/var/lib/postgresql/data"
MOUNTED = "/etc/postgres"


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
    server = StoreServer(NAME, PORT, wanted.namespace, wanted.image_digest, wanted.storage, LABELS)
    volumes = [
        {"name": volume, "secret": {"secretName": secret}}
        for volume, secret in (
            ("superuser", SUPERUSER_SECRET),
            ("admin", ADMIN_SECRET),
            ("tls", TLS_SECRET),
        )
    ]
    secrets = _build_secrets(wanted.namespace, identities)
    return stores.build_server_objects(server, _container(wanted), volumes, secrets)


def build_operator_objects(
    namespace: str, operator_namespace: str, identities: Identities
) -> list[KubeObject]:
    """Build what a TrackingServerClass refers to: the admin's Secret and the certificate authority's ConfigMap."""
    admin = {"username": identities.admin_username, "password": identities.admin_password}
    return stores.build_operator_objects(
        namespace, operator_namespace, LABELS, admin, identities.ca_certificate
    )


def build_class_spec(namespace: str) -> dict[str, object]:
    """Build the `spec.postgres` of a TrackingServerClass whose servers use it."""
    return {
        "host": host_of(namespace),
        "port": PORT,
        "adminSecretRef": {"name": admin_secret_name(namespace)},
        "sslMode": "verify-full",
        "caConfigMapRef": {"name": ca_name(namespace)},
    }


def host_of(namespace: str) -> str:
    """The name under which pods reach the server, and which its certificate carries."""
    return service_host(NAME, namespace)


def hosts_of(namespace: str) -> tuple[str, ...]:
    """Every name of the server's Service."""
    return service_hosts(NAME, namespace)


def identities_in(secrets: Mapping[str, KubeObject]) -> Identities | None:
    """Read back what `build_server_objects` wrote, by the Secrets' names; None if a part of it is missing."""
    try:
        admin, superuser, tls = (
            contents_of(secrets[name]) for name in (ADMIN_SECRET, SUPERUSER_SECRET, TLS_SECRET)
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


def _build_secrets(namespace: str, identities: Identities) -> list[KubeObject]:
    admin = {"username": identities.admin_username, "password": identities.admin_password}
    tls = {"tls.crt": identities.certificate, "tls.key": identities.key, CA_KEY: identities.ca_certificate}
    return [
        build_secret(SUPERUSER_SECRET, namespace, LABELS, {"password": identities.superuser_password}),
        build_secret(ADMIN_SECRET, namespace, LABELS, admin),
        build_secret(TLS_SECRET, namespace, LABELS, tls, type_="kubernetes.io/tls"),
    ]


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
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            SCRATCH,
            *({"name": name, "mountPath": f"{MOUNTED}/{name}", "readOnly": True} for name in secrets),
        ],
    }
