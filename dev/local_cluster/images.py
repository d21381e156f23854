"""Bringing image archives into the cluster's containerd."""

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from dev.local_cluster.commands import plain_environment, run
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import Layout

NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def load_archive(layout: Layout, archive: Path) -> None:
    """Import an OCI or Docker archive, unless the node has all of its images already.

    Pods with `imagePullPolicy: IfNotPresent` then find them under the names that the archive gives them.
    """
    if not archive.is_file():
        raise ClusterError(
            f"{archive} is no file; give the path of an OCI archive, for example one of `make images`."
        )
    inside = images_in(archive)
    there = _digests(layout)
    if not inside or any(there.get(name) != digest for name, digest in inside.items()):
        _ctr(layout, "images", "import", "--digests=false", archive)


def load_archives(layout: Layout, archives: Iterable[Path]) -> None:
    """Import several archives."""
    for archive in archives:
        load_archive(layout, archive)


def images_in(archive: Path) -> dict[str, str]:
    """The digest of each image in an OCI archive, by full name; empty if the archive does not tell."""
    with tarfile.open(archive) as tar:
        try:
            index = tar.extractfile("index.json")
        except KeyError:  # an archive of `docker save`
            return {}
        manifests = json.load(index)["manifests"] if index else []
    named = {_name(manifest): str(manifest["digest"]) for manifest in manifests}
    return {} if "" in named else named


def _name(manifest: dict[str, dict[str, str]]) -> str:
    annotations = manifest.get("annotations", {})
    return next((annotations[key] for key in NAME_ANNOTATIONS if key in annotations), "")


def _digests(layout: Layout) -> dict[str, str]:
    """The digest of each image of the node, by full name: columns 1 and 3 below the heading."""
    rows = [line.split() for line in _ctr(layout, "images", "list").splitlines()[1:]]
    return {row[0]: row[2] for row in rows if len(row) > 2}  # noqa: PLR2004


def _ctr(layout: Layout, *arguments: str | Path) -> str:
    address = f"--address={layout.containerd_socket}"
    return run("ctr", address, "--namespace=k8s.io", *arguments, env=plain_environment())
