"""The admission policy: what the rules in a CRD cannot see, because they do not get annotations.

A ValidatingAdmissionPolicy is evaluated by the API server itself, so it needs no webhook and no certificate.
The operator checks the same and reports a condition, for clusters on which nobody installed the policy.
"""

from typing import Final

from tracking_operator.api.crds import Schema
from tracking_operator.api.marks import ALLOW_EMPTY_STORE_ANNOTATION, GROUP, RESOLVED_ANNOTATION, VERSION
from tracking_operator.api.tracking_server import ArtifactStoreKind, BackendStoreKind

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
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY_NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["UPDATE"],
                        "resources": ["trackingservers"],
                    }
                ]
            },
            "variables": [
                {
                    "name": "acceptsEmptyStore",
                    "expression": f"object.metadata.?annotations[?'{ALLOW_EMPTY_STORE_ANNOTATION}']"
                    ".orValue('') == 'true'",
                },
                {
                    "name": "isDecided",
                    "expression": f"oldObject.metadata.?annotations[?'{RESOLVED_ANNOTATION}'].hasValue()",
                },
                *_store_variables("backendStore", [kind.value for kind in BackendStoreKind]),
                *_store_variables("artifactStore", [kind.value for kind in ArtifactStoreKind]),
            ],
            "validations": [_kind_is_kept("backendStore"), _kind_is_kept("artifactStore")],
        },
    }


def store_kind_binding() -> Schema:
    """Return the binding that puts the policy in force everywhere."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY_NAME},
        "spec": {"policyName": POLICY_NAME, "validationActions": ["Deny"]},
    }


def _store_variables(store: str, kinds: list[str]) -> list[Schema]:
    """Return what the specification named, names now, and what the server has (empty: nothing, not yet)."""
    return [
        {"name": f"{store}Before", "expression": _named_kind("oldObject", store, kinds)},
        {"name": f"{store}Now", "expression": _named_kind("object", store, kinds)},
        {
            "name": f"{store}Decided",
            "expression": f"oldObject.?status.?{store}.?kind"
            f".orValue(variables.isDecided ? variables.{store}Before : '')",
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
