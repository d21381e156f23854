"""`make release VERSION=x`: write dist/x, which holds everything that a version is published as.

From one commit come the same bytes each time, but for images, which take Debian's packages of the day. Ends with
  0  everything is there
  1  nothing was released; the sentence says why
"""

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from dev import plugin
from dev.images import ImageError, build_images
from dev.images.archive import copy_under_name
from dev.images.recipes import ROOT, mlflow_recipe, mlflow_versions, operator_recipe
from dev.local_cluster.failures import ClusterError
from dev.release import MLFLOW_IMAGE, OPERATOR_IMAGE, ReleaseError
from dev.release.manifests import write_manifests
from dev.release.notes import release_notes
from dev.release.sbom import contents, write_sboms
from dev.release.version import check_tree, check_versions, checked_version, source_date_epoch

CHECKSUMS: Final = "SHA256SUMS"
NOTES: Final = "release-notes.md"
PROCESSORS: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""As Python calls this machine's processor: as images do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("version", help="the version, which the files name already")
    parser.add_argument(
        "--images", choices=["true", "false", "only"], default="true", help="also images, or nothing else"
    )
    parser.add_argument("--registry", default="", metavar="NAME", help="what the images are published below")
    parser.add_argument(
        "--release-url", default="", metavar="URL", help="the folder that the files can be downloaded from"
    )
    parser.add_argument("--homepage", default="", metavar="URL", help="of the project, for krew")
    options = parser.parse_args(arguments)
    try:
        folder = _release(options)
    except (ReleaseError, ImageError, ClusterError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(
            f"Nothing is released: `{' '.join(map(str, error.cmd))}` ended with {error.returncode}.",
            file=sys.stderr,
        )
        return 1
    print(f"All of {options.version} is in {folder.relative_to(ROOT)}.")
    return 0


def write_checksums(folder: Path) -> Path:
    """Write the digest of each file of the folder, as `sha256sum --check` reads them."""
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    sums = folder / CHECKSUMS
    sums.write_text("".join(f"{_digest(path)}  {path.name}\n" for path in files))
    return sums


def _release(options: argparse.Namespace) -> Path:
    version = checked_version(options.version)
    check_versions(version, ROOT)
    check_tree(ROOT)
    folder = ROOT / "dist" / version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = [] if options.images == "only" else _write_files(folder, options)
    written += [] if options.images == "false" else _write_images(folder, version)
    for path in [*written, write_checksums(folder)]:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 2**20:.1f} MiB")
    return folder


def _write_files(folder: Path, options: argparse.Namespace) -> list[Path]:
    epoch = source_date_epoch(ROOT)
    notes = folder / NOTES
    notes.write_text(release_notes(ROOT, options.version, epoch))
    return [
        notes,
        *write_manifests(folder, options.registry),
        *(file for one in contents(ROOT) for file in write_sboms(one, folder, epoch)),
        *_write_plugin(folder, options.release_url, options.homepage),
    ]


def _write_plugin(folder: Path, url: str, homepage: str) -> list[Path]:
    program = plugin.build(folder / plugin.NAME, plugin.ALL_TARGETS)
    archive = plugin.pack(program, folder / f"{plugin.NAME}-{plugin.version()}.tar.gz")
    if not url:
        print("There is no manifest for krew: RELEASE_URL=… says where the archive will be.")
        return [program, archive]
    manifest = folder / "tracking.yaml"
    described = plugin.krew_manifest(archive, f"{url}/{archive.name}", homepage or url)
    manifest.write_text(yaml.safe_dump(described, sort_keys=False))
    return [program, archive, manifest]


def _write_images(folder: Path, version: str) -> list[Path]:
    processor = PROCESSORS[platform.machine()]
    (other,) = set(PROCESSORS.values()) - {processor}
    print(
        f"The images are for {processor}: a build runs what it installs, so those for {other} come from a machine that has it "
        "(there: IMAGES=only)."
    )
    names = {"operator": f"{OPERATOR_IMAGE}:{version}"} | {
        f"mlflow-{one}": f"{MLFLOW_IMAGE}:{one}" for one in mlflow_versions()
    }
    built = build_images([operator_recipe(), *map(mlflow_recipe, mlflow_versions())])
    archives = []
    for (image, name), found in zip(names.items(), built, strict=True):
        stem = f"{image}-{version}" if image == "operator" else image
        archives.append(folder / f"{stem}-linux-{processor}.oci.tar")
        copy_under_name(found.archive, name, archives[-1])
    return archives


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
