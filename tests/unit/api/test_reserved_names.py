"""The admission policy about names of our group watches what the operator writes, and leaves people what is theirs."""

import pytest

from tracking_operator.api.labels_and_annotations import (
    APPLIED_ANNOTATION,
    RESOLVED_ANNOTATION,
    SERVER_LABEL,
    WATCH_LABEL,
)
from tracking_operator.api.reserved_names import (
    ANNOTATIONS_FOR_PEOPLE,
    LABELS_FOR_PEOPLE,
    reserved_names_binding,
    reserved_names_policy,
)


@pytest.mark.parametrize("name", [RESOLVED_ANNOTATION, APPLIED_ANNOTATION, SERVER_LABEL])
def test_what_the_operator_writes_is_nothing_for_people(name: str) -> None:
    free = {
        one
        for names in (ANNOTATIONS_FOR_PEOPLE, LABELS_FOR_PEOPLE)
        for keys in names.values()
        for one in keys
    }
    assert name not in free
    assert WATCH_LABEL in free


def test_no_kind_is_watched_whose_labels_controllers_copy() -> None:
    rules = reserved_names_policy()["spec"]["matchConstraints"]["resourceRules"]
    watched = {resource for rule in rules for resource in rule["resources"]}
    assert not watched & {"pods", "replicasets", "endpointslices", "persistentvolumeclaims"}


def test_binding_puts_the_policy_in_force() -> None:
    spec = reserved_names_binding()["spec"]
    assert spec == {"policyName": reserved_names_policy()["metadata"]["name"], "validationActions": ["Deny"]}
