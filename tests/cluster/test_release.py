"""`make release` on a copy of this tree: what it writes, and that Helm and kubectl would apply the same.

Nothing here asks a cluster: it takes Helm, kubectl and, for the plugin, the package index.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dev.deploy import NAMESPACE
from dev.images.recipes import ROOT, mlflow_versions
from dev.local_cluster.versions import pinned
from dev.release.manifests import write_manifests
from dev.release.sbom import contents, write_sboms
from dev.release.version import version_of
from dev.uv import uv_program
from tests.helm_chart import helm, objects_in, without
from tests.waiting import patient

VERSION = version_of(ROOT)
REGISTRY = "registry.example.com/ml"
URL = f"https://downloads.example.com/v{VERSION}"
SECONDS = 300.0
EPOCH = 1_800_000_000
LISTS = {
    f"{image}.{kind}.json"
    for image in ("operator", *(f"mlflow-{version}" for version in mlflow_versions()))
    for kind in ("cdx", "spdx")
}


class Tree:
    """A copy of this tree, as it is now, in a repository of its own with one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
                shutil.copymode(ROOT / name, folder / name)
        self._git("init", "--quiet")
        self.commit()

    def commit(self) -> None:
        """Make everything part of a commit, always at the same time."""
        self._git("add", ".")
        self._git("commit", "--quiet", "--message", "x")

    def run(self, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of the tree."""
        environment = os.environ | {
            "PYTHONPATH": f"{self.folder}{os.pathsep}{self.folder / 'operator'}",
            "UV": shutil.which(uv_program()) or uv_program(),
        }
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patient(SECONDS),
            check=False,
        )

    def _git(self, *arguments: str) -> None:
        day = f"@{EPOCH} +0000"
        author = {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.com", "GIT_AUTHOR_DATE": day}
        committer = {name.replace("AUTHOR", "COMMITTER"): value for name, value in author.items()}
        command = ["git", "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(command, cwd=self.folder, env=os.environ | author | committer, check=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("tree"))


def release(tree: Tree, *options: str) -> Path:
    """Release the tree without images, and return the folder."""
    done = tree.run("dev.release", VERSION, "--images", "false", *options)
    assert done.returncode == 0, done.stderr
    return tree.folder / "dist" / VERSION


@pytest.fixture(scope="module")
def released(tree: Tree) -> Path:
    return release(tree, "--registry", REGISTRY, "--release-url", URL, "--homepage", "https://example.com")


def test_everything_but_images_is_there_with_its_checksum(released: Path) -> None:
    expected = {
        *("install.yaml", "crds.yaml", f"tracking-operator-{VERSION}.tgz", "release-notes.md"),
        *("kubectl-tracking", f"kubectl-tracking-{VERSION}.tar.gz", "tracking.yaml", *LISTS),
    }
    sums = (released / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in sums} == expected
    assert {path.name for path in released.iterdir()} == {*expected, "SHA256SUMS"}
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=released, check=False).returncode == 0


def test_krew_is_sent_to_the_released_archive(released: Path) -> None:
    manifest = yaml.safe_load((released / "tracking.yaml").read_text())
    assert {one["uri"] for one in manifest["spec"]["platforms"]} == {
        f"{URL}/kubectl-tracking-{VERSION}.tar.gz"
    }


def test_the_released_plugin_says_its_version(released: Path, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, released / "kubectl-tracking", "--version"],
        env=os.environ | {"SHIV_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == f"kubectl tracking {VERSION}\n"


def test_manifests_name_the_released_images(released: Path) -> None:
    (deployment,) = (
        one
        for one in yaml.load_all((released / "install.yaml").read_text(), Loader=yaml.CSafeLoader)
        if one["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{REGISTRY}/operator:{VERSION}"
    mlflow = {"name": "TRACKING_OPERATOR_IMAGE_REPOSITORY", "value": f"{REGISTRY}/mlflow"}
    assert mlflow in container["env"]


def test_the_released_definitions_are_those_of_the_tree(released: Path) -> None:
    parts = yaml.load_all((released / "crds.yaml").read_text(), Loader=yaml.CSafeLoader)
    assert {one["metadata"]["name"] for one in parts} == {
        "trackingservers.tracking-operator.dev",
        "trackingserverclasses.tracking-operator.dev",
    }


def test_helm_reads_the_released_chart_and_gives_what_kubectl_applies(released: Path) -> None:
    chart = str(released / f"tracking-operator-{VERSION}.tgz")
    options = ("--namespace", NAMESPACE, "--kube-version", pinned("kubernetes"))
    applied = without(objects_in((released / "install.yaml").read_text()).values(), "Namespace")
    assert objects_in(helm("template", "tracking-operator", chart, *options)) == applied
    assert f"appVersion: {VERSION}" in helm("show", "chart", chart)


def test_manifests_chart_and_lists_are_the_same_bytes_when_made_again(released: Path, tmp_path: Path) -> None:
    """The plugin takes longer: `make campaign` builds it twice."""
    made = write_manifests(tmp_path, REGISTRY)
    made += [file for one in contents(ROOT) for file in write_sboms(one, tmp_path, EPOCH)]
    assert {path.name for path in made} >= LISTS
    for path in made:
        assert path.read_bytes() == (released / path.name).read_bytes(), path.name


@pytest.mark.campaign
def test_a_copy_of_the_tree_elsewhere_gives_the_same_bytes(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        again = release(
            Tree(tmp_path / "another"),
            *("--registry", REGISTRY, "--release-url", URL, "--homepage", "https://example.com"),
        )
    finally:
        os.umask(before)
    assert (again / "SHA256SUMS").read_text() == (released / "SHA256SUMS").read_text()


def test_the_next_version_is_named_everywhere_and_keeps_the_notes_of_the_last(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    done = tree.run("dev.release.next_version", "77.0.0")
    assert done.returncode == 0, done.stderr
    log = (tree.folder / "CHANGELOG.md").read_text()
    assert f"## {VERSION} (" in log
    assert [path.name for path in (tree.folder / "changes").glob("*.md")] == ["README.md"]
    back = tree.run("dev.release.next_version", VERSION)
    assert f"{VERSION} does not come after 77.0.0" in back.stderr
    tree.commit()
    refused = tree.run("dev.release", "77.0.0", "--images", "false")
    assert "77.0.0 has no release notes: write what changes for users" in refused.stderr
