"""What can be done about a refusal of the class: the values that it permits, and what the platform team has to run or to write. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tracking_operator.api.kubernetes_types import LabelSelector
from tracking_operator.controllers.server_class.class_of_server import ChosenClass

NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The label that the API server gives each namespace, and that nobody changes."""


def not_permitted(
    chosen: ChosenClass, field: str, permission: str, permitted: Sequence[str] | None = None
) -> str:
    """The sentence for a field that a permission forbids: one of ``permitted`` values, or True and False (None)."""
    said = f"{field} is not permitted by {permission} of {chosen.title}"
    if permitted is None:
        return f"{said}: remove it, or ask the platform team to set that to true."
    if not permitted:
        return f"{said}, which permits none: remove it, or ask the platform team to add it there."
    return (
        f"{said}, which permits {', '.join(permitted)}: use that, or ask the platform team to add it there."
    )


def namespace_remedy(selector: LabelSelector, namespace: str, labels: Mapping[str, str]) -> str:
    """How a namespace comes to be selected, as one command where labels are all that it takes."""
    changes = list(_changes(selector, labels))
    if any(key == NAME_LABEL for key, _ in changes):
        return "use another class, or ask the platform team to add the namespace's name to allowedNamespaces of this one."
    replaces = any(change is not None and key in labels for key, change in changes)
    words = [f"{key}-" if change is None else f"{key}={change}" for key, change in changes]
    command = " ".join(
        ("kubectl label namespace", *map(shlex.quote, (namespace, *words)), *(["--overwrite"] * replaces))
    )
    return f"use another class, or ask the platform team for '{command}'."


def _changes(selector: LabelSelector, labels: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """The labels that a selector misses, each with its value; None: it has to go."""
    for key, value in selector.match_labels.items():
        if labels.get(key) != value:
            yield key, value
    for requirement in selector.match_expressions:
        key, found, values = requirement.key, labels.get(requirement.key), requirement.values
        match requirement.operator:
            case "In" if found not in values:
                yield key, values[0]
            case "NotIn" if found in values:
                yield key, None
            case "Exists" if found is None:
                yield key, "true"
            case "DoesNotExist" if found is not None:
                yield key, None
