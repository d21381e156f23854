"""The operator's own policy knows all that the operator writes, and the manifests grant no more than that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tracking_operator.api.operator_admission import (
    CHILDREN,
    OWN_NAMESPACE,
    OWN_SERVICE_ACCOUNT,
    SECRETS,
    operator_policy,
    operator_policy_binding,
)
from tracking_operator.controllers.kinds import POD_DEFAULT
from tracking_operator.kube.objects import POD, SECRET
from tracking_operator.naming import ChildNames
from tracking_operator.runtime.settings import OperatorSettings
from tracking_operator.runtime.watched_kinds import GATEWAY_API, WATCHED, watched_kinds

MANIFESTS = Path(__file__).parents[3] / "manifests"
WRITES = {"create", "patch", "delete", "update"}

Grant = tuple[str, str, str]
"""API group, resource, verb."""


def documents(path: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((MANIFESTS / path).read_text()) if one]


def grants(*paths: str) -> set[Grant]:
    return {
        (group, resource, verb)
        for path in paths
        for document in documents(path)
        for rule in document.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


CLUSTER_WIDE = grants("base/cluster-role.yaml", "base/secret-watch.yaml")


def policy_kinds() -> Iterator[tuple[str, str]]:
    for group, resources in CHILDREN.items():
        for resource in resources:
            yield group, resource


def test_the_policy_knows_every_kind_that_servers_are_made_of() -> None:
    children = {one.kind for one in (*WATCHED, *GATEWAY_API) if one.is_child} - {POD} | {SECRET}
    not_watched = {(POD_DEFAULT.group, POD_DEFAULT.plural)}
    assert set(policy_kinds()) == {(kind.group, kind.plural) for kind in children} | not_watched


def test_the_policy_knows_every_secret_that_the_operator_writes() -> None:
    names = ChildNames("mlflow")
    assert {f"mlflow-{one}" for one in SECRETS} == {*names.secrets, *names.secrets_of_jobs}


def test_rbac_lets_the_operator_write_what_the_policy_knows_and_nothing_else() -> None:
    own = {
        ("tracking-operator.dev", "trackingservers"),
        ("tracking-operator.dev", "trackingservers/status"),
        ("tracking-operator.dev", "trackingserverclasses/status"),
        ("tracking-operator.dev", "trackingservers/finalizers"),
        ("tracking-operator.dev", "trackingserverbackups"),
        ("tracking-operator.dev", "trackingserverbackups/status"),
        ("tracking-operator.dev", "trackingserverbackups/finalizers"),
        ("tracking-operator.dev", "trackingserverclients/status"),
        ("", "events"),
    }
    written = {(group, resource) for group, resource, verb in CLUSTER_WIDE if verb in WRITES}
    assert written == own | set(policy_kinds())


def test_it_is_about_the_service_account_of_the_manifests() -> None:
    (account,) = documents("base/service-account.yaml")
    assert account["metadata"] == {"name": OWN_SERVICE_ACCOUNT, "namespace": OWN_NAMESPACE}
    (condition,) = operator_policy()["spec"]["matchConditions"]
    assert condition["expression"].split("'")[3::4] == [OWN_NAMESPACE, OWN_SERVICE_ACCOUNT]


def test_the_binding_puts_it_in_force_everywhere() -> None:
    name = operator_policy()["metadata"]["name"]
    assert operator_policy_binding()["spec"] == {"policyName": name, "validationActions": ["Deny"]}
    assert "operator-policy.yaml" in documents("base/kustomization.yaml")[0]["resources"]


class TestNamespaced:
    CLUSTER = grants("namespaced/cluster-role.yaml")
    ROLES = grants("namespaced/served-namespace/role.yaml")

    def test_in_the_whole_cluster_it_writes_the_status_of_classes_only(self) -> None:
        written = {(group, resource) for group, resource, verb in self.CLUSTER if verb in WRITES}
        assert written == {("tracking-operator.dev", "trackingserverclasses/status")}
        assert ("", "secrets", "get") not in self.CLUSTER

    def test_both_together_are_what_the_other_installation_has(self) -> None:
        assert self.CLUSTER | self.ROLES == CLUSTER_WIDE

    @pytest.mark.parametrize("namespace", ["team-a", "team-b"])
    def test_every_served_namespace_has_the_role_and_is_named_to_the_operator(self, namespace: str) -> None:
        (kustomization,) = documents("namespaced/kustomization.yaml")
        assert f"namespaces/{namespace}" in kustomization["resources"]
        (own,) = documents(f"namespaced/namespaces/{namespace}/kustomization.yaml")
        assert (own["namespace"], own["resources"]) == (namespace, ["../../served-namespace"])
        assert namespace in kustomization["patches"][-1]["patch"]


def test_where_many_teams_share_the_operator_lists_no_secrets() -> None:
    assert {verb for group, resource, verb in grants("base/cluster-role.yaml") if resource == "secrets"} == {
        "get",
        "create",
        "patch",
        "delete",
    }
    text = (MANIFESTS / "overlays/multi-tenant/kustomization.yaml").read_text()
    assert text.count("tracking-operator-secret-watch") == 2
    for variable in ("TRACKING_OPERATOR_BUILT_IN_CLASS", "TRACKING_OPERATOR_WATCH_SECRETS"):
        assert f'{variable}, value: "false"' in text
        assert variable.removeprefix("TRACKING_OPERATOR_").lower() in OperatorSettings.model_fields
    assert SECRET not in {one.kind for one in watched_kinds(secrets=False)}
    assert watched_kinds(secrets=True) == WATCHED
