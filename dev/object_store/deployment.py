"""Bringing an S3 server into the cluster, and telling the operator of it."""

import secrets

from dev.deploy import BASE, load_images
from dev.deploy import NAMESPACE as OPERATOR_NAMESPACE
from dev.development_cluster import DevelopmentCluster
from dev.images import build_images
from dev.local_cluster.progress import step
from dev.object_store.image import versitygw_recipe
from dev.object_store.manifests import (
    ADMIN_SECRET,
    ROOT_SECRET,
    TLS_SECRET,
    Identities,
    Wanted,
    build_operator_objects,
    build_server_objects,
    hosts_of,
    identities_in,
)
from dev.object_store.object_store import ClusterObjectStore
from dev.stores.deployment import apply_objects, new_certificate, remove_store, secrets_in
from tracking_operator.stores.s3.bucket_address import Keys

ROOT = "root"
ADMIN = "tracking-admin"
SECRET_BYTES = 24


def deploy_object_store(
    cluster: DevelopmentCluster, *, namespace: str = "s3", tls: bool = True, storage: bool = True
) -> ClusterObjectStore:
    """Run versitygw in a namespace of its own, or keep it as it is; the operator gets its admin's keys and its CA.

    These are the Secret `<namespace>-admin` and the ConfigMap `<namespace>-ca` in the operator's namespace. Without
    `storage` objects and users end with the pod.

    Raises:
        ImageError: its image cannot be built.
        ClusterError: it does not answer; the message says what its log says.
    """
    (image,) = build_images([versitygw_recipe()])
    load_images(cluster, [image])
    with step(f"versitygw in namespace {namespace}"):
        known = secrets_in(cluster, namespace, ADMIN_SECRET, ROOT_SECRET, TLS_SECRET)
        identities = identities_in(known) or new_identities(namespace)
        wanted = Wanted(namespace, image.name, image.digest, tls=tls, storage="4Gi" if storage else "")
        cluster.kubectl("apply", "--server-side", "-f", str(BASE / "namespace.yaml"))
        apply_objects(cluster, build_server_objects(wanted, identities))
        apply_objects(cluster, build_operator_objects(namespace, OPERATOR_NAMESPACE, identities))
        store = ClusterObjectStore(
            cluster, namespace, identities.root, identities.admin, identities.ca_certificate, tls
        )
        store.wait_until_it_answers()
    return store


def remove_object_store(cluster: DevelopmentCluster, *, namespace: str = "s3") -> None:
    """Remove the server with its data and what the operator was told; nothing happens if there is none."""
    remove_store(cluster, "versitygw", namespace)


def new_identities(namespace: str) -> Identities:
    """New keys, and a new certificate authority with a certificate for the server's names."""
    proof = new_certificate(f"versitygw in namespace {namespace}", hosts_of(namespace))
    return Identities(
        root=Keys(ROOT, secrets.token_urlsafe(SECRET_BYTES), source=f"the Secret {ROOT_SECRET}"),
        admin=Keys(ADMIN, secrets.token_urlsafe(SECRET_BYTES), source=f"the Secret {ADMIN_SECRET}"),
        ca_certificate=proof.ca_certificate,
        certificate=proof.certificate,
        key=proof.key,
    )
