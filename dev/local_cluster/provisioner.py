"""The volumes of the default StorageClass: a folder of the node for each claim.

`python -m dev.local_cluster.provisioner --kubeconfig FILE --folder FOLDER` runs until it is stopped. It does what Kubernetes asks
of an external provisioner (kubernetes/community, contributors/design-proposals/storage/container-storage-interface.md, and
the annotations in https://kubernetes.io/docs/reference/labels-annotations-taints/): makes the volume of a claim for which a
node is selected, and deletes that of a claim that has gone. It bounds no size.

Whoever asks for a cluster imports this module for its names: the classes of `CoreV1Api`, which take two seconds, are loaded by the
program alone.
"""

import argparse
import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Final

import urllib3
from kubernetes import client, config, watch

from dev.local_cluster.failures import ClusterError
from tracking_operator.kube.objects import KubeObject

PROVISIONER: Final = "tracking-operator.dev/folders"
STORAGE_CLASS: Final = "standard"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
ONE_NODE: Final = {"ReadWriteOnce", "ReadWriteOncePod"}
PAUSE_SECONDS: Final = 0.5
"""Between two looks, however many claims change."""
SECONDS_OF_A_WATCH: Final = 5
"""After so long there is a look although no claim has changed: a volume is released a moment after its claim has gone."""
FROM_THE_CACHE: Final = "0"
"""A resource version: what the API server has in memory, without a question to etcd. A look that comes too early is followed by one
more."""

logger = logging.getLogger(__name__)


class Provisioner:
    """Makes and deletes folders below one folder, and the volumes that stand for them."""

    def __init__(self, api: "client.CoreV1Api", root: Path) -> None:
        self._api = api
        self._root = root
        self._refused: set[str] = set()

    def look(self) -> str:
        """Do what is to be done now; return as of which resource version of the claims."""
        claims = _content(
            self._api.list_persistent_volume_claim_for_all_namespaces(
                resource_version=FROM_THE_CACHE, _preload_content=False
            )
        )
        for claim in claims["items"]:
            if claim["spec"].get("storageClassName") == STORAGE_CLASS and not claim["spec"].get("volumeName"):
                _try(self._provision, claim)
        volumes = _content(
            self._api.list_persistent_volume(resource_version=FROM_THE_CACHE, _preload_content=False)
        )
        for volume in volumes["items"]:
            is_ours = volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER
            if is_ours and volume["status"]["phase"] in ("Released", "Failed"):
                _try(self._delete, volume)
        return str(claims["metadata"]["resourceVersion"])

    def wait_for_a_claim(self, since: str) -> None:
        """Wait until a claim has changed, but not for long."""
        changes = watch.Watch().stream(  # type: ignore[no-untyped-call]
            self._api.list_persistent_volume_claim_for_all_namespaces,
            resource_version=since,
            timeout_seconds=SECONDS_OF_A_WATCH,
        )
        with closing(changes):
            next(changes, None)

    def _provision(self, claim: KubeObject) -> None:
        metadata, modes = claim["metadata"], claim["spec"]["accessModes"]
        node = metadata.get("annotations", {}).get(SELECTED_NODE)
        if node is None or "deletionTimestamp" in metadata:
            return
        if not ONE_NODE.issuperset(modes):
            self._refuse(claim, f"No volume is {', '.join(modes)}: a folder of one node is ReadWriteOnce.")
            return
        folder = self._root / f"pvc-{metadata['uid']}"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # pods run as anybody
        try:
            # The client takes plain objects, too, which its types do not say.
            self._api.create_persistent_volume(volume_manifest(claim, node, folder))  # type: ignore[arg-type]
        except client.ApiException as error:
            if error.status != HTTPStatus.CONFLICT:  # the last look made it, and the claim is not bound yet
                raise
        else:
            logger.info("made %s", folder)

    def _refuse(self, claim: KubeObject, message: str) -> None:
        """Say once, as an Event of the claim, why there is no volume for it."""
        metadata = claim["metadata"]
        if metadata["uid"] in self._refused:
            return
        self._refused.add(metadata["uid"])
        event = {
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": _reference_to(claim),
            "type": "Warning",
            "reason": "ProvisioningFailed",
            "message": message,
            "source": {"component": PROVISIONER},
        }
        self._api.create_namespaced_event(metadata["namespace"], event)  # type: ignore[arg-type]

    def _delete(self, volume: KubeObject) -> None:
        folder = Path(volume["spec"]["local"]["path"])
        if folder.parent != self._root:
            raise ClusterError(f"{folder} is not below {self._root}: it is not deleted.")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self._api.delete_persistent_volume(volume["metadata"]["name"])
        except client.ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:  # the last look deleted it
                raise
        logger.info("deleted %s", folder)


def volume_manifest(claim: KubeObject, node: str, folder: Path) -> KubeObject:
    """The volume that is `folder` on `node`, for this claim and no other."""
    spec = claim["spec"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "metadata": {
            "name": f"pvc-{claim['metadata']['uid']}",
            "annotations": {PROVISIONED_BY: PROVISIONER},
        },
        "spec": {
            "storageClassName": spec["storageClassName"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": spec["volumeMode"],
            "persistentVolumeReclaimPolicy": "Delete",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "claimRef": _reference_to(claim),
        },
    }


def _content(answer: object) -> KubeObject:
    """The list that the API server has sent, which nobody has made objects of. Raises ClusterError where it is none."""
    if not isinstance(answer, urllib3.BaseHTTPResponse):
        raise ClusterError(f"The API server's answer is no list: {answer!r}")
    if answer.status != HTTPStatus.OK:
        raise ClusterError(f"The API server answers {answer.status}: {answer.data!r}")
    content: KubeObject = json.loads(answer.data)
    return content


def _try(work: Callable[[KubeObject], None], obj: KubeObject) -> None:
    """Do the work for one object; that it fails keeps nobody else from a volume, and it is tried again."""
    try:
        work(obj)
    except Exception:
        logger.exception("trying %s again", obj["metadata"]["name"])


def _reference_to(claim: KubeObject) -> KubeObject:
    kept = {key: claim["metadata"][key] for key in ("namespace", "name", "uid")}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **kept}


def main(arguments: Sequence[str] | None = None) -> None:
    """Look again and again; what fails is said and tried again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config.load_kube_config(options.kubeconfig)  # type: ignore[no-untyped-call]
    provisioner = Provisioner(client.CoreV1Api(), options.folder)
    while True:
        try:
            looked = provisioner.look()
            time.sleep(PAUSE_SECONDS)
            provisioner.wait_for_a_claim(looked)
        except Exception:
            logger.exception("trying again")
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
