"""The admission policy: what the rules in a CRD cannot see, because they do not get annotations.

A ValidatingAdmissionPolicy is evaluated by the API server itself, so it needs no webhook and no certificate.
The operator checks the same and reports a condition, for clusters on which nobody installed the policy.
"""

from collections.abc import Sequence
from typing import Final

from tracking_operator.api.crds import Schema
from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION, GROUP, VERSION
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind

POLICY_NAME: Final = f"store-kinds.{GROUP}"

EXTERNAL: Final = "external"

STORE_KIND_RULES: Final = (
    "The kind of `spec.backendStore` and `spec.artifactStore` may not change once it is decided, because the server "
    "would start empty.",
    f'With the annotation `{ALLOW_EMPTY_STORE_ANNOTATION}: "true"` it may.',
    "Naming no kind keeps what was decided. `external` may not be left out, because only the specification says where "
    "it is.",
)
"""What the policy does, for the reference."""


def store_kind_policy() -> Schema:
    """Return the policy: the kind of a store is fixed unless the owner accepts an empty one."""
    accepts = f"object.metadata.?annotations[?'{ALLOW_EMPTY_STORE_ANNOTATION}'].orValue('') == 'true'"
    return policy_of(
        POLICY_NAME,
        [resource_rule(GROUP, VERSION, ["UPDATE"], ["trackingservers"])],
        variables=[
            {"name": "acceptsEmptyStore", "expression": accepts},
            *_store_variables("backendStore", [kind.value for kind in BackendStoreKind]),
            *_store_variables("artifactStore", [kind.value for kind in ArtifactStoreKind]),
        ],
        validations=[_kind_is_kept("backendStore"), _kind_is_kept("artifactStore")],
    )


def store_kind_binding() -> Schema:
    """Return the binding that puts the policy in force everywhere."""
    return binding_everywhere(POLICY_NAME)


def policy_of(
    name: str,
    rules: Sequence[Schema],
    *,
    conditions: Sequence[Schema] = (),
    variables: Sequence[Schema],
    validations: Sequence[Schema],
) -> Schema:
    """Return a policy about the requests that ``rules`` and ``conditions`` choose; where it cannot be evaluated, it refuses."""
    chosen: Schema = {"matchConstraints": {"resourceRules": list(rules)}}
    if conditions:
        chosen["matchConditions"] = list(conditions)
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            **chosen,
            "variables": list(variables),
            "validations": list(validations),
        },
    }


def resource_rule(group: str, version: str, operations: Sequence[str], resources: Sequence[str]) -> Schema:
    """Return what chooses requests about these resources."""
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": list(operations),
        "resources": list(resources),
    }


def binding_everywhere(policy: str) -> Schema:
    """Return the binding, named like its policy, that refuses everywhere what the policy does not admit."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy},
        "spec": {"policyName": policy, "validationActions": ["Deny"]},
    }


def _store_variables(store: str, kinds: list[str]) -> list[Schema]:
    """Return what the specification named, names now, and what the server has (empty: nothing, not yet)."""
    return [
        {"name": f"{store}Before", "expression": _named_kind("oldObject", store, kinds)},
        {"name": f"{store}Now", "expression": _named_kind("object", store, kinds)},
        {
            "name": f"{store}Decided",
            "expression": f"oldObject.?status.?placement.?{store}.orValue(oldObject.?status.?{store}.?kind.orValue(''))",
        },
    ]


def _named_kind(object_: str, store: str, kinds: list[str]) -> str:
    named = " : ".join(f"{object_}.?spec.?{store}.?{kind}.hasValue() ? '{kind}'" for kind in kinds)
    return f"{named} : ''"


def _kind_is_kept(store: str) -> Schema:
    """Return the validation. An update elsewhere in the object is let in, whatever it says about the store.

    Naming no store keeps what was decided, but for an external one: only the specification says where it is.
    """
    now, before, decided = (f"variables.{store}{when}" for when in ("Now", "Before", "Decided"))
    accept = f'set the annotation {ALLOW_EMPTY_STORE_ANNOTATION} to "true" to accept that'
    return {
        "expression": f"variables.acceptsEmptyStore || {now} == {before} || {decided} == '' || {now} == {decided} "
        f"|| ({now} == '' && {decided} != '{EXTERNAL}')",
        "messageExpression": f"'spec.{store} may not change from ' + {decided} + ' to ' "
        f"+ ({now} == '' ? 'nothing' : {now}) + ', because the server would start empty: set it back, or {accept}'",
        "reason": "Invalid",
    }
