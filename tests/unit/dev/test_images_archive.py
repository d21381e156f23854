"""The archive is one that containerd imports under the name that pods use."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from dev.images.archive import write_oci_archive

CONFIG = b'{"os": "linux"}'
LAYER = b"a layer"


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    """What `buildah push dir:` leaves: a manifest, and blobs named by their digests; one layer occurs twice."""
    folder = tmp_path / "pushed"
    folder.mkdir()
    for blob in (CONFIG, LAYER):
        (folder / _hex(blob)).write_bytes(blob)
    layer = {"digest": f"sha256:{_hex(LAYER)}", "size": len(LAYER)}
    manifest = {"config": {"digest": f"sha256:{_hex(CONFIG)}"}, "layers": [layer, layer]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return folder


def test_the_index_names_the_image_in_full(pushed: Path, tmp_path: Path) -> None:
    index = json.loads(_members(pushed, tmp_path)["index.json"])
    (described,) = index["manifests"]
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/tracking-operator/mlflow:3.17.2"
    assert described["digest"] == f"sha256:{_hex((pushed / 'manifest.json').read_bytes())}"


def test_every_blob_is_there_once_under_its_own_digest(pushed: Path, tmp_path: Path) -> None:
    members = _members(pushed, tmp_path)
    blobs = {name: content for name, content in members.items() if name.startswith("blobs/")}
    assert len(blobs) == len({"config", "layer", "manifest"})
    assert all(name == f"blobs/sha256/{_hex(content)}" for name, content in blobs.items())


def test_an_archive_is_whole_or_not_there(pushed: Path, tmp_path: Path) -> None:
    (pushed / _hex(LAYER)).unlink()
    archive = tmp_path / "image.tar"
    with pytest.raises(FileNotFoundError):
        write_oci_archive(pushed, "tracking-operator/mlflow:3.17.2", archive)
    assert list(tmp_path.glob("*image.tar*")) == []


def _members(pushed: Path, tmp_path: Path) -> dict[str, bytes]:
    archive = tmp_path / "image.tar"
    write_oci_archive(pushed, "tracking-operator/mlflow:3.17.2", archive)
    with tarfile.open(archive) as tar:
        names = [entry.name for entry in tar]
        assert len(names) == len(set(names))
        return {name: _content(tar, name) for name in names}


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
