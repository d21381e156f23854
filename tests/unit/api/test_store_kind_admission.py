"""The admission policy watches every kind of store, and nothing else than changes of servers."""

import pytest

from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.store_kind_admission import store_kind_binding, store_kind_policy


def expression(variable: str) -> str:
    (found,) = [
        one["expression"] for one in store_kind_policy()["spec"]["variables"] if one["name"] == variable
    ]
    return str(found)


@pytest.mark.parametrize("kind", BackendStoreKind)
def test_policy_knows_every_kind_of_backend_store(kind: BackendStoreKind) -> None:
    assert f"object.?spec.?backendStore.?{kind}.hasValue() ? '{kind}'" in expression("backendStoreNow")
    assert f"oldObject.?spec.?backendStore.?{kind}.hasValue() ? '{kind}'" in expression("backendStoreBefore")


@pytest.mark.parametrize("kind", ArtifactStoreKind)
def test_policy_knows_every_kind_of_artifact_store(kind: ArtifactStoreKind) -> None:
    assert f"object.?spec.?artifactStore.?{kind}.hasValue() ? '{kind}'" in expression("artifactStoreNow")


def test_policy_is_about_updates_of_servers_only() -> None:
    (rule,) = store_kind_policy()["spec"]["matchConstraints"]["resourceRules"]
    assert (rule["operations"], rule["resources"]) == (["UPDATE"], ["trackingservers"])


def test_refusal_names_the_annotation_that_allows_it() -> None:
    for validation in store_kind_policy()["spec"]["validations"]:
        assert ALLOW_EMPTY_STORE_ANNOTATION in validation["messageExpression"]


def test_binding_puts_the_policy_in_force() -> None:
    spec = store_kind_binding()["spec"]
    assert spec == {"policyName": store_kind_policy()["metadata"]["name"], "validationActions": ["Deny"]}
