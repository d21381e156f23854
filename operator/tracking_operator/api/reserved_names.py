"""The admission policy about annotations and labels of our group: the operator's own, but for a few that are for people.

It is the second layer: nothing that a tenant can write into them decides about anything that is shared. Whoever may write
the status of tracking servers is the operator or the platform team, and passes.
"""

from collections.abc import Mapping
from typing import Final

from tracking_operator.api.crds import Schema
from tracking_operator.api.labels_and_annotations import (
    ALLOW_EMPTY_STORE_ANNOTATION,
    FORCE_ORPHAN_ANNOTATION,
    GROUP,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    VERSION,
    WATCH_LABEL,
)
from tracking_operator.api.store_kind_admission import binding_everywhere, policy_of, resource_rule

POLICY_NAME: Final = f"reserved-names.{GROUP}"
SERVERS: Final = "trackingservers"
BACKUPS: Final = "trackingserverbackups"
CLIENTS: Final = "trackingserverclients"

ANNOTATIONS_FOR_PEOPLE: Final = {
    SERVERS: (
        ALLOW_EMPTY_STORE_ANNOTATION,
        FORCE_ORPHAN_ANNOTATION,
        f"{GROUP}/restore-from",
        REVOKE_NOW_ANNOTATION,
        ROTATE_CREDENTIALS_ANNOTATION,
    ),
    BACKUPS: (FORCE_ORPHAN_ANNOTATION,),
    CLIENTS: (ROTATE_CREDENTIALS_ANNOTATION,),
}
"""By resource: what a team may annotate."""
LABELS_FOR_PEOPLE: Final = {"configmaps": (WATCH_LABEL,), "secrets": (WATCH_LABEL,)}
"""By resource: what a team may label."""

GUARDED: Final = (
    (GROUP, VERSION, (SERVERS, BACKUPS, CLIENTS)),
    ("", "v1", ("configmaps", "secrets", "serviceaccounts", "services")),
    ("apps", "v1", ("deployments",)),
    ("batch", "v1", ("jobs",)),
    ("gateway.networking.k8s.io", "v1", ("httproutes",)),
    ("networking.k8s.io", "v1", ("ingresses", "networkpolicies")),
)
"""Group, version and resources of what the operator writes.

Pods, ReplicaSets and EndpointSlices get their labels from controllers. A volume claim that a person brings is labelled
by that person.
"""


def reserved_names_policy() -> Schema:
    """Return the policy: annotations and labels of our group stay as they are, but for those for people."""
    may_write = f"authorizer.group('{GROUP}').resource('{SERVERS}').subresource('status')"
    return policy_of(
        POLICY_NAME,
        [resource_rule(group, version, ["CREATE", "UPDATE"], names) for group, version, names in GUARDED],
        conditions=[
            {"name": "has-names-of-the-group", "expression": f"{_has('annotations')} || {_has('labels')}"},
            {
                "name": "may-not-write-the-status",
                "expression": f"!{may_write}.namespace(request.namespace).check('patch').allowed()",
            },
        ],
        variables=[
            *_variables("annotations", ANNOTATIONS_FOR_PEOPLE),
            *_variables("labels", LABELS_FOR_PEOPLE),
        ],
        validations=[_nothing_reserved("annotations"), _nothing_reserved("labels")],
    )


def reserved_names_binding() -> Schema:
    """Return the binding that puts the policy in force everywhere."""
    return binding_everywhere(POLICY_NAME)


def _has(field: str) -> str:
    return f"object.metadata.?{field}.orValue({{}}).exists(key, key.startsWith('{GROUP}/'))"


def _variables(field: str, for_people: Mapping[str, tuple[str, ...]]) -> list[Schema]:
    """Return what the object had before, and the keys that it may not get."""
    free = " || ".join(
        f"(request.resource.resource == '{resource}' && key in {list(keys)})"
        for resource, keys in for_people.items()
    )
    before = f"variables.{field}Before"
    return [
        {
            "name": f"{field}Before",
            "expression": f"request.operation == 'UPDATE' ? oldObject.metadata.?{field}.orValue({{}}) : {{}}",
        },
        {
            "name": f"{field}Reserved",
            "expression": f"object.metadata.?{field}.orValue({{}}).filter(key, key.startsWith('{GROUP}/') && !({free}) "
            f"&& !(key in {before} && {before}[key] == object.metadata.{field}[key]))",
        },
    ]


def _nothing_reserved(field: str) -> Schema:
    return {
        "expression": f"variables.{field}Reserved.size() == 0",
        "messageExpression": f"'metadata.{field} may not have ' + variables.{field}Reserved.join(', ') "
        "+ ', because only the operator sets those: remove them'",
        "reason": "Forbidden",
    }
