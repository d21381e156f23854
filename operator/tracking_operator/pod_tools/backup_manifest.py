"""What a stored backup consists of: a manifest, and parts that together are one tar file.

The manifest has a digest of each part, and the operator a digest of the manifest, in the status of the TrackingServerBackup:
so no byte of a backup can change unnoticed. The operator reads manifests, too. Decision 0070 has the format.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FORMAT = 1
"""The number of the format; a program refuses others."""
MANIFEST_NAME = "manifest.json"
LARGEST_MANIFEST = 1 << 20
"""In bytes. With as many parts as a backup may have, and 1,000 tables, it has a tenth of that."""

PART_BYTES = 64 << 20
"""How large each part is but the last: that much is in memory at a time."""
MOST_PARTS = 500
"""How many parts a backup may have: for each there is a URL in a Secret, which holds a megabyte."""

WORD = re.compile(r"[A-Za-z0-9._+-]{1,64}")
LARGEST_COUNT = 2**53
"""More than any bucket holds, and no more than a status takes for a number."""

DATABASE_FOLDER = "database/"
ARTIFACTS_FOLDER = "artifacts/"
"""How the names of the tar file's members begin."""


def part_name(number: int) -> str:
    """What a part is called; the first one is number 0."""
    return f"part-{number:05}"


@dataclass(frozen=True)
class Part:
    """One part: so many bytes, with this SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Table:
    """The rows of a table: the columns in the order in which they were copied, and how many rows there are."""

    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    mlflow_version: str
    schema_revision: str
    artifact_root: str
    """Where artifacts were, as MLflow names it: rows may say so."""
    tables: Mapping[str, Table]
    sequences: Mapping[str, int]
    """The next number of each column that counts, by "table.column"."""
    parts: Sequence[Part] = field(default=())
    has_artifacts: bool = True
    objects: int = 0
    """How many artifacts there are."""
    object_bytes: int = 0

    @property
    def runs(self) -> int:
        """How many runs the database has."""
        found = self.tables.get("runs")
        return found.rows if found else 0

    @property
    def size(self) -> int:
        """How many bytes the parts have together."""
        return sum(part.size for part in self.parts)

    def as_bytes(self) -> bytes:
        """The manifest as it is stored."""
        return json.dumps(
            {
                "format": FORMAT,
                "mlflowVersion": self.mlflow_version,
                "schemaRevision": self.schema_revision,
                "artifactRoot": self.artifact_root,
                "tables": {
                    name: {"columns": list(table.columns), "rows": table.rows}
                    for name, table in self.tables.items()
                },
                "sequences": dict(self.sequences),
                "parts": [{"size": part.size, "sha256": part.sha256} for part in self.parts],
                "hasArtifacts": self.has_artifacts,
                "objects": self.objects,
                "objectBytes": self.object_bytes,
            },
            ensure_ascii=False,
        ).encode()


def manifest_in(content: bytes) -> Manifest:
    """Read a stored manifest. Raises ValueError: it is none, or one of another format."""
    try:
        found = json.loads(content)
        if found["format"] != FORMAT:
            raise ValueError("it is of another format")
        if len(found["parts"]) > MOST_PARTS:
            raise ValueError("it has too many parts")
        return Manifest(
            mlflow_version=_word(found["mlflowVersion"]),
            schema_revision=_word(found["schemaRevision"]),
            artifact_root=str(found["artifactRoot"]),
            tables={
                str(name): Table(tuple(map(str, table["columns"])), _count(table["rows"]))
                for name, table in found["tables"].items()
            },
            sequences={str(name): int(number) for name, number in found["sequences"].items()},
            parts=tuple(Part(_count(part["size"]), str(part["sha256"])) for part in found["parts"]),
            has_artifacts=bool(found["hasArtifacts"]),
            objects=_count(found["objects"]),
            object_bytes=_count(found["objectBytes"]),
        )
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"it is no manifest of a backup ({type(error).__name__})") from error


def _word(value: object) -> str:
    """A version or a revision. What stands there was written by a pod of a team's, and the operator repeats it in a status."""
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise ValueError("a version or revision is no word")
    return value


def _count(value: object) -> int:
    """A number that a status can hold."""
    if not isinstance(value, int) or not 0 <= value <= LARGEST_COUNT:
        raise ValueError("a number is none that is counted")
    return value


def sha256_of(content: bytes) -> str:
    """The digest of a stored object, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
