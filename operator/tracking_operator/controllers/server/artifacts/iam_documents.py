"""What the platform team has to attach to a role that the operator does not make: for people to read. Pure."""

from collections.abc import Mapping
from typing import Final

from tracking_operator.controllers.server.plan import Plan
from tracking_operator.resources.stores.s3 import S3Artifacts
from tracking_operator.stores.s3.policy import VERSION as POLICY_VERSION
from tracking_operator.stores.s3.policy import Document, abac_statements, partition_of
from tracking_operator.stores.s3.trust import pod_identity_trust, service_account_trust

UNKNOWN_PROVIDER: Final = "OIDC_PROVIDER"
"""What stands in a printed policy where the class does not name the cluster's issuer."""

NOTHING: Final = "The class has no role that the platform team makes (s3.identity irsa or podIdentity), so there is nothing to attach."


def iam_documents(plan: Plan, cluster_name: str) -> Mapping[str, str | Document]:
    """The role of a server and its policies; empty where nobody has to attach anything."""
    offer, store = plan.chosen.spec.s3, plan.model.artifact_store
    if offer is None or not isinstance(store, S3Artifacts):
        return {}
    if (irsa := offer.identity.irsa) and store.role_arn:
        trust = service_account_trust(
            store.role_arn,
            irsa.oidc_provider or UNKNOWN_PROVIDER,
            namespace=plan.model.namespace,
            service_account=plan.model.names.workload,
        )
        return {"role": store.role_arn, "trustPolicy": trust}
    if (pod := offer.identity.pod_identity) is None:
        return {}
    documents: dict[str, str | Document] = {"trustPolicy": pod_identity_trust()}
    if pod.role_arn:
        return {"role": pod.role_arn, **documents}
    statements = abac_statements(
        offer.bucket,
        cluster_name,
        None,
        eks_cluster_name=pod.eks_cluster_name,
        partition=partition_of(offer.region),
    )
    return {**documents, "policy": {"Version": POLICY_VERSION, "Statement": list(statements)}}
