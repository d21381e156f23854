"""The Secret with which the pods of a server reach its own prefix.

The file is the one that AWS's SDKs share (https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html). botocore
reads it when a process starts: other keys need a roll of the pods.
"""

from configparser import ConfigParser, Error
from dataclasses import dataclass, field
from datetime import datetime

from tracking_operator.resources.labels import ARTIFACT_STORE_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import rotation_annotations, rotation_in, text_in, watched_secret
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.stores.certificates import CA_KEY
from tracking_operator.resources.stores.s3 import CREDENTIALS_KEY, S3Artifacts

PROFILE = "default"


@dataclass(frozen=True)
class ArtifactKeys:
    """The access key that a server's pods use, and why and when it was made."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    rotated_for: str
    rotated_at: datetime


def build_artifacts_secret(
    server: ServerModel, store: S3Artifacts, keys: ArtifactKeys | None, ca_certificates: str | None
) -> KubeObject:
    """Build ``NAME-artifacts``; ``ca_certificates`` is PEM text.

    Without ``keys``, which the ServiceAccount or a Secret of the team's then stands for, it has the CA only.
    """
    contents = {} if keys is None else {CREDENTIALS_KEY: _credentials_file(keys)}
    rotation = {} if keys is None else rotation_annotations(keys.rotated_for, keys.rotated_at)
    if ca_certificates is not None and store.has_own_ca:
        contents[CA_KEY] = ca_certificates
    return watched_secret(
        owned_metadata(server, server.names.artifacts, ARTIFACT_STORE_COMPONENT, rotation), contents
    )


def artifact_keys_in(secret: KubeObject | None) -> ArtifactKeys | None:
    """Read what ``build_artifacts_secret`` wrote; None if there is nothing, or nothing usable."""
    if secret is None:
        return None
    file = ConfigParser(interpolation=None, default_section="")
    try:
        file.read_string(text_in(secret, CREDENTIALS_KEY))
        rotated_for, rotated_at = rotation_in(secret)
        found = ArtifactKeys(
            access_key_id=file[PROFILE]["aws_access_key_id"],
            secret_access_key=file[PROFILE]["aws_secret_access_key"],
            rotated_for=rotated_for,
            rotated_at=rotated_at,
        )
    except (Error, KeyError, ValueError):
        return None
    is_ours = file.sections() == [PROFILE] and found.access_key_id and found.secret_access_key
    return found if is_ours else None


def _credentials_file(keys: ArtifactKeys) -> str:
    return (
        f"[{PROFILE}]\n"
        f"aws_access_key_id={keys.access_key_id}\n"
        f"aws_secret_access_key={keys.secret_access_key}\n"
    )
