"""What the Secrets have in common that the operator writes for a server: watched, and dated where they rotate."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime

from tracking_operator.api.labels_and_annotations import GROUP, WATCH_LABEL
from tracking_operator.resources.server_model import KubeObject

ROTATED_FOR_ANNOTATION = f"{GROUP}/rotated-for"
"""The value of the server's rotate-credentials annotation that the credentials were made for."""
REVOKED_FOR_ANNOTATION = f"{GROUP}/revoked-for"
"""The value of the server's revoke-now annotation for which everything before was replaced."""
ROTATED_AT_ANNOTATION = f"{GROUP}/rotated-at"
"""When the credentials were made, in UTC and whole seconds."""


def watched_secret(metadata: KubeObject, contents: Mapping[str, str]) -> KubeObject:
    """Build a Secret whose every change the operator sees at once."""
    labels = metadata["labels"] | {WATCH_LABEL: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata | {"labels": labels},
        "type": "Opaque",
        "data": data_of(contents),
    }


def data_of(contents: Mapping[str, str]) -> dict[str, str]:
    """Contents as a Secret has them: in base64."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in contents.items()}


def text_in(secret: KubeObject, key: str) -> str:
    """The text under a key; empty if there is none. Raises ValueError: it is none."""
    return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()


def rotation_annotations(rotated_for: str, rotated_at: datetime) -> dict[str, str]:
    """Say why and when credentials were made."""
    return {ROTATED_FOR_ANNOTATION: rotated_for, ROTATED_AT_ANNOTATION: rotated_at.isoformat()}


def rotation_in(secret: KubeObject) -> tuple[str, datetime]:
    """Read why and when credentials were made. Raises KeyError or ValueError: the Secret does not say when."""
    annotations = secret["metadata"].get("annotations") or {}
    rotated_at = datetime.fromisoformat(annotations[ROTATED_AT_ANNOTATION])
    in_utc = rotated_at if rotated_at.tzinfo else rotated_at.replace(tzinfo=UTC)
    return annotations.get(ROTATED_FOR_ANNOTATION, ""), in_utc
