"""As whom the servers of a class reach their prefixes: from the class's words to the artifact store's. Pure."""

from tracking_operator import naming
from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.unique_templates import (
    require_unique_role,
    require_unique_secret,
)
from tracking_operator.failures import Invalid
from tracking_operator.stores.s3.tenant import (
    IamUser,
    Identity,
    PodRole,
    Role,
    SuppliedKeys,
    VersitygwUser,
)


def identity_of(class_store: S3StoreSpec, role_arn: str | None) -> Identity:
    """The identity of one server; ``role_arn`` is what the template of ``irsa`` has become for it."""
    identity = class_store.identity
    if user := identity.iam_user:
        return IamUser(user.path, user.permissions_boundary, user.endpoint)
    if identity.irsa:
        return Role(role_arn or "")
    if pod := identity.pod_identity:
        return PodRole(pod.role_arn, pod.eks_cluster_name)
    if gateway := identity.versitygw:
        return VersitygwUser(gateway.admin_endpoint)
    return SuppliedKeys()


def rotate_every(class_store: S3StoreSpec) -> float | None:
    """After how many seconds keys are too old; None: never."""
    user = class_store.identity.iam_user or class_store.identity.versitygw
    return seconds_in(user.rotate_every) if user and user.rotate_every else None


def named_role(chosen: ChosenClass, values: naming.TemplateValues) -> str | None:
    """The ARN of the role that the class's template names; None without ``irsa``. Raises Invalid."""
    irsa = chosen.spec.s3.identity.irsa if chosen.spec.s3 else None
    try:
        arn = naming.role_arn(irsa.role_arn_template, values) if irsa else None
    except naming.BadName as error:
        raise _bad_template(chosen, "irsa.roleArnTemplate", error) from error
    require_unique_role(chosen, values)
    return arn


def named_secret(chosen: ChosenClass, values: naming.TemplateValues) -> str | None:
    """The Secret with keys of somebody else's that the class's template names; None without. Raises Invalid."""
    secret = chosen.spec.s3.identity.secret if chosen.spec.s3 else None
    try:
        name = naming.secret_name(secret.name_template, values) if secret else None
    except naming.BadName as error:
        raise _bad_template(chosen, "secret.nameTemplate", error) from error
    require_unique_secret(chosen, values)
    return name


def _bad_template(chosen: ChosenClass, field: str, error: naming.BadName) -> Invalid:
    return Invalid(
        Reason.INVALID_SPEC,
        f"s3.identity.{field} of {chosen.title} cannot be used: {error} {chosen.remedy('correct it')}",
    )
