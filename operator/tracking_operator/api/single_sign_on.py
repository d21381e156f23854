"""How people log in at an identity provider (OpenID Connect): what a class says, and what a server may add."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from tracking_operator.api.base import (
    SET,
    ApiModel,
    ImageReference,
    KeyName,
    Rule,
    map_by,
    rules,
    with_rules,
)
from tracking_operator.api.kubernetes_types import LocalObjectReference

_HOST: Final = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_REST: Final = "(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*/?"
_GROUP: Final = '[^,"$[:cntrl:]]+'

Template = Annotated[str, Field(min_length=1, max_length=1024)]
"""A sandboxed Jinja template with the variables namespace, name, class, clusterName and namespaceLabels."""

Issuer = Annotated[
    str,
    Field(
        min_length=1,
        max_length=300,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^(https://{_HOST}|http://{_HOST}[.]svc([.][a-z0-9.-]+)?){_REST}$')",
                "must be the https URL by which the identity provider calls itself, for example https://idp.example.com/realms/ml; "
                "http is for a Service of the cluster only, for example http://idp.idp.svc:8080",
            )
        ),
    ),
]
"""The URL of an identity provider."""

GroupTemplate = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^{_GROUP}$')",
                "must be the name of a group as the identity provider writes it, without commas, double quotes and $, or a naming "
                "template for it, for example mlflow-{{ namespace }}",
            )
        ),
    ),
]
"""A group of the identity provider; a naming template."""

GroupName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^{_GROUP}$')",
                "must be the name of a group as the identity provider writes it, without commas, double quotes and $",
            )
        ),
    ),
]
"""A group of the identity provider."""

Claim = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        json_schema_extra=rules(
            Rule(
                "self.matches('^[A-Za-z0-9_:-]+$')",
                "must be the name of a claim at the top of the ID token: letters, digits, '_', ':' and '-', for example groups",
            )
        ),
    ),
]
"""What a token says, by its name."""

Scope = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        json_schema_extra=rules(
            Rule(
                "self.matches('^[!#%-~]+$')",
                "must be one scope, without spaces, double quotes and $, for example email",
            )
        ),
    ),
]
"""What the provider is asked to tell."""


class GroupRight(StrEnum):
    """What the members of a group may do with experiments and models that belong to others, in MLflow's words."""

    READ = "READ"
    EDIT = "EDIT"
    MANAGE = "MANAGE"


class GroupPermission(ApiModel):
    """A group with a permission of its own."""

    group: GroupTemplate
    """The group; a naming template."""
    permission: GroupRight
    """What its members may do with experiments and models that belong to others."""


class ClientSecretReference(ApiModel):
    """The Secret of a server's client at the identity provider, in the server's namespace."""

    name: Template
    """The name of the Secret; a naming template, for example "{{ name }}-sso"."""
    key: KeyName = "clientSecret"
    """The key in it. Default: clientSecret."""


class OidcAuthentication(ApiModel):
    """People log in at the identity provider that the class names. Issuer, claims, CA and admins are the class's word."""

    allowed_groups: Annotated[tuple[GroupName, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """Further groups whose members are let in, with the class's defaultPermission; those that the class permits
    (permissions.oidc.groups)."""


class OidcAuthenticationSpec(ApiModel):
    """People log in at an identity provider (OpenID Connect); a proxy in each pod sees to it, before MLflow hears of them."""

    model_config = with_rules(
        Rule(
            "(has(self.allowedGroups) && self.allowedGroups.size() > 0) "
            "|| (has(self.groupPermissions) && self.groupPermissions.size() > 0) "
            "|| (has(self.adminGroups) && self.adminGroups.size() > 0)",
            "oidc names no group, so it lets nobody in: set allowedGroups, for example to [mlflow-{{ namespace }}]",
            ".allowedGroups",
        ),
        Rule(
            "!has(self.recheckMinutes) || self.recheckMinutes < (has(self.sessionHours) ? self.sessionHours : 8) * 60",
            "recheckMinutes must be less than sessionHours: lower the one or raise the other",
            ".recheckMinutes",
        ),
        Rule(
            "!has(self.scopes) || 'openid' in self.scopes",
            "scopes must contain openid, without which there is no ID token; add it",
            ".scopes",
        ),
    )

    image: ImageReference
    """The image of oauth2-proxy, for example quay.io/oauth2-proxy/oauth2-proxy:v7.15.6. Earlier releases let strangers in, and
    7.15.6 is the one that was tried: its settings may be others in 7.16. Another image is a rolling update of all servers that log
    people in so."""
    issuer: Issuer
    """The URL of the identity provider, as it calls itself."""
    client_id: Template
    """Who a server is to the provider; a naming template, for example "mlflow.{{ namespace }}.{{ name }}". Several servers may
    share one, but not where acceptTokens is true."""
    client_secret_ref: ClientSecretReference | None = None
    """The client's secret. Default: none, for a public client; PKCE is always used."""
    ca_bundle_ref: LocalObjectReference | None = None
    """A ConfigMap in the operator's namespace with the CA certificates (PEM) of the provider under the key ca.crt. Default: the
    CAs of the images."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=16, json_schema_extra=SET)] = (
        "openid",
        "email",
        "profile",
    )
    """What the provider is asked to tell. Default: openid, email and profile; some need offline_access for recheckMinutes, or
    groups."""
    groups_claim: Claim = "groups"
    """The claim of the ID token that lists groups. Default: groups."""
    username_claim: Claim = "email"
    """The claim of the ID token that becomes the name of MLflow's user; nobody may be able to choose it. Of a token without it (a
    program's) the name is "sub:" and the claim sub. Default: email."""
    allowed_groups: Annotated[tuple[GroupTemplate, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """The groups whose members are let in, with defaultPermission; naming templates, for example "mlflow-{{ namespace }}"."""
    group_permissions: Annotated[
        tuple[GroupPermission, ...], Field(max_length=32, json_schema_extra=map_by("group"))
    ] = ()
    """Groups whose members are let in with a permission of their own. Who is in several groups has the most that one gives."""
    admin_groups: Annotated[tuple[GroupTemplate, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """The groups whose members are let in as admins of MLflow; naming templates."""
    default_permission: GroupRight = GroupRight.EDIT
    """What members of allowedGroups, and the team's programs with their password, may do with experiments and models that belong
    to others. Default: EDIT."""
    session_hours: Annotated[int, Field(ge=1, le=168, json_schema_extra={"format": "int32"})] = 8
    """After how many hours without a visit somebody has to log in again. Default: 8."""
    recheck_minutes: Annotated[int, Field(ge=1, le=1440, json_schema_extra={"format": "int32"})] = 5
    """After how many minutes the provider is asked again about somebody who is logged in: who was disabled, or has left the groups,
    is out. Needs refresh tokens of the provider; without them a session ends with its ID token. Default: 5."""
    accept_tokens: bool = False
    """Whether programs may come with an ID token of the provider in the place of a password, whose audience is the server's own
    client. Default: false."""


class OidcPermissions(ApiModel):
    """What servers may say of their login at the identity provider."""

    groups: Annotated[tuple[GroupName, ...], Field(max_length=64, json_schema_extra=SET)] = ()
    """The groups that access.authentication.oidc.allowedGroups may name: each as it is, or its beginning and '*', for example
    ml-*. Default: none."""
