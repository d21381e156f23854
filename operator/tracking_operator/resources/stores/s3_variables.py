"""The variables by which MLflow and botocore find an S3 server, for a class's bucket as for one of somebody else's. Pure."""

from typing import Final

from tracking_operator.api.s3_connection import AddressingStyle
from tracking_operator.pod_tools.programs import SETTINGS_OF_OTHER_SERVERS
from tracking_operator.resources.stores.certificates import CA_KEY
from tracking_operator.resources.stores.paths import ARTIFACT_STORE_CREDENTIALS

ENDPOINT_VARIABLE: Final = "MLFLOW_S3_ENDPOINT_URL"
ENDPOINT_VARIABLE_OF_BOTOCORE: Final = "AWS_ENDPOINT_URL_S3"
IGNORE_TLS: Final = "MLFLOW_S3_IGNORE_TLS"

CA_VARIABLES: Final = {"AWS_CA_BUNDLE": f"{ARTIFACT_STORE_CREDENTIALS}/{CA_KEY}"}
"""Has botocore verify certificates with the CA that is mounted beside the keys."""


def connection_variables(
    endpoint: str | None, region: str | None, addressing_style: AddressingStyle | None
) -> dict[str, str]:
    """Where a bucket is and how it is addressed; what is None is left to the clients.

    Only MLflow reads the addressing style; plain boto3 takes the path with an endpoint and virtual hosts without,
    which are the defaults here, too.
    """
    variables = {}
    if region is not None:
        variables["AWS_DEFAULT_REGION"] = region
    if addressing_style is not None:
        variables["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] = addressing_style.value
    if endpoint is not None:
        variables |= {ENDPOINT_VARIABLE: endpoint, ENDPOINT_VARIABLE_OF_BOTOCORE: endpoint}
        variables |= SETTINGS_OF_OTHER_SERVERS
    return variables
