"""Trust policies: who may become a role. Pure; the platform team attaches them, as nobody else may."""

from collections.abc import Mapping
from typing import Final

from tracking_operator.stores.s3.policy import VERSION, Document

AUDIENCE: Final = "sts.amazonaws.com"
EKS_PODS: Final = "pods.eks.amazonaws.com"


def service_account_trust(
    role_arn: str, oidc_provider: str, *, namespace: str, service_account: str
) -> Document:
    """Let one ServiceAccount become the role (IAM roles for service accounts), and no other.

    ``oidc_provider`` is the cluster's issuer without its scheme. Both claims are compared as a whole: with
    ``StringLike`` and a star, any ServiceAccount of a namespace could become the role
    (https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html).
    """
    claims: Mapping[str, str] = {
        f"{oidc_provider}:aud": AUDIENCE,
        f"{oidc_provider}:sub": f"system:serviceaccount:{namespace}:{service_account}",
    }
    partition, account = role_arn.split(":")[1], role_arn.split(":")[4]
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:{partition}:iam::{account}:oidc-provider/{oidc_provider}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": claims},
            }
        ],
    }


def pod_identity_trust() -> Document:
    """Let EKS give the role to pods, with the tags that say which pod it is.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html.
    """
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": EKS_PODS},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
            }
        ],
    }
