"""The programs of pods as one archive, in one immutable ConfigMap per namespace that is named by the archive's digest.

Whatever names a digest gets exactly these programs: a new operator makes another ConfigMap beside the first, and no
command line has to be understood by two releases (decision 0039).
"""

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from tracking_operator.api.labels_and_annotations import (
    COMPONENT_LABEL,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
    TOOLS_DIGEST_LENGTH,
    TOOLS_FILE,
    TOOLS_PREFIX,
)
from tracking_operator.resources.server_model import KubeObject

TOOLS_NAME: Final = re.compile(f"{TOOLS_PREFIX}[0-9a-f]{{{TOOLS_DIGEST_LENGTH}}}")
TOOLS_COMPONENT: Final = "pod-tools"

PACKAGE: Final = "tracking_operator"
FOLDER: Final = "pod_tools"
SHARED: Final = ("__init__.py", "object_removal.py", "outcomes.py", "store_answers.py")
"""What of the package itself goes into the archive; it may use the standard library only."""

MAIN: Final = f"from {PACKAGE}.{FOLDER}.__main__ import main\n\nmain()\n"
EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
READABLE: Final = 0o644
UNIX: Final = 3


@dataclass(frozen=True)
class ToolsArchive:
    """An archive as the Kubernetes API has it: in base64."""

    text: str

    @cached_property
    def name(self) -> str:
        """What its ConfigMap is called, in whatever namespace."""
        return f"{TOOLS_PREFIX}{digest_of(self.text)}"

    @property
    def content(self) -> bytes:
        """The file in the pod."""
        return base64.b64decode(self.text)


def digest_of(text: str) -> str:
    """Return the digest of an archive in base64: a ConfigMap is compared with its name without being decoded."""
    return hashlib.sha256(text.encode()).hexdigest()[:TOOLS_DIGEST_LENGTH]


def is_tools_name(name: str) -> bool:
    """Whether a ConfigMap of this name is one of ours, of whatever release."""
    return TOOLS_NAME.fullmatch(name) is not None


@cache
def current_archive() -> ToolsArchive:
    """The archive of this release."""
    return archive_of(own_sources())


def archive_of(sources: Mapping[str, bytes]) -> ToolsArchive:
    """Pack sources, by their paths. The same ones give the same bytes, whenever and wherever they are packed.

    Only another zlib compresses otherwise. Then the digest is another one, too, and nobody takes one for the other.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, source in sorted(sources.items()):
            entry = zipfile.ZipInfo(path, EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = READABLE << 16
            archive.writestr(entry, source, zipfile.ZIP_DEFLATED, compresslevel=9)
    return ToolsArchive(base64.b64encode(buffer.getvalue()).decode())


def own_sources() -> dict[str, bytes]:
    """What this release packs: the programs under the name that they have here, and what starts one."""
    package = files(PACKAGE)
    sources = {"__main__.py": MAIN.encode()}
    sources |= {f"{PACKAGE}/{name}": (package / name).read_bytes() for name in SHARED}
    return sources | _modules_of(package / FOLDER, f"{PACKAGE}/{FOLDER}")


def _modules_of(folder: Traversable, path: str) -> dict[str, bytes]:
    modules = [one for one in folder.iterdir() if one.name.endswith(".py")]
    return {f"{path}/{module.name}": module.read_bytes() for module in modules}


def build_tools_config_map(namespace: str) -> KubeObject:
    """Build the ConfigMap with this release's archive. All servers of a namespace share it, and none owns it.

    Its label for a server is empty: so the watch of servers' objects sees it, and finds it in the name of none.
    """
    archive = current_archive()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": archive.name, "namespace": namespace, "labels": dict(TOOLS_LABELS)},
        "binaryData": {TOOLS_FILE: archive.text},
        "immutable": True,
    }


TOOLS_LABELS: Final[Mapping[str, str]] = {
    "app.kubernetes.io/name": "mlflow",
    COMPONENT_LABEL: TOOLS_COMPONENT,
    MANAGED_BY_LABEL: FIELD_MANAGER,
    SERVER_LABEL: "",
}
