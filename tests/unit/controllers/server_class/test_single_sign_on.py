"""What a class's word about an identity provider becomes for a server, and what a server may not have."""

import pytest

from tests.unit.examples import Manifest, plan_of, server, tracking_class
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server_class.reconciler import class_result
from tracking_operator.failures import Invalid
from tracking_operator.resources.single_sign_on import SingleSignOn

OIDC: Manifest = {
    "image": "oauth2-proxy",
    "issuer": "https://idp.example.com/realms/ml",
    "clientId": "mlflow.{{ namespace }}.{{ name }}",
    "allowedGroups": ["mlflow-{{ namespace }}"],
}


def planned(
    oidc: Manifest | None = None, asked: Manifest | None = None, permissions: Manifest | None = None
) -> Plan:
    offered = tracking_class(
        {
            "access": {"authentication": {"oidc": OIDC | (oidc or {})}},
            "permissions": {"anonymousAccess": False, **(permissions or {})},
        },
        is_default=True,
    )
    return plan_of(server({"access": {"authentication": asked}} if asked else {}), offered)


def sign_on(oidc: Manifest | None = None, **more: Manifest) -> SingleSignOn:
    found = planned(oidc, **more).model.single_sign_on
    assert found is not None
    return found


def refusal(oidc: Manifest | None = None, **more: Manifest) -> tuple[Reason, str]:
    with pytest.raises(Invalid) as refused:
        planned(oidc, **more)
    return refused.value.reason, refused.value.message


def test_templates_become_a_servers_own_names() -> None:
    found = sign_on(
        {"clientSecretRef": {"name": "{{ name }}-sso"}, "adminGroups": ["admins of {{ namespace }}"]}
    )
    assert found.client_id == "mlflow.team-a.mlflow"
    assert found.client_secret is not None
    assert (found.client_secret.name, found.client_secret.key) == ("mlflow-sso", "clientSecret")
    assert found.permissions == {"mlflow-team-a": "EDIT", "admins of team-a": "ADMIN"}


def test_a_group_that_is_named_twice_has_the_most_of_both() -> None:
    found = sign_on(
        {
            "defaultPermission": "READ",
            "groupPermissions": [
                {"group": "mlflow-team-a", "permission": "MANAGE"},
                {"group": "all", "permission": "READ"},
            ],
            "adminGroups": ["all"],
        },
        asked={"oidc": {"allowedGroups": ["mlflow-team-a", "ml-x"]}},
        permissions={"oidc": {"groups": ["*"]}},
    )
    assert found.permissions == {"mlflow-team-a": "MANAGE", "all": "ADMIN", "ml-x": "READ"}


def test_a_client_for_several_servers_and_tokens_do_not_go_together() -> None:
    for template in ("mlflow", "mlflow-{{ namespace }}", "mlflow-{{ namespace }}-{{ name }}"):
        assert sign_on({"clientId": template}).accepts_tokens is False
        reason, message = refusal({"clientId": template, "acceptTokens": True})
        assert (reason, "clientId (with acceptTokens: true)" in message) == (Reason.AMBIGUOUS_TEMPLATE, True)
    assert sign_on({"acceptTokens": True}).accepts_tokens


@pytest.mark.parametrize(
    ("field", "oidc"),
    [
        ("clientId", {"clientId": "a b"}),
        ("clientId", {"clientId": "{{ nothing }}"}),
        ("clientSecretRef.name", {"clientSecretRef": {"name": "A B"}}),
        ("allowedGroups", {"allowedGroups": ["a,b"]}),
        ("allowedGroups", {"allowedGroups": ["{{ namespaceLabels['x'] }}"]}),
        ("adminGroups", {"adminGroups": ["${HOME}"]}),
        ("groupPermissions", {"groupPermissions": [{"group": 'a"b', "permission": "READ"}]}),
    ],
)
def test_a_template_that_writes_something_else_is_told(field: str, oidc: Manifest) -> None:
    reason, message = refusal(oidc)
    assert reason is Reason.INVALID_SPEC
    assert message.startswith(f"access.authentication.oidc.{field} of ")


def test_a_class_says_itself_what_is_wrong_with_its_templates() -> None:
    def of_class(**oidc: object) -> ConditionResult:
        return class_result(tracking_class({"access": {"authentication": {"oidc": OIDC | oidc}}}))

    assert of_class().reason is Reason.AS_EXPECTED
    assert of_class(allowedGroups=["{{ namespaceLabels['team'] }}"]).reason is Reason.AS_EXPECTED
    assert of_class(clientId="mlflow", acceptTokens=True).reason is Reason.AMBIGUOUS_TEMPLATE
    assert of_class(adminGroups=["a,b"]).reason is Reason.INVALID_SPEC


def test_a_server_names_only_groups_that_the_class_permits() -> None:
    asked: Manifest = {"oidc": {"allowedGroups": ["ml-guests"]}}
    for patterns in ([], ["guests"], ["ml"], ["ml-guests-*"]):
        reason, message = refusal(asked=asked, permissions={"oidc": {"groups": patterns}})
        assert (reason, "permissions.oidc.groups" in message) == (Reason.NOT_PERMITTED, True)
    for patterns in (["ml-guests"], ["x", "ml-*"]):
        assert "ml-guests" in sign_on(asked=asked, permissions={"oidc": {"groups": patterns}}).groups


def test_passwords_or_nothing_in_the_place_of_the_provider_need_a_permission() -> None:
    reason, message = refusal(asked={"basic": {}})
    assert (reason, "permissions.basicAuthentication" in message) == (Reason.NOT_PERMITTED, True)
    reason, message = refusal(asked={"none": {}})
    assert (reason, "permissions.anonymousAccess" in message) == (Reason.NOT_PERMITTED, True)
    model = planned(asked={"basic": {}}, permissions={"basicAuthentication": True}).model
    assert (model.single_sign_on, model.login is not None) == (None, True)


def test_a_class_without_a_provider_offers_none() -> None:
    with pytest.raises(Invalid, match="names no identity provider") as refused:
        plan_of(
            server({"access": {"authentication": {"oidc": {}}}}),
            tracking_class({"access": {"authentication": {"basic": {}}}}, is_default=True),
        )
    assert refused.value.reason is Reason.NOT_PERMITTED


def test_the_programs_of_the_team_have_the_default_permission() -> None:
    login = planned({"defaultPermission": "READ"}).model.login
    assert login is not None
    assert login.default_permission == "READ"
