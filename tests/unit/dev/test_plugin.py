"""The plugin of kubectl, as far as nothing has to be installed: its archive, its manifest for krew, and whom it refuses."""

import hashlib
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from dev.images.recipes import ROOT
from dev.plugin import (
    ALL_TARGETS,
    NAME,
    PREAMBLE,
    krew_manifest,
    main,
    pack,
    requirement,
    version,
)

URL = "https://downloads.example.com/v1.2.3/kubectl-tracking.tar.gz"
HOMEPAGE = "https://example.com"

# What krew asks of a manifest: sigs.k8s.io/krew, pkg/index/indexscanner and internal/index/validation/validate.go.
SAFE_NAME = r"[\w-]+"
SEMANTIC_VERSION = r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?"
SHA256 = r"[0-9a-f]{64}"
LONGEST_SUMMARY = 50
"""Longer ones are cut in `kubectl krew search` (https://krew.sigs.k8s.io/docs/developer-guide/develop/style-guide/)."""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A file in the place of the built one."""
    file = tmp_path / NAME
    file.write_bytes(b"#!/usr/bin/env python3\n")
    return file


@pytest.fixture
def archive(program: Path) -> Path:
    """The archive of that file."""
    return pack(program, program.with_suffix(".tar.gz"))


def test_the_archive_has_the_program_and_the_licence(archive: Path) -> None:
    with tarfile.open(archive) as packed:
        found = {entry.name: (entry.mode, entry.uid, entry.mtime) for entry in packed}
    assert found == {NAME: (0o755, 0, 0), "LICENSE": (0o644, 0, 0)}


def test_the_same_program_gives_the_same_archive(program: Path, archive: Path) -> None:
    assert pack(program, archive.with_name("again.tar.gz")).read_bytes() == archive.read_bytes()


def test_the_manifest_is_one_that_krew_takes(archive: Path) -> None:
    manifest = yaml.safe_load(yaml.safe_dump(krew_manifest(archive, URL, HOMEPAGE)))
    assert manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert manifest["kind"] == "Plugin"
    assert re.fullmatch(SAFE_NAME, manifest["metadata"]["name"])
    spec = manifest["spec"]
    assert set(spec) == {
        "version",
        "homepage",
        "shortDescription",
        "description",
        "caveats",
        "platforms",
    }
    assert re.fullmatch(SEMANTIC_VERSION, spec["version"])
    assert spec["homepage"] == HOMEPAGE
    assert len(spec["shortDescription"]) <= LONGEST_SUMMARY
    assert not spec["shortDescription"].endswith(".")
    assert spec["platforms"]


def test_each_platform_gets_the_built_file_by_its_digest(archive: Path) -> None:
    manifest = krew_manifest(archive, URL, HOMEPAGE)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with tarfile.open(archive) as packed:
        files = packed.getnames()
    for platform in manifest["spec"]["platforms"]:
        assert set(platform) == {"selector", "uri", "sha256", "bin"}
        assert set(platform["selector"]["matchLabels"]) == {"os", "arch"}
        assert platform["uri"] == URL
        assert re.fullmatch(SHA256, platform["sha256"])
        assert platform["sha256"] == digest
        assert platform["bin"] in files


def test_krew_calls_the_program_as_kubectl_looks_for_it(archive: Path) -> None:
    """krew links `kubectl-NAME` to the program, with dashes of the name as underscores."""
    name = krew_manifest(archive, URL, HOMEPAGE)["metadata"]["name"]
    assert f"kubectl-{name.replace('-', '_')}" == NAME


def test_the_version_is_the_projects(archive: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version() == project["version"]
    assert krew_manifest(archive, URL, HOMEPAGE)["spec"]["version"] == f"v{project['version']}"


def test_all_pythons_that_the_project_permits_are_targets() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f">={ALL_TARGETS[0].python}" == oldest


def test_a_library_is_found_among_the_requirements_with_its_hashes() -> None:
    requirements = (
        "pydantic==2.0 \\\n    --hash=sha256:aa\npydantic-core==2.5 \\\n    --hash=sha256:bb \\\n"
        "    --hash=sha256:cc\nyarl==1.0 \\\n    --hash=sha256:dd\n"
    )
    assert requirement(requirements, "pydantic_core") == (
        "pydantic-core==2.5 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    )


def test_a_python_that_it_is_not_made_for_is_told_which_ones_are() -> None:
    without_packages = [sys.executable, "-I", "-S", "-c", PREAMBLE]
    refused = subprocess.run(without_packages, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert re.fullmatch(r"kubectl tracking runs with Python 3\.11 to 3\.\d+ .*\n", refused.stderr)
    fits = subprocess.run([sys.executable, "-c", PREAMBLE], capture_output=True, text=True, check=False)
    assert (fits.returncode, fits.stderr) == (0, "")


def test_the_preamble_is_read_by_old_pythons() -> None:
    """It has to say its sentence there: no syntax and no module of later ones."""
    compile(PREAMBLE, "preamble.py", "exec", dont_inherit=True)
    assert 'f"' not in PREAMBLE
    assert ":=" not in PREAMBLE


def test_the_command_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--release-url" in capsys.readouterr().out
