"""How a server gets into its prefix: what its identity and the isolation of its class mean for the bucket's policy."""

from collections.abc import Callable
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import Isolation
from tracking_operator.failures import Failure, Invalid, Waiting, failure_for
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.bucket_policy import Change
from tracking_operator.stores.s3.policy import PolicyPrincipals, Statement
from tracking_operator.stores.s3.tenant import (
    Admin,
    Desired,
    IamUser,
    Identity,
    PodRole,
    PolicyShare,
    Role,
    SuppliedKeys,
    VersitygwUser,
)
from tracking_operator.stores.s3.versitygw_users import UserAdmin

SECONDS_UNTIL_KNOWN: Final = 5.0
"""How long to wait for S3 to hear of a new user; AWS says that it may take up to a minute or two."""


NO_ACCOUNT: Final = "000000000000"


def partition_of(admin: Admin) -> str:
    """The part of AWS that the bucket is in."""
    return "aws" if admin.bucket.endpoint else policy.partition_of(admin.bucket.region)


def require_possible(desired: Desired) -> None:
    """Make sure that the isolation works with the identity.

    Raises:
        Invalid: it does not, or the prefix is not the one that tags spell; with the reason InvalidSpec.

    """
    mark, identity = desired.tenant.mark, desired.identity
    if desired.isolation is Isolation.BUCKET_POLICY:
        if isinstance(identity, PodRole):
            raise Invalid(
                Reason.INVALID_SPEC,
                "All servers of the class share one role, which a bucket policy cannot tell apart: set s3.isolation of "
                "the class to abac.",
            )
        return
    if not isinstance(identity, IamUser | PodRole):
        raise Invalid(
            Reason.INVALID_SPEC,
            "Isolation abac compares tags, and the class's s3.identity has none: use podIdentity or iamUser, or "
            "isolation bucketPolicy.",
        )
    if desired.tenant.prefix != f"{mark.namespace}/{mark.name}":
        raise Invalid(
            Reason.INVALID_SPEC,
            f"Isolation abac lets the server into {mark.namespace}/{mark.name}, and its prefix is "
            f"{desired.tenant.prefix}: leave naming.artifactPrefix of the class as it is by default.",
        )


def names_before(desired: Desired, keys: Keys | None) -> tuple[str, ...]:
    """What the identity is called in the bucket's policy, or something as long where only its existence will tell."""
    tenant = desired.tenant
    match desired.identity:
        case VersitygwUser():
            first, _ = tenant.user_names
            return (keys.access_key_id if keys and keys.access_key_id in tenant.user_names else first,)
        case IamUser(path):
            return (f"arn:aws:iam::{NO_ACCOUNT}:user{path}{tenant.user_name}",)
        case Role(arn):
            return (arn,)
        case PodRole(arn):
            return (arn,) if arn else ()
        case SuppliedKeys():
            return ()


def change_for(
    admin: Admin, desired: Desired, names: tuple[str, ...], is_known: Callable[[str], bool] | None = None
) -> Change | None:
    """What the bucket's policy has to say for a server whose identity has these names; None: nothing at all.

    ``names`` are ARNs, or access keys for versitygw; none for a role that the platform team provides for by itself.
    """
    if isinstance(desired.identity, SuppliedKeys) or not names:
        return None
    tenant = desired.tenant
    return Change(
        wanted=(
            *_allowed(admin, desired, names),
            *policy.bucket_denies(
                tenant.bucket, uses_tls=admin.bucket.uses_tls, partition=partition_of(admin)
            ),
        ),
        is_ours=lambda statement: policy.is_of(statement, tenant),
        is_known=is_known,
        refusal=_unknown(desired, names),
        namespace=tenant.mark.namespace,
        share=_share_asked_of(desired),
    )


def _share_asked_of(desired: Desired) -> PolicyShare | None:
    """The share of a namespace, for a server that is new: what has held data goes on, and what is deleted makes room."""
    is_new = not (desired.must_exist or desired.deletes)
    return desired.share if is_new and desired.isolation is Isolation.BUCKET_POLICY else None


def _allowed(admin: Admin, desired: Desired, names: tuple[str, ...]) -> tuple[Statement, ...]:
    tenant, partition = desired.tenant, partition_of(admin)
    if desired.isolation is Isolation.BUCKET_POLICY:
        return policy.server_statements(
            tenant,
            PolicyPrincipals(names),
            partition=partition,
            deletes=desired.deletes,
            require_encryption=desired.require_encryption,
        )
    who = principals_for_tags(desired.identity, names)
    eks_cluster_name = desired.identity.eks_cluster_name if isinstance(desired.identity, PodRole) else None
    constant = policy.abac_statements(
        tenant.bucket,
        tenant.mark.cluster,
        who,
        eks_cluster_name=eks_cluster_name,
        require_encryption=desired.require_encryption,
        partition=partition,
    )
    if not desired.deletes:
        return constant
    more = policy.abac_deletion_statements(
        tenant, who, eks_cluster_name=eks_cluster_name, partition=partition
    )
    return (*constant, *more)


def principals_for_tags(identity: Identity, names: tuple[str, ...]) -> PolicyPrincipals:
    """Whose tags count: a role's, or those of all users under a path of the account of the one that is named."""
    if isinstance(identity, IamUser):
        account = names[0].rpartition(":user/")[0]
        return PolicyPrincipals(("*",), path=f"{account}:user{identity.path}*")
    return PolicyPrincipals(names)


def _unknown(desired: Desired, names: tuple[str, ...]) -> Failure:
    """What it means that S3 knows none of these names."""
    if isinstance(desired.identity, Role | PodRole):
        return failure_for(
            Reason.IDENTITY_NOT_FOUND,
            f"The role {names[0]} does not exist, and the bucket's policy cannot name it. Create it, or correct the "
            "class's s3.identity.",
        )
    return Waiting(
        Reason.IDENTITY_PENDING,
        f"The user {names[0]} is so fresh that the object store does not know it yet. The operator looks again.",
        retry_after=SECONDS_UNTIL_KNOWN,
    )


def users_of_versitygw(admin: Admin, identity: VersitygwUser) -> Callable[[str], bool]:
    """Whether a user of the gateway exists: asked once, and only when somebody wants to know."""
    known: set[str] = set()

    def is_known(name: str) -> bool:
        if not known:
            known.update(UserAdmin(admin, identity).users())
        return name in known

    return is_known
