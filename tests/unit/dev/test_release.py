"""A release: what refuses it, and that the same commit gives the same bytes, which name what the locks have."""

import hashlib
import json
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.version import Version
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from dev.images.archive import copy_under_name, full_name
from dev.images.failures import ImageError
from dev.images.recipes import ROOT, operator_recipe
from dev.packing import Entry, tar_gz
from dev.release import ReleaseError
from dev.release.__main__ import main, write_checksums
from dev.release.notes import fragments, release_notes
from dev.release.sbom import Contents, contents, write_sboms
from dev.release.version import (
    DEPLOYMENT,
    check_tree,
    check_versions,
    checked_version,
    named_versions,
    source_date_epoch,
    version_of,
)
from tracking_operator.cli import kubectl_program, operator_program

VERSION = version_of(ROOT)
EPOCH = 1_800_000_000
OPERATOR = Contents("operator", ROOT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the files that name the version, in one commit."""
    for where in named_versions(ROOT):
        name = where.partition(",")[0]
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for arguments in (["init", "--quiet"], ["add", "."], [*author(), "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def author() -> list[str]:
    return ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]


class TestVersion:
    def test_all_that_names_the_version_agrees(self) -> None:
        assert set(named_versions(ROOT).values()) == {VERSION}
        assert operator_recipe().version == VERSION
        assert Version(installed_version("tracking-operator")) == Version(VERSION)

    @pytest.mark.parametrize("program", [kubectl_program, operator_program])
    def test_programs_say_that_version(self, program: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            program.main(["--version"])
        assert Version(capsys.readouterr().out.split()[-1]) == Version(VERSION)

    @pytest.mark.parametrize("text", ["0.1.0", "1.2.3-rc.1", "10.0.0-a.2"])
    def test_versions_are_those_of_semver(self, text: str) -> None:
        assert checked_version(text) == text

    @pytest.mark.parametrize(
        "text", ["", "v1.2.3", "1.2", "01.2.3", "1.2.3+5", "1.2.3-", "1.2.3-01", "latest"]
    )
    def test_others_are_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(
            ReleaseError, match=r"is no version: write MAJOR\.MINOR\.PATCH .* VERSION=1\.2\.3"
        ):
            checked_version(text)

    def test_what_python_cannot_read_is_refused(self) -> None:
        with pytest.raises(ReleaseError, match=r"Python cannot read: write releases before 1\.2\.3 with"):
            checked_version("1.2.3-nightly.five")

    def test_a_file_that_names_another_version_is_named(self, tree: Path) -> None:
        check_versions(VERSION, tree)
        file = tree / DEPLOYMENT
        file.write_text(file.read_text().replace(f"operator:{VERSION}", "operator:9.9.9"))
        with pytest.raises(ReleaseError, match=rf"released: {DEPLOYMENT}, image says 9\.9\.9\. `make next-v"):
            check_versions(VERSION, tree)

    def test_a_version_that_the_tree_does_not_have_is_refused(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["99.0.0", "--images", "false"]) == 1
        assert f"99.0.0 cannot be released: pyproject.toml says {VERSION}; uv.lock" in capsys.readouterr().err


class TestTree:
    def test_a_tree_with_changes_is_refused_with_their_names(self, tree: Path) -> None:
        check_tree(tree)
        (tree / "pyproject.toml").write_text("")
        (tree / "new").write_text("")
        with pytest.raises(ReleaseError, match=r"Nothing is released: pyproject\.toml, new changed since"):
            check_tree(tree)

    def test_what_is_no_repository_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ReleaseError, match="is no Git repository with a commit"):
            check_tree(tmp_path)

    def test_the_time_is_that_of_the_commit_or_what_the_variable_says(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
        log = ["git", "log", "-1", "--format=%ct"]
        committed = subprocess.run(log, cwd=tree, capture_output=True, text=True, check=True).stdout
        assert source_date_epoch(tree) == int(committed)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
        assert source_date_epoch(tree) == 5


def locked(folder: Path) -> dict[tuple[str, str], set[str]]:
    """What a lock installs without its groups: name and version, and the hashes of the files."""
    lock = tomllib.loads((folder / "uv.lock").read_text())["package"]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]
    found: dict[tuple[str, str], set[str]] = {}
    seen: set[tuple[str, str | None, tuple[str, ...]]] = set()

    def add(name: str, version: str | None, extras: tuple[str, ...]) -> None:
        if (name, version, extras) in seen:
            return
        seen.add((name, version, extras))
        for one in lock:
            if one["name"] == name and version in (None, one["version"]):
                files = [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else ())]
                found[name, one["version"]] = {file["hash"].removeprefix("sha256:") for file in files}
                for other in needed(one, extras):
                    add(other["name"], other.get("version"), tuple(other.get("extra", ())))

    add(project, None, ())
    return {key: hashes for key, hashes in found.items() if key[0] != project}


def needed(package: dict[str, Any], extras: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    yield from package.get("dependencies", ())
    for extra in extras:
        yield from package.get("optional-dependencies", {}).get(extra, ())


class TestLists:
    @pytest.mark.parametrize("one", contents(ROOT), ids=lambda one: one.image)
    def test_they_name_what_the_lock_has_with_its_hashes(self, one: Contents, tmp_path: Path) -> None:
        cyclonedx, spdx = write_sboms(one, tmp_path, EPOCH)
        expected = locked(one.folder)
        bom = json.loads(cyclonedx.read_text())
        assert {
            (part["name"], part["version"]): {
                each["content"] for file in part["externalReferences"] for each in file["hashes"]
            }
            for part in bom["components"]
        } == expected
        document = json.loads(spdx.read_text())
        root, *packages = document["packages"]
        assert root["name"] == bom["metadata"]["component"]["name"]
        assert {(part["name"], part["versionInfo"]) for part in packages} == expected.keys()
        for part in packages:
            assert part["checksums"][0]["checksumValue"] in expected[part["name"], part["versionInfo"]]
        assert {"pytest", "zizmor"}.isdisjoint(name for name, _ in expected)

    def test_they_are_the_same_bytes_each_time(self, tmp_path: Path) -> None:
        folders = (tmp_path / "a", tmp_path / "b")
        for folder in folders:
            folder.mkdir()
            write_sboms(OPERATOR, folder, EPOCH)
        first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
        assert first == second
        assert len(first) == 2

    def test_spdx_is_what_its_own_library_takes(self, tmp_path: Path) -> None:
        _, spdx = write_sboms(OPERATOR, tmp_path, EPOCH)
        assert validate_full_spdx_document(parse_file(str(spdx))) == []

    def test_cyclonedx_is_what_its_schema_asks_for(self, tmp_path: Path) -> None:
        """Of two packages: the schema compares each with each, which takes minutes for all of them."""
        cyclonedx, _ = write_sboms(OPERATOR, tmp_path, EPOCH)
        bom = json.loads(cyclonedx.read_text())
        bom["components"] = [
            part | {"externalReferences": part["externalReferences"][:2]} for part in bom["components"][:2]
        ]
        bom["dependencies"] = bom["dependencies"][:2]
        validator = JsonStrictValidator(SchemaVersion.V1_5)
        assert validator.validate_str(json.dumps(bom)) is None
        assert validator.validate_str(json.dumps(bom | {"serialNumber": "none"})) is not None


class TestNotes:
    def test_they_have_every_fragment_under_the_version_and_the_day(self) -> None:
        notes = release_notes(ROOT, VERSION, EPOCH)
        assert notes.startswith(f"## {VERSION} (2027-01-15)\n")
        told = " ".join(notes.split())
        assert fragments(ROOT)
        for fragment in fragments(ROOT):
            assert " ".join(fragment.read_text().split()) in told

    def test_a_version_of_which_nobody_wrote_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ReleaseError, match=r"9\.0\.0 has no release notes: write what changes for users"):
            release_notes(tmp_path, "9.0.0", EPOCH)


class TestFiles:
    def test_an_archive_has_no_time_and_no_owner(self) -> None:
        assert tar_gz([Entry("a", b"1")]) == tar_gz([Entry("a", b"1")])
        assert tar_gz([Entry("a", b"1")]) != tar_gz([Entry("a", b"1", 0o755)])

    def test_checksums_are_what_sha256sum_checks(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("1")
        sums = write_checksums(tmp_path)
        check = ["sha256sum", "--check", "--strict", sums.name]
        assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 0
        (tmp_path / "a").write_text("2")
        assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1

    def test_an_image_gets_the_name_of_the_release_and_keeps_its_digest(self, tmp_path: Path) -> None:
        manifest = b'{"config": {}}'
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        described = {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": "x", "kept": "y"}}
        files = {
            "oci-layout": b"{}",
            "index.json": json.dumps({"manifests": [described]}).encode(),
            "manifest.json": b"[]",
            f"blobs/sha256/{digest[7:]}": manifest,
        }
        built, copy = tmp_path / "built.tar", tmp_path / "copy.tar"
        write_archive(built, files)
        copy_under_name(built, "tracking-operator/operator:1.2.3", copy)
        with tarfile.open(copy) as found:
            assert set(found.getnames()) == files.keys() - {"manifest.json"}
            index = json.load(found.extractfile("index.json") or pytest.fail("no index"))
        (one,) = index["manifests"]
        assert one["digest"] == digest
        assert one["annotations"] == {
            "io.containerd.image.name": full_name("tracking-operator/operator:1.2.3"),
            "org.opencontainers.image.ref.name": full_name("tracking-operator/operator:1.2.3"),
            "kept": "y",
        }

    def test_an_archive_that_only_docker_reads_is_refused(self, tmp_path: Path) -> None:
        write_archive(tmp_path / "built.tar", {"manifest.json": b"[]"})
        with pytest.raises(ImageError, match="is no OCI archive: `docker save` writes one since Docker 25"):
            copy_under_name(tmp_path / "built.tar", "a:1", tmp_path / "copy.tar")


def write_archive(file: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        place = file.parent / "content" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    with tarfile.open(file, "w") as tar:
        for name in files:
            tar.add(file.parent / "content" / name, name)
