"""Images of a few static files, written as OCI archives: what the cluster itself needs, before any image is built."""

import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.local_cluster.binaries import Binaries
from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.versions import pinned

PAUSE_IMAGE = f"docker.io/tracking-operator/pause:{pinned('pause')}"
COREDNS_IMAGE = f"docker.io/tracking-operator/coredns:{pinned('coredns')}"
SHELL_IMAGE = "docker.io/tracking-operator/busybox:1"

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
DYNAMIC_LINKER = b"/ld-"
SHELL_PROGRAMS = """
cat chmod dd df echo env false head httpd id ls mkdir mv nc nslookup ps rm sh sleep stat sync test timeout touch true wget
"""
LAYER = "application/vnd.oci.image.layer.v1.tar"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class SmallImage:
    """An image: its full name, the files in it by their path, symbolic links, and what it runs."""

    name: str
    files: Mapping[str, Path]
    entrypoint: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def system_images(binaries: Binaries) -> list[Path]:
    """The archives of the images that the cluster itself runs, and of a small one with a shell."""
    return [
        archive_of(SmallImage(PAUSE_IMAGE, {"pause": binaries.pause}, ["/pause"])),
        archive_of(SmallImage(COREDNS_IMAGE, {"coredns": binaries.coredns}, ["/coredns"])),
        archive_of(_shell_image()),
    ]


def archive_of(image: SmallImage) -> Path:
    """The image as a cached OCI archive, which `ctr images import` and `kind load image-archive` read."""
    inputs = [image.name, *image.entrypoint, *(f"{path}={target}" for path, target in image.links.items())]
    contents = [
        f"{path}={hashlib.sha256(file.read_bytes()).hexdigest()}" for path, file in image.files.items()
    ]
    name = image.name.rpartition("/")[2].replace(":", "-")
    folder = built_once(
        "small-images",
        f"{name}-{digest_of([*inputs, *contents])}",
        lambda target: _write(image, target / "image.tar"),
    )
    return folder / "image.tar"


def _shell_image() -> SmallImage:
    """Busybox with the programs that the tests' pods use."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise ClusterError("busybox is not installed: install Debian's package busybox-static.")
    if DYNAMIC_LINKER in Path(busybox).read_bytes()[:4096]:
        raise ClusterError(
            f"{busybox} needs shared libraries: replace it by Debian's package busybox-static."
        )
    links = {f"bin/{program}": "busybox" for program in SHELL_PROGRAMS.split()}
    return SmallImage(SHELL_IMAGE, {"bin/busybox": Path(busybox)}, ["/bin/sh"], links)


def _write(image: SmallImage, archive: Path) -> None:
    layer = _layer(image)
    config = _json(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": list(image.entrypoint), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer)],
        }
    )
    names = {"org.opencontainers.image.ref.name": image.name, "io.containerd.image.name": image.name}
    index = {"schemaVersion": 2, "manifests": [{**_descriptor(MANIFEST, manifest), "annotations": names}]}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        for blob in (layer, config, manifest):
            _add(tar, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)


def _layer(image: SmallImage) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
        for path, file in image.files.items():
            _add(tar, path, file.read_bytes(), mode=0o755)
        for path, target in image.links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
