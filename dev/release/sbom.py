"""What an image is made of, from its lock: as CycloneDX, which uv writes, and as SPDX, which follows from it.

Both name every package of the lock with its version and the hashes of its files. Debian's packages are in neither:
they are those of the day on which the image was built.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.writer.json.json_writer import write_document_to_file

from dev.images.recipes import mlflow_versions
from dev.release import ReleaseError
from dev.uv import uv_program

Component = Mapping[str, Any]
NAMESPACE: Final = "https://tracking-operator.dev/sbom"
"""In front of what tells one document from all others; nothing has to answer there."""
DOCUMENT: Final = "SPDXRef-DOCUMENT"


@dataclass(frozen=True)
class Contents:
    """An image, and the folder with the lock that says what it holds."""

    image: str
    folder: Path


def contents(root: Path) -> list[Contents]:
    """Those of the operator and of each MLflow that is offered."""
    servers = [
        Contents(f"mlflow-{one}", root / "dev" / "images" / "mlflow" / one) for one in mlflow_versions(root)
    ]
    return [Contents("operator", root), *servers]


def write_sboms(one: Contents, folder: Path, epoch: int) -> list[Path]:
    """Write both documents of an image."""
    bom = cyclonedx(one, epoch)
    files = [folder / f"{one.image}.cdx.json", folder / f"{one.image}.spdx.json"]
    files[0].write_text(json.dumps(bom, indent=2) + "\n")
    write_document_to_file(spdx(one, bom, epoch), str(files[1]))
    return files


def cyclonedx(one: Contents, epoch: int) -> dict[str, Any]:
    """The document that uv writes, with the time of the release and a number that follows from the content."""
    export = ["export", "--frozen", "--no-dev", "--format", "cyclonedx1.5"]
    quiet = ["--quiet", "--preview-features", "sbom-export"]
    done = subprocess.run(
        [uv_program(), *export, *quiet], cwd=one.folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(f"uv cannot say what {one.folder}/uv.lock holds: {done.stderr.strip()}")
    bom: dict[str, Any] = json.loads(done.stdout)
    bom["metadata"]["timestamp"] = _time(epoch).isoformat().replace("+00:00", "Z")
    del bom["serialNumber"]
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
    return bom


def spdx(one: Contents, bom: Mapping[str, Any], epoch: int) -> Document:
    """The same as SPDX 2.3."""
    root = bom["metadata"]["component"]
    components = [root, *bom["components"]]
    return Document(
        creation_info=CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id=DOCUMENT,
            name=f"{one.image}-{root['version']}",
            document_namespace=f"{NAMESPACE}/{one.image}/{bom['serialNumber'].removeprefix('urn:uuid:')}",
            creators=[Actor(ActorType.TOOL, "tracking-operator-release")],
            created=_time(epoch).replace(tzinfo=None),
            data_license="CC0-1.0",
        ),
        packages=[_package(component) for component in components],
        relationships=[
            Relationship(DOCUMENT, RelationshipType.DESCRIBES, _identifier(root["bom-ref"])),
            *_dependencies(bom),
        ],
    )


def _package(component: Component) -> Package:
    files = [one for one in component.get("externalReferences", ()) if one["type"] == "distribution"]
    purl = component.get("purl")
    return Package(
        spdx_id=_identifier(component["bom-ref"]),
        name=component["name"],
        version=component["version"],
        download_location=files[0]["url"] if files else SpdxNoAssertion(),
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, _sha256(files[0]))] if files else [],
        external_references=[
            ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", locator)
            for locator in ([purl] if purl else [])
        ],
    )


def _sha256(file: Mapping[str, Any]) -> str:
    return next(str(one["content"]) for one in file["hashes"] if one["alg"] == "SHA-256")


def _dependencies(bom: Mapping[str, Any]) -> Iterator[Relationship]:
    for one in bom["dependencies"]:
        for other in one.get("dependsOn", ()):
            yield Relationship(_identifier(one["ref"]), RelationshipType.DEPENDS_ON, _identifier(other))


def _identifier(reference: str) -> str:
    """Letters, digits, dots and dashes are all that SPDX permits."""
    return f"SPDXRef-{reference.replace('@', '-').replace('_', '-').replace('+', '-')}"


def _time(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
