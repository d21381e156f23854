"""Bringing PostgreSQL into the cluster, and telling the operator of it."""

import secrets

from dev.database.image import postgres_recipe
from dev.database.manifests import (
    ADMIN_SECRET,
    SUPERUSER_SECRET,
    TLS_SECRET,
    Identities,
    Wanted,
    build_operator_objects,
    build_server_objects,
    hosts_of,
    identities_in,
)
from dev.database.postgres import ClusterPostgres
from dev.deploy import BASE, load_images
from dev.deploy import NAMESPACE as OPERATOR_NAMESPACE
from dev.development_cluster import DevelopmentCluster
from dev.images import build_images
from dev.local_cluster.progress import step
from dev.stores.deployment import apply_objects, new_certificate, remove_store, secrets_in

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
        known = secrets_in(cluster, namespace, ADMIN_SECRET, SUPERUSER_SECRET, TLS_SECRET)
        identities = identities_in(known) or new_identities(namespace)
        wanted = Wanted(
            namespace,
            image.name,
            image.digest,
            max_connections=max_connections,
            storage="2Gi" if storage else "",
        )
        cluster.kubectl("apply", "--server-side", "-f", str(BASE / "namespace.yaml"))
        apply_objects(cluster, build_server_objects(wanted, identities))
        apply_objects(cluster, build_operator_objects(namespace, OPERATOR_NAMESPACE, identities))
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
    remove_store(cluster, "PostgreSQL", namespace)


def new_identities(namespace: str) -> Identities:
    """New passwords, and a new certificate authority with a certificate for the server's names."""
    proof = new_certificate(f"PostgreSQL in namespace {namespace}", hosts_of(namespace))
    return Identities(
        admin_username=ADMIN,
        admin_password=secrets.token_urlsafe(PASSWORD_BYTES),
        superuser_password=secrets.token_urlsafe(PASSWORD_BYTES),
        ca_certificate=proof.ca_certificate,
        certificate=proof.certificate,
        key=proof.key,
    )
