"""What makes the volumes of the development cluster: what it asks, and what it costs those who only ask for a cluster."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import urllib3
from kubernetes import client

from dev.local_cluster.provisioner import PROVISIONED_BY, PROVISIONER, STORAGE_CLASS, Provisioner
from tracking_operator.kube.objects import KubeObject, KubeObjects

CLASSES_OF_VOLUMES = "kubernetes.client.models.v1_persistent_volume"


def list_of(*items: KubeObject) -> urllib3.HTTPResponse:
    """What the API server answers."""
    body = {"metadata": {"resourceVersion": "7"}, "items": list(items)}
    return urllib3.HTTPResponse(json.dumps(body).encode(), status=200)


def provisioner_of(root: Path, claims: KubeObjects, volumes: KubeObjects) -> tuple[Provisioner, KubeObjects]:
    """A provisioner of a cluster that has these claims and volumes, and the volumes that it makes."""
    made: KubeObjects = []

    def gone(name: str) -> None:
        raise client.ApiException(status=404)

    api = SimpleNamespace(
        list_persistent_volume_claim_for_all_namespaces=lambda **_: list_of(*claims),
        list_persistent_volume=lambda **_: list_of(*volumes),
        create_persistent_volume=made.append,
        delete_persistent_volume=gone,
    )
    return Provisioner(cast("client.CoreV1Api", api), root), made


def test_a_claim_with_a_node_gets_a_folder_and_a_volume(tmp_path: Path) -> None:
    metadata = {"namespace": "team-a", "name": "data", "uid": "1"}
    spec = {
        "storageClassName": STORAGE_CLASS,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "volumeMode": "Filesystem",
    }
    placed = metadata | {"annotations": {"volume.kubernetes.io/selected-node": "node"}}
    claims = [{"metadata": placed, "spec": spec}, {"metadata": metadata | {"uid": "2"}, "spec": spec}]
    provisioner, made = provisioner_of(tmp_path, claims, [])
    assert provisioner.look() == "7"
    assert [one["spec"]["claimRef"]["uid"] for one in made] == ["1"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["pvc-1"]


def test_a_volume_that_an_earlier_look_has_deleted_is_no_failure(tmp_path: Path) -> None:
    folder = tmp_path / "pvc-1"
    folder.mkdir()
    released = {
        "metadata": {"name": "pvc-1", "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {"local": {"path": str(folder)}},
        "status": {"phase": "Released"},
    }
    provisioner, _ = provisioner_of(tmp_path, [], [released])
    provisioner.look()
    assert not folder.exists()


def test_who_only_asks_for_a_cluster_does_not_load_the_classes_of_kubernetes() -> None:
    program = f"import dev.development_cluster, sys; sys.exit('{CLASSES_OF_VOLUMES}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
