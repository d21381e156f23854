"""Bringing PostgreSQL into the cluster, and telling the operator of it."""

import json
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory

from dev.database.image import postgres_recipe
from dev.database.manifests import (
    ADMIN_SECRET,
    SUPERUSER_SECRET,
    TLS_SECRET,
    Identities,
    Wanted,
    admin_secret_name,
    build_operator_objects,
    build_server_objects,
    ca_name,
    hosts_of,
    identities_in,
)
from dev.database.postgres import ClusterPostgres
from dev.deploy import BASE, load_images
from dev.deploy import NAMESPACE as OPERATOR_NAMESPACE
from dev.development_cluster import DevelopmentCluster
from dev.images import build_images
from dev.local_cluster.certificates import Authority, Identity
from dev.local_cluster.progress import step
from tracking_operator.kube.objects import KubeObject

ADMIN = "tracking_admin"
PASSWORD_BYTES = 24


def deploy_postgres(
    cluster: DevelopmentCluster,
    *,
    namespace: str = "postgres",
    storage: bool = True,
    max_connections: int = 200,
) -> ClusterPostgres:
    """Run PostgreSQL in a namespace of its own, or keep it as it is; the operator gets its admin's login and its CA.

    These are the Secret `<namespace>-admin` and the ConfigMap `<namespace>-ca` in the operator's namespace. Without
    `storage` the data ends with the pod.

    Raises:
        ImageError: its image cannot be built.
        ClusterError: it does not answer; the message says what its log says.
    """
    (image,) = build_images([postgres_recipe()])
    load_images(cluster, [image])
    with step(f"PostgreSQL in namespace {namespace}"):
        identities = identities_in(_secrets(cluster, namespace)) or new_identities(namespace)
        wanted = Wanted(
            namespace,
            image.name,
            image.digest,
            max_connections=max_connections,
            storage="2Gi" if storage else "",
        )
        cluster.kubectl("apply", "--server-side", "-f", str(BASE / "namespace.yaml"))
        _apply(cluster, build_server_objects(wanted, identities))
        _apply(cluster, build_operator_objects(namespace, OPERATOR_NAMESPACE, identities))
        postgres = ClusterPostgres(
            cluster,
            namespace,
            identities.admin_username,
            identities.admin_password,
            identities.superuser_password,
            identities.ca_certificate,
        )
        postgres.wait_until_it_answers()
    return postgres


def remove_postgres(cluster: DevelopmentCluster, *, namespace: str = "postgres") -> None:
    """Remove the server with its data and what the operator was told; nothing happens if there is none."""
    with step(f"remove PostgreSQL from namespace {namespace}"):
        told = (f"secret/{admin_secret_name(namespace)}", f"configmap/{ca_name(namespace)}")
        cluster.kubectl("delete", "--ignore-not-found", "--namespace", OPERATOR_NAMESPACE, *told)
        cluster.kubectl("delete", "--ignore-not-found", "namespace", namespace)


def new_identities(namespace: str) -> Identities:
    """New passwords, and a new certificate authority with a certificate for the server's names."""
    with TemporaryDirectory(prefix="postgres-certificates-") as name:
        folder = Path(name)
        authority = Authority(folder, f"PostgreSQL in namespace {namespace}")
        authority.issue(Identity("server", hosts_of(namespace)[0], hosts=hosts_of(namespace)))
        ca, certificate, key = (
            (folder / file).read_text() for file in ("ca.crt", "server.crt", "server.key")
        )
    return Identities(
        admin_username=ADMIN,
        admin_password=secrets.token_urlsafe(PASSWORD_BYTES),
        superuser_password=secrets.token_urlsafe(PASSWORD_BYTES),
        ca_certificate=ca,
        certificate=certificate,
        key=key,
    )


def _secrets(cluster: DevelopmentCluster, namespace: str) -> dict[str, KubeObject]:
    names = (ADMIN_SECRET, SUPERUSER_SECRET, TLS_SECRET)
    query = ("--namespace", namespace, "--ignore-not-found", "--output=json")
    found = cluster.kubectl("get", "secrets", *names, *query)
    return {item["metadata"]["name"]: item for item in json.loads(found)["items"]} if found.strip() else {}


def _apply(cluster: DevelopmentCluster, objects: list[KubeObject]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listed))
