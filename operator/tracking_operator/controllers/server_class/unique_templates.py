"""Whether a class's templates keep its servers apart, and whose an address is that a team asks for. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast
from urllib.parse import urlsplit

from tracking_operator import naming
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.failures import Invalid
from tracking_operator.naming import unique_names
from tracking_operator.naming.unique_names import NAMESPACE, SERVER, Example, Part, Parts, Text, Unknown

NAME_OF_NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""The API server sets it on every namespace, and lets nobody change it."""

UNIQUE_HOST: Final = "{{ name }}.{{ namespace }}.mlflow.example.com"


def require_unique_role(chosen: ChosenClass, values: naming.TemplateValues) -> None:
    """Raise Invalid if two servers may get one role: each would have the other's rights."""
    irsa = chosen.spec.s3.identity.irsa if chosen.spec.s3 else None
    if irsa:
        _require_unique(
            chosen,
            values,
            "s3.identity.irsa.roleArnTemplate",
            irsa.role_arn_template,
            "arn:aws:iam::123456789012:role/mlflow-{{ namespace }}.{{ name }}",
        )


def require_unique_secret(chosen: ChosenClass, values: naming.TemplateValues) -> None:
    """Raise Invalid if two servers of one namespace may get one Secret, and so each other's keys."""
    secret = chosen.spec.s3.identity.secret if chosen.spec.s3 else None
    if secret:
        field, template = "s3.identity.secret.nameTemplate", secret.name_template
        _require_unique(chosen, values, field, template, "{{ name }}-s3", known=frozenset({NAMESPACE}))


def require_unique_client(chosen: ChosenClass, values: naming.TemplateValues) -> None:
    """Raise Invalid if two servers may be one client of the identity provider, and tokens for the one are good for the other."""
    oidc = chosen.spec.access.authentication and chosen.spec.access.authentication.oidc
    if oidc and oidc.accept_tokens:
        field = "access.authentication.oidc.clientId (with acceptTokens: true)"
        _require_unique(chosen, values, field, oidc.client_id, "mlflow.{{ namespace }}.{{ name }}")


def require_unique_address(chosen: ChosenClass, values: naming.TemplateValues) -> None:
    """Raise Invalid if the class's templates may lead requests for two servers to one place.

    Host and path count together. Where a namespace may have one server only, its place need not tell the name.
    """
    needed = frozenset({NAMESPACE}) if chosen.spec.limits.max_servers_per_namespace == 1 else SERVER
    path = _parts(chosen, values, chosen.spec.naming.path or "/")
    for fields, host, write in _places(chosen, values):
        # Without its own borders a path could be the beginning of another one.
        names = [host] if any(isinstance(part, Unknown) for part in path) else [host, path]
        known = _pinned(chosen)
        if unique_names.found_again(names, known=known) >= needed:
            continue
        advice = f"write {UNIQUE_HOST} as naming.host, or /{{{{ namespace }}}}/{{{{ name }}}} as naming.path"
        raise _ambiguous(chosen, fields, unique_names.same_names(write, names, known=known), advice)


