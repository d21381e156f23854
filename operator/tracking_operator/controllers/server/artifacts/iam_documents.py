"""What the platform team has to attach to a role that the operator does not make: for people to read. Pure."""

from collections.abc import Mapping
from typing import Final

from tracking_operator.controllers.server.plan import Plan
from tracking_operator.resources.stores.s3 import ROLE_ANNOTATION
from tracking_operator.stores.s3.policy import VERSION as POLICY_VERSION
from tracking_operator.stores.s3.policy import Document, abac_statements, partition_of
from tracking_operator.stores.s3.trust import pod_identity_trust, service_account_trust

UNKNOWN_PROVIDER: Final = "OIDC_PROVIDER"
"""What stands in a printed policy where the class does not name the cluster's issuer."""

NOTHING: Final = "The class has no role that the platform team makes (s3.identity irsa or podIdentity), so there is nothing to attach."


def iam_documents(plan: Plan, cluster_name: str) -> Mapping[str, str | Document]:
    """The role of a server and its policies; empty where nobody has to attach anything."""
    class_store = plan.chosen.spec.s3
    if class_store is None or plan.placement.artifacts is None:
        return {}
    role_arn = plan.model.artifact_store.pod_parts().account_annotations.get(ROLE_ANNOTATION)
    if (irsa := class_store.identity.irsa) and role_arn:
        trust = service_account_trust(
            role_arn,
            irsa.oidc_provider or UNKNOWN_PROVIDER,
            namespace=plan.model.namespace,
            service_account=plan.model.names.workload,
        )
        return {"role": role_arn, "trustPolicy": trust}
    if (pod := class_store.identity.pod_identity) is None:
        return {}
    documents: dict[str, str | Document] = {"trustPolicy": pod_identity_trust()}
    if pod.role_arn:
        return {"role": pod.role_arn, **documents}
    statements = abac_statements(
        class_store.bucket,
        cluster_name,
        None,
        eks_cluster_name=pod.eks_cluster_name,
        partition=partition_of(class_store.region),
    )
    return {**documents, "policy": {"Version": POLICY_VERSION, "Statement": list(statements)}}
