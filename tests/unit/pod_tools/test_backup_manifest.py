"""The manifest of a backup: written by a pod of a team's, and read by the operator."""

import json

import pytest

from tracking_operator.pod_tools.backup_manifest import MOST_PARTS, Manifest, Part, Table, manifest_in

WHOLE = Manifest(
    mlflow_version="3.18.0",
    schema_revision="f4a9b2c7d1e6",
    artifact_root="s3://bucket/team-a/mlflow",
    tables={"runs": Table(("run_uuid", "name"), 3), "tags": Table(("key",), 0)},
    sequences={"experiments.experiment_id": 4},
    parts=(Part(64, "ab"), Part(3, "cd")),
    objects=2,
    object_bytes=10,
)


def changed(**changes: object) -> bytes:
    return json.dumps(json.loads(WHOLE.as_bytes()) | changes).encode()


def test_what_was_written_is_read() -> None:
    assert manifest_in(WHOLE.as_bytes()) == WHOLE
    assert (WHOLE.runs, WHOLE.size) == (3, 67)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no JSON",
        b"[]",
        b"[" * 100_000,
        b"{}",
        changed(format=2),
        changed(mlflowVersion="3.18.0\u202e"),
        changed(mlflowVersion="3" * 65),
        changed(schemaRevision=None),
        changed(objects=-1),
        changed(objects=2**64),
        changed(objects="2"),
        changed(tables=None),
        changed(parts=[{"size": 1, "sha256": "ab"}] * (MOST_PARTS + 1)),
    ],
)
def test_anything_else_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        manifest_in(content)
