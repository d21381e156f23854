"""The small images are OCI archives whose digests are right."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.local_cluster.images import images_in
from dev.local_cluster.small_images import SmallImage, archive_of


@pytest.fixture
def archive_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    image = SmallImage(
        "docker.io/example/small:1", {"bin/program": program}, ["/bin/program"], {"bin/sh": "program"}
    )
    return archive_of(image)


@pytest.fixture
def archive(archive_file: Path) -> Iterator[tarfile.TarFile]:
    with tarfile.open(archive_file) as tar:
        yield tar


def read(archive: tarfile.TarFile, path: str) -> bytes:
    file = archive.extractfile(path)
    assert file is not None
    return file.read()


def test_every_blob_has_the_digest_it_is_named_by(archive: tarfile.TarFile) -> None:
    blobs = [name for name in archive.getnames() if name.startswith("blobs/sha256/")]
    assert len(blobs) == 3
    for blob in blobs:
        assert hashlib.sha256(read(archive, blob)).hexdigest() == blob.rpartition("/")[2]


def test_the_image_has_its_full_name_and_its_program(archive: tarfile.TarFile) -> None:
    (entry,) = json.loads(read(archive, "index.json"))["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/example/small:1"
    manifest = json.loads(read(archive, f"blobs/sha256/{entry['digest'].partition(':')[2]}"))
    config = json.loads(read(archive, f"blobs/sha256/{manifest['config']['digest'].partition(':')[2]}"))
    assert config["config"]["Entrypoint"] == ["/bin/program"]
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def test_an_archive_tells_which_images_are_in_it(archive_file: Path, archive: tarfile.TarFile) -> None:
    (entry,) = json.loads(read(archive, "index.json"))["manifests"]
    assert images_in(archive_file) == {"docker.io/example/small:1": entry["digest"]}


def test_an_archive_without_an_index_tells_nothing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "docker.tar", "w") as tar:
        tar.add(__file__, "manifest.json")
    assert images_in(tmp_path / "docker.tar") == {}
