"""The Secret with the keys by which MLflow encrypts what it stores: generated once, never rewritten, kept as the data is.

MLflow has two such keys (3.17.2): a passphrase for the API keys of its AI gateway (mlflow/utils/crypto.py), for which a public
constant stands in if there is none, and a Fernet key for the secrets of webhooks, which each process makes up for itself.
"""

from typing import Final

from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import kept_metadata
from tracking_operator.resources.secret import text_in, watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel

PASSPHRASE_KEY: Final = "kekPassphrase"  # noqa: S105 - the name of a key
VERSION_KEY: Final = "kekVersion"
WEBHOOK_KEY: Final = "webhookKey"
KEYS: Final = (PASSPHRASE_KEY, VERSION_KEY, WEBHOOK_KEY)

FIRST_VERSION: Final = "2"
"""Of the passphrase: what MLflow's public constant has encrypted says 1, and is moved when a pod starts (``move_encryption.py``)."""


def build_encryption_secret(server: ServerModel, passphrase: str, webhook_key: str) -> KubeObject:
    """Build ``NAME-encryption``; ``webhook_key`` is a Fernet key."""
    contents = {
        PASSPHRASE_KEY: passphrase,
        VERSION_KEY: FIRST_VERSION,
        WEBHOOK_KEY: webhook_key,
    }
    metadata = kept_metadata(server, server.names.encryption, SERVER_COMPONENT)
    return watched_secret(metadata, contents)


def missing_keys(secret: KubeObject) -> list[str]:
    """The keys that a Secret lacks, or under which it has nothing that is text."""

    def has(key: str) -> bool:
        try:
            return bool(text_in(secret, key).strip())
        except ValueError:
            return False

    return [key for key in KEYS if not has(key)]
