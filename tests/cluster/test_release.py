"""`make release` on a copy of this tree: what it writes, and that Helm and kubectl would apply the same.

Nothing here asks a cluster: it takes Helm, kubectl and, for the plugin, the package index.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from dev.deploy import NAMESPACE
from dev.images.recipes import ROOT, mlflow_versions
from dev.local_cluster.binaries import kubectl, published_program
from dev.local_cluster.versions import pinned
from dev.plugin import PLATFORMS, krew_manifest
from dev.release.manifests import write_manifests
from dev.release.sbom import contents, write_sboms
from dev.release.version import version_of
from tests.file_server import served
from tests.helm_chart import helm, objects_in, without
from tests.source_tree import EPOCH, Tree
from tests.waiting import patient

VERSION = version_of(ROOT)
REGISTRY = "registry.example.com/ml"
URL = f"https://downloads.example.com/v{VERSION}"
LISTS = {
    f"{image}.{kind}.json"
    for image in ("operator", *(f"mlflow-{version}" for version in mlflow_versions()))
    for kind in ("cdx", "spdx")
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree.of_this(tmp_path_factory.mktemp("tree"))


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


def test_krew_takes_the_manifest_and_installs_the_plugin_for_every_machine(
    released: Path, tmp_path: Path
) -> None:
    """With krew's own check of what is sent to its index, and krew itself; then kubectl runs what krew has installed."""
    with served(released) as url:
        archive = released / f"kubectl-tracking-{VERSION}.tar.gz"
        manifest = tmp_path / "tracking.yaml"
        described = krew_manifest(archive, f"{url}/{archive.name}", "https://example.com")
        manifest.write_text(yaml.safe_dump(described))
        home = with_krew(tmp_path / "home")
        checked = run([published_program("validate-krew-manifest"), "-manifest", manifest], home)
        assert f"all {len(PLATFORMS)} spec.platforms installed fine" in checked.stderr
        run(["kubectl", "krew", "install", "--manifest", manifest], home)
        assert run(["kubectl", "tracking", "--version"], home).stdout == f"kubectl tracking {VERSION}\n"
        described["spec"]["platforms"][0]["sha256"] = "0" * 64
        manifest.write_text(yaml.safe_dump(described))
        with pytest.raises(subprocess.CalledProcessError):
            run([published_program("validate-krew-manifest"), "-manifest", manifest], home)


def with_krew(home: Path) -> dict[str, str]:
    """The environment of somebody who has kubectl and krew, and nothing else of theirs."""
    programs = home / "bin"
    programs.mkdir(parents=True)
    (programs / "kubectl").symlink_to(kubectl())
    (programs / "kubectl-krew").symlink_to(published_program("krew"))
    return {"HOME": str(home), "PATH": f"{home}/.krew/bin:{programs}:{os.environ['PATH']}"}


def run(command: Sequence[str | Path], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a program, which has to succeed."""
    seconds = patient(60)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=seconds
    )


@pytest.mark.campaign
def test_the_workflows_signature_of_the_checksums_holds_until_a_file_is_another_one(
    released: Path, tmp_path: Path
) -> None:
    """The workflow's own command, with a key pair: whom GitHub certifies without one, only a workflow can be."""
    cosign = published_program("cosign")
    environment = os.environ | {
        "HOME": str(tmp_path),
        "COSIGN_PASSWORD": "of-this-test",
        "PATH": str(cosign.parent),
    }
    files = tmp_path / "files"
    shutil.copytree(released, files)

    def run_cosign(*arguments: str) -> None:
        seconds = patient(60)
        subprocess.run(
            ["cosign", *arguments],
            cwd=tmp_path,
            env=environment,
            check=True,
            timeout=seconds,
            capture_output=True,
        )

    run_cosign("generate-key-pair")
    _, *command = shlex.split(step_of_the_workflow("sign the checksums"))
    run_cosign(*command, "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false")
    verify = ("verify-blob", "--key", "cosign.pub", "--insecure-ignore-tlog", "--bundle")
    run_cosign(*verify, "files/SHA256SUMS.sigstore.json", "files/SHA256SUMS")
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=files, check=False).returncode == 0

    sums = (files / "SHA256SUMS").read_text()
    (files / "SHA256SUMS").write_text(sums.replace("install.yaml", "another.yaml"))
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        run_cosign(*verify, "files/SHA256SUMS.sigstore.json", "files/SHA256SUMS")
    assert b"signature" in refusal.value.stderr


def step_of_the_workflow(name: str) -> str:
    """What a step of the workflow that publishes runs."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    (found,) = (one for one in workflow["jobs"]["publish"]["steps"] if one.get("name") == name)
    return str(found["run"])


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
        "trackingserverbackups.tracking-operator.dev",
        "trackingserverclasses.tracking-operator.dev",
        "trackingserverclients.tracking-operator.dev",
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
            Tree.of_this(tmp_path / "another"),
            *("--registry", REGISTRY, "--release-url", URL, "--homepage", "https://example.com"),
        )
    finally:
        os.umask(before)
    assert (again / "SHA256SUMS").read_text() == (released / "SHA256SUMS").read_text()


def test_the_next_version_is_named_everywhere_and_keeps_the_notes_of_the_last(tmp_path: Path) -> None:
    tree = Tree.of_this(tmp_path)
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
