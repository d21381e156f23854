"""The ServiceAccount that a server's pods run as."""

from tracking_operator.resources.labels import SERVER_COMPONENT
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.server_model import KubeObject, S3Artifacts, ServerModel

ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
"""Has EKS give the pods a token for the role (https://github.com/aws/amazon-eks-pod-identity-webhook)."""


def build_service_account(server: ServerModel) -> KubeObject:
    """Build an account that Kubernetes grants nothing; its annotations may name a cloud identity."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owned_metadata(
            server,
            server.names.workload,
            SERVER_COMPONENT,
            server.service_account_annotations | _role_annotation(server),
        ),
        "automountServiceAccountToken": False,
    }


def _role_annotation(server: ServerModel) -> dict[str, str]:
    match server.artifact_store:
        case S3Artifacts(role_arn=str(role_arn)):
            return {ROLE_ANNOTATION: role_arn}
    return {}
