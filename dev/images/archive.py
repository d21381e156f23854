"""An OCI archive under a full image name, with uncompressed layers: a node on the same machine reads it fastest."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from dev.images.failures import ImageError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DEFAULT_REGISTRY = "docker.io"
OF_DOCKER = ("manifest.json", "repositories")
"""What only Docker reads, and what says the image's name a second time."""


def write_oci_archive(folder: Path, name: str, archive: Path) -> None:
    """Pack what `buildah push dir:<folder>` left there.

    Args:
        folder: holds `manifest.json` and one file per blob, named by its digest.
        name: of the image, for example `tracking-operator/mlflow:3.17.2`; pods find it under this name.
        archive: the file to write; whole, or not at all.
    """
    manifest = (folder / "manifest.json").read_bytes()
    aside = archive.with_name(f".{archive.name}.writing")
    try:
        with tarfile.open(aside, "w") as tar:
            _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            _add(tar, "index.json", _json(_index(manifest, full_name(name))))
            _add(tar, _blob(hashlib.sha256(manifest).hexdigest()), manifest)
            for digest in _digests(manifest):
                tar.add(folder / digest, _blob(digest), filter=_anonymous)
        aside.rename(archive)
    finally:
        aside.unlink(missing_ok=True)


def copy_under_name(archive: Path, name: str, copy: Path) -> None:
    """Copy an OCI archive, or one of Docker's that is one as well, and call its image by another name.

    Raises:
        ImageError: it is no OCI archive.
    """
    with tarfile.open(archive) as source, tarfile.open(copy, "w") as target:
        if "oci-layout" not in source.getnames():
            raise ImageError(
                f"{archive} is no OCI archive: `docker save` writes one since Docker 25. Update Docker, or build with buildah."
            )
        for entry in source:
            if entry.name in OF_DOCKER:
                continue
            content = source.extractfile(entry) if entry.isfile() else None
            if content is not None and entry.name == "index.json":
                _add(target, entry.name, _json(_renamed(json.load(content), full_name(name))))
            else:
                target.addfile(_anonymous(entry), content)


def full_name(name: str) -> str:
    """The name as containerd stores it: with a registry in front, which has a dot or a port."""
    registry = name.partition("/")[0]
    return name if "." in registry or ":" in registry else f"{DEFAULT_REGISTRY}/{name}"


def _index(manifest: bytes, name: str) -> dict[str, object]:
    described = {
        "mediaType": MANIFEST,
        "digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        "size": len(manifest),
    }
    return _renamed({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}, name)


def _renamed(index: dict[str, Any], name: str) -> dict[str, object]:
    # The first is containerd's own, the second the standard's.
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    return index | {
        "manifests": [one | {"annotations": one.get("annotations", {}) | names} for one in index["manifests"]]
    }


def _digests(manifest: bytes) -> list[str]:
    parsed = json.loads(manifest)
    found = [blob["digest"].removeprefix("sha256:") for blob in [parsed["config"], *parsed["layers"]]]
    return list(dict.fromkeys(found))


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
