"""How the servers of a class log people in: from the class's templates to one server's own names. Pure."""

from collections.abc import Callable, Mapping

from tracking_operator import naming
from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import SecretKeyReference
from tracking_operator.api.single_sign_on import OidcAuthenticationSpec
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.unique_templates import require_unique_client
from tracking_operator.failures import Invalid
from tracking_operator.resources.single_sign_on import ADMIN, SingleSignOn, most_of_each

FIELD = "access.authentication.oidc"


def single_sign_on_of(
    server: TrackingServer, chosen: ChosenClass, values: naming.TemplateValues
) -> SingleSignOn | None:
    """How people log in to a server; None where they do not do so at an identity provider.

    Raises:
        Invalid: the class has none, or one of its templates cannot be used.

    """
    asked, offered = server.spec.access.authentication, chosen.spec.access.authentication
    oidc = offered.oidc if offered else None
    if asked is not None and asked.oidc is None:
        return None
    if oidc is None and asked is not None:
        raise Invalid(
            Reason.NOT_PERMITTED,
            f"spec.{FIELD} is not offered by {chosen.title}, which names no identity provider: remove it, or ask the platform "
            f"team to set {FIELD} there.",
        )
    return offered_sign_on(chosen, values, asked.oidc.allowed_groups if asked and asked.oidc else ())


def offered_sign_on(
    chosen: ChosenClass, values: naming.TemplateValues, further: tuple[str, ...] = ()
) -> SingleSignOn | None:
    """What the class offers a server, which lets in ``further`` groups; None where it names no identity provider. Raises Invalid."""
    offered = chosen.spec.access.authentication
    oidc = offered.oidc if offered else None
    if oidc is None:
        return None
    require_unique_client(chosen, values)
    reference = oidc.client_secret_ref
    return SingleSignOn(
        image=oidc.image,
        issuer=oidc.issuer,
        client_id=_rendered(chosen, "clientId", naming.client_id, oidc.client_id, values),
        client_secret=SecretKeyReference(
            name=_rendered(chosen, "clientSecretRef.name", naming.secret_name, reference.name, values),
            key=reference.key,
        )
        if reference
        else None,
        scopes=oidc.scopes,
        groups_claim=oidc.groups_claim,
        username_claim=oidc.username_claim,
        permissions=_permissions(chosen, oidc, further, values),
        session_hours=oidc.session_hours,
        recheck_minutes=oidc.recheck_minutes,
        accepts_tokens=oidc.accept_tokens,
        ca_config_map=oidc.ca_bundle_ref.name if oidc.ca_bundle_ref else None,
    )


def templates_of(oidc: OidcAuthenticationSpec | None) -> list[str]:
    """All templates of a class's login at an identity provider."""
    if oidc is None:
        return []
    secret = [oidc.client_secret_ref.name] if oidc.client_secret_ref else []
    groups = [*oidc.allowed_groups, *oidc.admin_groups, *(one.group for one in oidc.group_permissions)]
    return [oidc.client_id, *secret, *groups]


def _permissions(
    chosen: ChosenClass,
    oidc: OidcAuthenticationSpec,
    further: tuple[str, ...],
    values: naming.TemplateValues,
) -> Mapping[str, str]:
    """What the members of each group may do: the most that the class says of it anywhere."""
    usual = oidc.default_permission.value
    said = [
        *(("allowedGroups", one, usual) for one in oidc.allowed_groups),
        *(("groupPermissions", one.group, one.permission.value) for one in oidc.group_permissions),
        *(("adminGroups", one, ADMIN) for one in oidc.admin_groups),
    ]
    of_class = (
        (_rendered(chosen, field, naming.group_name, group, values), right) for field, group, right in said
    )
    return most_of_each([*of_class, *((group, usual) for group in further)])


def _rendered(
    chosen: ChosenClass,
    field: str,
    render: Callable[[str, naming.TemplateValues], str],
    template: str,
    values: naming.TemplateValues,
) -> str:
    try:
        return render(template, values)
    except naming.BadName as error:
        raise Invalid(
            Reason.INVALID_SPEC,
            f"{FIELD}.{field} of {chosen.title} cannot be used: {error} {chosen.remedy('correct it')}",
        ) from error
