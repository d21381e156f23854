"""The variables by which MLflow, boto3 and our programs find a prefix in a bucket. None of them is a secret.

MLflow reads two of them itself (mlflow/store/artifact/s3_artifact_repo.py, 3.17.2); the others are botocore's
(https://docs.aws.amazon.com/boto3/latest/guide/configuration.html).
"""

import json
from typing import Final

from tracking_operator.resources.server_model import ArtifactStore, S3Artifacts

ARTIFACT_STORE_CREDENTIALS: Final = "/etc/mlflow/artifact-store"
"""Where pods find the Secret of their artifact store."""

CREDENTIALS_KEY: Final = "credentials"
CA_KEY: Final = "ca.crt"

ENDPOINT_VARIABLE: Final = "MLFLOW_S3_ENDPOINT_URL"

SETTINGS_OF_OTHER_SERVERS: Final = {
    # Since 1.36 botocore adds checksums to every request that many S3 servers do not understand.
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}

RESERVED_ARTIFACT_ENV: Final = frozenset(
    {
        *SETTINGS_OF_OTHER_SERVERS,
        "AWS_ACCESS_KEY_ID",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        ENDPOINT_VARIABLE,
        "MLFLOW_S3_EXPECTED_BUCKET_OWNER",
        "MLFLOW_S3_IGNORE_TLS",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS",
    }
)
"""What the operator sets for a server with a prefix of its own, or what would have it use another identity or store.
For an external store they are the team's."""


def artifact_environment(store: ArtifactStore) -> dict[str, str]:
    """The variables of the pods; the keys themselves are in a mounted file."""
    if not isinstance(store, S3Artifacts):
        return {}
    # Without it, a pod that gets no identity of its own would take the node's.
    variables = connection_environment(store) | {"AWS_EC2_METADATA_DISABLED": "true"}
    if store.has_keys and not store.has_own_keys:
        variables["AWS_SHARED_CREDENTIALS_FILE"] = f"{ARTIFACT_STORE_CREDENTIALS}/{CREDENTIALS_KEY}"
    if store.has_own_ca:
        variables["AWS_CA_BUNDLE"] = f"{ARTIFACT_STORE_CREDENTIALS}/{CA_KEY}"
    return variables


def connection_environment(store: S3Artifacts) -> dict[str, str]:
    """Where the bucket is and how it is addressed, for whoever has keys.

    Only MLflow reads the addressing style; plain boto3 takes the path with an endpoint and virtual hosts without,
    which are a class's defaults, too.
    """
    variables = {
        "AWS_DEFAULT_REGION": store.region,
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": store.addressing_style.value,
    }
    if store.endpoint is not None:
        variables |= {ENDPOINT_VARIABLE: store.endpoint, "AWS_ENDPOINT_URL_S3": store.endpoint}
        variables |= SETTINGS_OF_OTHER_SERVERS
    if store.encryption is not None:
        variables["MLFLOW_S3_UPLOAD_EXTRA_ARGS"] = json.dumps({"ServerSideEncryption": store.encryption})
    return variables
