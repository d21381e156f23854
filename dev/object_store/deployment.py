"""Bringing an S3 server into the cluster, and telling the operator of it."""

import json
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory

from dev.deploy import BASE, load_images
from dev.deploy import NAMESPACE as OPERATOR_NAMESPACE
from dev.development_cluster import DevelopmentCluster
from dev.images import build_images
from dev.local_cluster.certificates import Authority, Identity
from dev.local_cluster.progress import step
from dev.object_store.image import versitygw_recipe
from dev.object_store.manifests import (
    ADMIN_SECRET,
    ROOT_SECRET,
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
from dev.object_store.object_store import ClusterObjectStore
from tracking_operator.artifact_store.place import Keys
from tracking_operator.kube.objects import KubeObject

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
        identities = identities_in(_secrets(cluster, namespace)) or new_identities(namespace)
        wanted = Wanted(namespace, image.name, image.digest, tls=tls, storage="4Gi" if storage else "")
        cluster.kubectl("apply", "--server-side", "-f", str(BASE / "namespace.yaml"))
        _apply(cluster, build_server_objects(wanted, identities))
        _apply(cluster, build_operator_objects(namespace, OPERATOR_NAMESPACE, identities))
        store = ClusterObjectStore(
            cluster, namespace, identities.root, identities.admin, identities.ca_certificate, tls
        )
        store.wait_until_it_answers()
    return store


def remove_object_store(cluster: DevelopmentCluster, *, namespace: str = "s3") -> None:
    """Remove the server with its data and what the operator was told; nothing happens if there is none."""
    with step(f"remove versitygw from namespace {namespace}"):
        told = (f"secret/{admin_secret_name(namespace)}", f"configmap/{ca_name(namespace)}")
        cluster.kubectl("delete", "--ignore-not-found", "--namespace", OPERATOR_NAMESPACE, *told)
        cluster.kubectl("delete", "--ignore-not-found", "namespace", namespace)


def new_identities(namespace: str) -> Identities:
    """New keys, and a new certificate authority with a certificate for the server's names."""
    with TemporaryDirectory(prefix="versitygw-certificates-") as name:
        folder = Path(name)
        authority = Authority(folder, f"versitygw in namespace {namespace}")
        authority.issue(Identity("server", hosts_of(namespace)[0], hosts=hosts_of(namespace)))
        ca, certificate, key = (
            (folder / file).read_text() for file in ("ca.crt", "server.crt", "server.key")
        )
    return Identities(
        root=Keys(ROOT, secrets.token_urlsafe(SECRET_BYTES), source=f"the Secret {ROOT_SECRET}"),
        admin=Keys(ADMIN, secrets.token_urlsafe(SECRET_BYTES), source=f"the Secret {ADMIN_SECRET}"),
        ca_certificate=ca,
        certificate=certificate,
        key=key,
    )


def _secrets(cluster: DevelopmentCluster, namespace: str) -> dict[str, KubeObject]:
    names = (ADMIN_SECRET, ROOT_SECRET, TLS_SECRET)
    query = ("--namespace", namespace, "--ignore-not-found", "--output=json")
    found = cluster.kubectl("get", "secrets", *names, *query)
    return {item["metadata"]["name"]: item for item in json.loads(found)["items"]} if found.strip() else {}


def _apply(cluster: DevelopmentCluster, objects: list[KubeObject]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listed))