def ambiguous_prefix(chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """What to say where two servers may be given one prefix; empty if they are not. Raises Invalid: no template.

    The mark in the bucket keeps them apart: who comes second gets Conflict.
    """
    if chosen.spec.s3 is None:
        return ""
    template = chosen.spec.naming.artifact_prefix or naming.DEFAULT_ARTIFACT_PREFIX
    field = "naming.artifactPrefix"
    try:
        _require_unique(chosen, values, field, template, naming.DEFAULT_ARTIFACT_PREFIX)
    except Invalid as failure:
        return f"{failure.message} Until then the server that comes second gets Conflict."
    return ""


def belongs_elsewhere(
    chosen: ChosenClass, values: naming.TemplateValues, places: Sequence[tuple[str, str]]
) -> str:
    """The first host and path that the class's templates may give to another namespace; empty if there is none."""
    if _pinned(chosen):
        return ""
    path_parts = _parts(chosen, values, chosen.spec.naming.path or "/")
    for _, host_parts, _ in _places(chosen, values):
        by_host = host_parts and NAMESPACE in unique_names.found_again([host_parts])
        for host, path in places:
            for path_of_another in [None] if by_host else _overlapping(path_parts):
                names, written = [host_parts], [host]
                if path_of_another is not None:
                    names, written = [host_parts, path_of_another], [host, path]
                if unique_names.may_belong_elsewhere(names, written, values.namespace):
                    return f"{host}{naming.url_prefix(path)}"
    return ""


def _overlapping(path: Parts) -> Iterator[Parts]:
    """What a path may be that gets requests of one from this template: itself, one above it, one below it."""
    segments = [piece for piece in unique_names.split_at(path, "/") if any(_writes(part) for part in piece)]
    whole: list[Part] = []
    yield (Text("/"),)
    for segment in segments:
        whole += [Text("/"), *segment]
        yield tuple(whole)
    yield (*whole, Text("/"), Unknown(frozenset()))


def _writes(part: Part) -> bool:
    return not isinstance(part, Text) or bool(part.text)


Writer = Callable[[Example], tuple[str, ...]]


def _places(chosen: ChosenClass, values: naming.TemplateValues) -> Iterator[tuple[str, Parts, Writer]]:
    """The hosts that the class's templates name, each with the fields that do, its parts, and how it is written."""
    host_template, public_url = chosen.spec.naming.host, chosen.spec.access.public_url
    host_parts: Parts = ()

    def of(example: Example) -> naming.TemplateValues:
        return _values_of(example, values)

    def path_of(example: Example) -> str:
        return naming.render(chosen.spec.naming.path or "/", of(example))

    if host_template:
        host_parts = _parts(chosen, values, host_template)
        yield (
            "naming.host and naming.path",
            host_parts,
            lambda example: (naming.render(host_template, of(example)), path_of(example)),
        )
    url_parts = _parts(chosen, values, public_url, host_parts) if public_url else ()
    needs_host = not host_template and any(part == Unknown(SERVER) for part in url_parts)
    # Else there is no URL before a team has asked for a host; one that is none is told where it is rendered.
    if public_url and not needs_host and (public_host := _host_of_url(url_parts)):

        def write(example: Example) -> tuple[str, ...]:
            more = {"host": naming.render(host_template, of(example))} if host_template else {}
            return urlsplit(naming.render(public_url or "", of(example), **more)).hostname or "", path_of(
                example
            )

        yield "access.publicURL and naming.path", public_host, write


def _host_of_url(url: Parts) -> Parts:
    """The parts of a URL's host: what comes after the scheme, and before a port or a path. Nothing if it is no URL."""
    start = next(
        (index for index, part in enumerate(url) if isinstance(part, Text) and "://" in part.text), None
    )
    if start is None:
        return tuple(part for part in url if isinstance(part, Unknown))
    begun = (Text(cast(Text, url[start]).text.partition("://")[2]), *url[start + 1 :])
    found: list[Part] = []
    for part in begun:
        if isinstance(part, Text) and (end := re.search("[:/]", part.text)):
            return (*found, Text(part.text[: end.start()]))
        found.append(part)
    return tuple(found)


def _require_unique(
    chosen: ChosenClass,
    values: naming.TemplateValues,
    field: str,
    template: str,
    better: str,
    *,
    known: frozenset[str] = frozenset(),
) -> None:
    names, known = [_parts(chosen, values, template)], known | _pinned(chosen)
    if unique_names.tells_apart(names, known=known):
        return

    def write(example: Example) -> tuple[str, ...]:
        return (naming.render(template, _values_of(example, values)),)

    raise _ambiguous(
        chosen, field, unique_names.same_names(write, names, known=known), f"write it like {better}"
    )


def _parts(chosen: ChosenClass, values: naming.TemplateValues, template: str, host: Parts = ()) -> Parts:
    """The parts of a template of the class. One that cannot be read is told where it is rendered."""
    try:
        return unique_names.parts_of(template, chosen.name, values.cluster_name, host)
    except naming.BadName as error:
        raise Invalid(
            Reason.INVALID_SPEC,
            f"A template of {chosen.title} cannot be used: {error} {chosen.remedy('correct it')}",
        ) from error


def _values_of(example: Example, values: naming.TemplateValues) -> naming.TemplateValues:
    return naming.TemplateValues(
        example.namespace, example.name, values.class_name, values.cluster_name, values.namespace_labels
    )


def _pinned(chosen: ChosenClass) -> frozenset[str]:
    """The namespace, where the class is for one only."""
    selector = chosen.spec.allowed_namespaces
    is_one = selector is not None and NAME_OF_NAMESPACE_LABEL in selector.match_labels
    return frozenset({NAMESPACE}) if is_one else frozenset()


def _ambiguous(
    chosen: ChosenClass,
    fields: str,
    same: tuple[Example, Example, tuple[str, ...]] | None,
    advice: str,
) -> Invalid:
    shown = "it cannot be proved that no two servers get one name from it"
    if same:
        one, other, names = same
        shown = f"servers {one} and {other} would both get {naming.quoted(''.join(names))}"
    verb = "do" if " and " in fields else "does"
    return Invalid(
        Reason.AMBIGUOUS_TEMPLATE,
        f"{fields} of {chosen.title} {verb} not tell servers apart: {shown}. {chosen.remedy(advice)}",
    )
