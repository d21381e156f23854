"""Bringing a store into the cluster, keeping its secrets when it is there, and taking it out again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dev.deploy import NAMESPACE as OPERATOR_NAMESPACE
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.certificates import Authority, Identity
from dev.local_cluster.progress import step
from dev.stores.manifests import admin_secret_name, ca_name
from tracking_operator.kube.objects import KubeObject


@dataclass(frozen=True)
class ServerCertificate:
    """What a server proves itself with, and by whose word; PEM text."""

    ca_certificate: str
    certificate: str
    key: str = field(repr=False)


def new_certificate(title: str, hosts: Sequence[str]) -> ServerCertificate:
    """A new certificate authority, called after the store, with a certificate for the server's names."""
    with TemporaryDirectory(prefix="certificates-") as name:
        folder = Path(name)
        Authority(folder, title).issue(Identity("server", hosts[0], hosts=tuple(hosts)))
        ca, certificate, key = (
            (folder / file).read_text() for file in ("ca.crt", "server.crt", "server.key")
        )
    return ServerCertificate(ca, certificate, key)


def secrets_in(cluster: DevelopmentCluster, namespace: str, *names: str) -> dict[str, KubeObject]:
    """Those of these Secrets that are there, by name."""
    query = ("--namespace", namespace, "--ignore-not-found", "--output=json")
    found = cluster.kubectl("get", "secrets", *names, *query)
    return {item["metadata"]["name"]: item for item in json.loads(found)["items"]} if found.strip() else {}


def apply_objects(cluster: DevelopmentCluster, objects: Sequence[KubeObject]) -> None:
    """Make the objects what they should be, whoever has changed them."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listed))


def remove_store(cluster: DevelopmentCluster, title: str, namespace: str) -> None:
    """Remove a server with its data and what the operator was told; nothing happens if there is none."""
    with step(f"remove {title} from namespace {namespace}"):
        told = (f"secret/{admin_secret_name(namespace)}", f"configmap/{ca_name(namespace)}")
        cluster.kubectl("delete", "--ignore-not-found", "--namespace", OPERATOR_NAMESPACE, *told)
        cluster.kubectl("delete", "--ignore-not-found", "namespace", namespace)
