"""What is in the cluster from the start: CoreDNS and the default StorageClass."""

from pathlib import Path
from string import Template

import yaml

from dev.local_cluster import provisioner, small_images
from dev.local_cluster.layout import Layout

MANIFESTS = Path(__file__).parent / "manifests"


def addon_manifests(layout: Layout) -> str:
    """The addons' manifests for this cluster, as one YAML stream."""
    values = {
        "coredns_image": small_images.COREDNS_IMAGE,
        "dns_address": layout.dns_address,
        "storage_class": provisioner.STORAGE_CLASS,
        "provisioner": provisioner.PROVISIONER,
    }
    files = sorted(MANIFESTS.glob("*.yaml"))
    return "\n---\n".join(Template(file.read_text()).substitute(values) for file in files)


def bounded_volume_manifests(node: str, name: str, folder: str, mebibytes: int) -> str:
    """A StorageClass and its only PersistentVolume, which is `folder` on node `node`."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    on_the_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": name,
            "capacity": {"storage": f"{mebibytes}Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_the_node]}]}},
        },
    }
    return yaml.safe_dump_all([storage_class, volume])
