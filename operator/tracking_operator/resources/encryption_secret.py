"""The Secret with the keys by which MLflow encrypts what it stores: generated once, kept as the data is.

MLflow has two such keys (3.17.2): a passphrase for the API keys of its AI gateway (mlflow/utils/crypto.py), for which a public
constant stands in if there is none, and a Fernet key for the secrets of webhooks, which each process makes up for itself.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from tracking_operator.api.labels_and_annotations import (
    FIELD_MANAGER,
    GROUP,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
)
from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import KEEP, kept_metadata
from tracking_operator.resources.secret import data_of, text_in, watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel

PASSPHRASE_KEY: Final = "kekPassphrase"  # noqa: S105 - the name of a key
VERSION_KEY: Final = "kekVersion"
WEBHOOK_KEY: Final = "webhookKey"
KEYS: Final = (PASSPHRASE_KEY, VERSION_KEY, WEBHOOK_KEY)

FIRST_VERSION: Final = "2"
"""Of the passphrase: what MLflow's public constant has encrypted says 1, and is moved when a pod starts (``move_encryption.py``)."""


LOST_AT_ANNOTATION: Final = f"{GROUP}/keys-lost-at"
"""When other keys took the place of lost ones, of which nobody knew any more what they were."""


def new_keys(new_key: Callable[[], str]) -> dict[str, str]:
    """Make keys; ``new_key`` makes a Fernet key."""
    return {PASSPHRASE_KEY: new_key(), VERSION_KEY: FIRST_VERSION, WEBHOOK_KEY: new_key()}


def build_encryption_secret(
    server: ServerModel, keys: Mapping[str, str], *, lost_at: datetime | None = None
) -> KubeObject:
    """Build ``NAME-encryption``; ``lost_at`` is when earlier keys were found to be lost."""
    metadata = kept_metadata(server, server.names.encryption, SERVER_COMPONENT, _annotations(lost_at))
    return watched_secret(metadata, keys)


def completed_secret(keys: Mapping[str, str], *, lost_at: datetime | None) -> KubeObject:
    """What a Secret that lacked keys is to have: its data, and annotations."""
    return {"data": data_of(keys), "annotations": KEEP | (_annotations(lost_at) or {})}


def keys_in(secret: KubeObject) -> dict[str, str]:
    """The keys that a Secret has."""
    missing = missing_keys(secret)
    return {key: text_in(secret, key).strip() for key in KEYS if key not in missing}


def lost_at(secret: KubeObject) -> datetime | None:
    """When the keys took the place of lost ones; None: they are the first, or as they were."""
    said = (secret["metadata"].get("annotations") or {}).get(LOST_AT_ANNOTATION, "")
    try:
        found = datetime.fromisoformat(said) if said else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def is_of_server(secret: KubeObject, server: ServerModel) -> bool:
    """Whether the operator made the Secret, for a server of this name."""
    labels = secret["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER and labels.get(SERVER_LABEL) == server.name


def _annotations(lost_at: datetime | None) -> dict[str, str] | None:
    return {LOST_AT_ANNOTATION: lost_at.replace(microsecond=0).isoformat()} if lost_at else None


def missing_keys(secret: KubeObject) -> list[str]:
    """The keys that a Secret lacks, or under which it has nothing that is text."""

    def has(key: str) -> bool:
        try:
            return bool(text_in(secret, key).strip())
        except ValueError:
            return False

    return [key for key in KEYS if not has(key)]
