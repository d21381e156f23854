"""Which class a server belongs to, and which MLflow versions that offers."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tracking_operator import naming
from tracking_operator.api.conditions import Reason
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import (
    BUILT_IN_CLASS,
    TrackingServerClass,
    TrackingServerClassSpec,
)
from tracking_operator.failures import Invalid

BUILT_IN_VERSIONS: Final = ("3.16.1", "3.17.2", "3.18.0")
"""What servers may run whose class names no versions: the releases that our own image is built for."""


@dataclass(frozen=True)
class ChosenClass:
    """A server's class; ``name`` is empty for the one that is built in."""

    name: str
    spec: TrackingServerClassSpec
    is_gone: bool = False
    """Whether the class cannot be found any more, so that nobody knows what it permits."""
    is_the_readers: bool = False
    """Whether what is said of it is for the platform team, in its own conditions, and not for a team."""

    def remedy(self, what: str) -> str:
        """The sentence that has a class put right."""
        return f"{what[0].upper()}{what[1:]}." if self.is_the_readers else f"Ask the platform team to {what}."

    @property
    def title(self) -> str:
        """How a sentence calls it."""
        return f"class {self.name!r}" if self.name else "the built-in class"


def choose_class(
    server: TrackingServer,
    placement: Placement | None,
    classes: Iterable[TrackingServerClass],
    *,
    has_built_in: bool,
    unreadable: Collection[str] = (),
) -> ChosenClass:
    """Choose what the server names, else what was decided for it, else the default class of the moment.

    ``has_built_in`` tells whether there is a class for those that have none; ``unreadable`` are the names of classes that
    there are, and that this version of the operator cannot read.
    Raises Invalid: the class does not exist or is another than before, or several claim to be the default.
    """
    known = {one.metadata.name: one for one in classes}
    name = server.spec.class_name
    if placement and placement.class_name and name not in (None, placement.class_name):
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"spec.className is {name!r}, but this server was made from class {placement.class_name!r}: "
            "write that again, and create another server for another class.",
        )
    if name is None:
        name = placement.class_name if placement else default_class_name(known)
    if not name and not has_built_in:
        raise Invalid(
            Reason.CLASS_NOT_FOUND,
            "This server names no class, none is the default for it, and there is no built-in one on this cluster: set "
            f"spec.className to {_listed(known)}, or ask the platform team for a class.",
        )
    if not name:
        return ChosenClass("", BUILT_IN_CLASS)
    if name in unreadable:
        raise Invalid(
            Reason.CLASS_NOT_FOUND,
            f"TrackingServerClass {name!r} cannot be read by this version of the operator, and says why in its conditions: ask "
            "the platform team.",
        )
    if name not in known:
        raise Invalid(
            Reason.CLASS_NOT_FOUND,
            f"There is no TrackingServerClass {name!r}: set spec.className to {_listed(known)}, "
            "or ask the platform team to create it.",
        )
    return ChosenClass(name, known[name].spec)


def default_class_name(classes: Mapping[str, TrackingServerClass]) -> str:
    """The name of the class that is annotated as the default; empty if there is none.

    Raises Invalid: there are several.
    """
    defaults = sorted(name for name, one in classes.items() if one.is_default)
    if len(defaults) > 1:
        raise Invalid(
            Reason.MULTIPLE_DEFAULT_CLASSES,
            f"The classes {' and '.join(defaults)} are all annotated as the default: "
            "set spec.className, or ask the platform team to annotate only one.",
        )
    return defaults[0] if defaults else ""


def offered_images(class_spec: TrackingServerClassSpec, image_repository: str) -> dict[str, str]:
    """The MLflow versions on offer, each with its image."""
    if class_spec.mlflow.versions:
        return {offer.version: offer.image for offer in class_spec.mlflow.versions}
    return {version: f"{image_repository}:{version}" for version in BUILT_IN_VERSIONS}


def default_version(class_spec: TrackingServerClassSpec, offered: Iterable[str]) -> str:
    """The version of a server that names none: the class's choice, else the newest on offer."""
    return class_spec.mlflow.default_version or max(offered, key=version_order)


def version_order(version: str) -> tuple[int, ...]:
    """A key that sorts ``3.9.0`` before ``3.17.2``."""
    return tuple(int(part) for part in version.split("."))


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return f"one of {', '.join(ordered)}" if ordered else "nothing (no class exists yet)"


def unusable_template(chosen: ChosenClass, field: str, error: naming.BadName) -> Invalid:
    """A template of the class at ``field`` that cannot be used, for the team that meets it."""
    return Invalid(
        Reason.INVALID_SPEC,
        f"{field} of {chosen.title} cannot be used: {error} {chosen.remedy('correct it')}",
    )
