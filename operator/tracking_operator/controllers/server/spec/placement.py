"""Where a server's data lives: decided at creation, kept ever after.

Pure: takes what the team wrote, where the server was placed before, and what the class says today; returns what
holds, and the sentences that tell where today's class would have decided otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from tracking_operator import naming
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION
from tracking_operator.api.placement import (
    ArtifactPlacement,
    ArtifactStoreKind,
    BackendStoreKind,
    DatabasePlacement,
    Placement,
)
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import Isolation
from tracking_operator.controllers.server.spec.placement_from_marks import NOTHING_FOUND, Found
from tracking_operator.controllers.server_class.class_of_server import (
    ChosenClass,
    unusable_template,
    version_order,
)
from tracking_operator.controllers.server_class.unique_templates import require_unique_address
from tracking_operator.failures import Invalid

DEFAULT_DATABASE_TEMPLATE: Final = "mlflow_{{ namespace }}_{{ name }}"


StoreKind = TypeVar("StoreKind", BackendStoreKind, ArtifactStoreKind)


@dataclass(frozen=True)
class Note:
    """Something worth saying about a specification that is valid."""

    reason: Reason
    message: str


def placement_of(server: TrackingServer) -> Placement | None:
    """Where the server was placed before; None for a new one.

    A server of an operator that kept no placement in the status is placed where its other fields say, which tenants
    cannot write either; only its host is not among them.
    """
    return server.status.placement or _placement_of_earlier_operator(server)


def is_of_earlier_operator(server: TrackingServer) -> bool:
    """Whether all that is known of the server's placement is what an earlier operator wrote into its status."""
    return server.status.placement is None and _placement_of_earlier_operator(server) is not None


def _placement_of_earlier_operator(server: TrackingServer) -> Placement | None:
    status = server.status
    if status.backend_store is None or status.artifact_store is None:
        return None
    database, artifacts = status.database, status.artifact_store
    return Placement(
        class_name=status.class_name or "",
        version=status.version or "",
        backend_store=status.backend_store.kind,
        artifact_store=status.artifact_store.kind,
        database=DatabasePlacement(host=database.host, port=database.port, name=database.name)
        if database
        else None,
        artifacts=ArtifactPlacement(
            bucket=artifacts.bucket, prefix=artifacts.prefix, endpoint=artifacts.endpoint
        )
        if artifacts.bucket and artifacts.prefix
        else None,
        path=urlsplit((status.address and status.address.url) or "").path or "/",
    )


def decide_placement(
    server: TrackingServer,
    before: Placement | None,
    chosen: ChosenClass,
    values: naming.TemplateValues,
    default_version: str,
    *,
    found: Found = NOTHING_FOUND,
) -> Placement:
    """Decide for a new server; keep what was decided for one that exists, or is ``found`` in the stores.

    Raises Invalid: the specification would move the data, or a naming template yields no usable name.
    """
    backend_store = _store_kind(
        server,
        "spec.backendStore",
        server.spec.backend_store.kind,
        before.backend_store if before else None,
        _default_backend_store(chosen),
    )
    artifact_store = _store_kind(
        server,
        "spec.artifactStore",
        server.spec.artifact_store.kind,
        before.artifact_store if before else None,
        _default_artifact_store(chosen),
    )
    return Placement(
        class_name=chosen.name,
        version=_standing_version(server, before, default_version),
        backend_store=backend_store,
        database=_database(before, chosen, values, found)
        if backend_store is BackendStoreKind.POSTGRES
        else None,
        artifact_store=artifact_store,
        artifacts=_artifacts(before, chosen, values, found)
        if artifact_store is ArtifactStoreKind.S3
        else None,
        host=_standing_host(before, chosen, values),
        path=before.path if before else named_path(chosen, values),
        address=before.address if before else None,
        next_address=before.next_address if before else None,
        former_host=before.former_host if before else None,
    )


def wanted_version(server: TrackingServer, placement: Placement) -> str:
    """The MLflow version to run."""
    return server.spec.version or placement.version


def differences_today(
    server: TrackingServer,
    placement: Placement,
    chosen: ChosenClass,
    values: naming.TemplateValues,
    *,
    default_version: str,
    default_class: str | None,
) -> list[Note]:
    """What would be decided otherwise for a new server with this specification.

    ``default_class`` is None while several classes claim to be the default: new servers hear of that.
    """
    notes = []
    if server.spec.class_name is None and default_class not in (None, placement.class_name):
        notes.append(_kept("the class", placement.class_name or "built in", default_class or "built in"))
    backend_store = server.spec.backend_store.kind or _default_backend_store(chosen)
    if backend_store != placement.backend_store:
        notes.append(_kept("the backend store", placement.backend_store.value, backend_store.value))
    artifact_store = server.spec.artifact_store.kind or _default_artifact_store(chosen)
    if artifact_store != placement.artifact_store:
        notes.append(_kept("the artifact store", placement.artifact_store.value, artifact_store.value))
    asked = server.spec.access
    for what, kept, name_today in (
        ("the host", None if asked.host else placement.host, named_host),
        ("the path", None if asked.path else placement.path, named_path),
        ("the database", placement.database.name if placement.database else None, named_database),
        ("the artifact prefix", placement.artifacts.prefix if placement.artifacts else None, named_prefix),
    ):
        if kept is not None and (today := _today(name_today, chosen, values, kept)) != kept:
            notes.append(_kept(what, kept or "none", today or "none"))
    running = wanted_version(server, placement)
    if version_order(default_version) > version_order(running):
        notes.append(
            Note(
                Reason.UPGRADE_AVAILABLE,
                f"MLflow {default_version} is now the default of {chosen.title}: "
                f"set spec.version to upgrade from {running}.",
            )
        )
    return notes


def named_host(chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The host that the class's template names; empty without a template. Raises Invalid: also if others may get it."""
    template = chosen.spec.naming.host
    try:
        host = naming.checked_host(naming.render(template, values)) if template else ""
    except naming.BadName as error:
        raise unusable_template(chosen, "naming.host", error) from error
    require_unique_address(chosen, values)
    return host


def host_today(chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The host that the class's template gives today; empty where it gives none that can be used."""
    return _today(named_host, chosen, values, "")


def named_path(chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The URL prefix that the class's template names; ``/`` without a template. Raises Invalid."""
    template = chosen.spec.naming.path
    try:
        return naming.checked_path(naming.render(template, values)) if template else "/"
    except naming.BadName as error:
        raise unusable_template(chosen, "naming.path", error) from error


def named_database(chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The database that the class's template names. Raises Invalid."""
    try:
        return naming.database_name(chosen.spec.naming.database or DEFAULT_DATABASE_TEMPLATE, values)
    except naming.BadName as error:
        raise unusable_template(chosen, "naming.database", error) from error


def named_prefix(chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The prefix in the bucket that the class's template names. Raises Invalid."""
    template = chosen.spec.naming.artifact_prefix or naming.DEFAULT_ARTIFACT_PREFIX
    try:
        prefix = naming.artifact_prefix(template, values)
    except naming.BadName as error:
        raise unusable_template(chosen, "naming.artifactPrefix", error) from error
    require_prefix_for_tags(chosen, prefix, values.namespace, values.name)
    return prefix


def require_prefix_for_tags(chosen: ChosenClass, prefix: str, namespace: str, name: str) -> None:
    """With isolation ``abac`` the policy makes the prefix out of the identity's tags. Raises Invalid."""
    class_store = chosen.spec.s3
    if class_store and class_store.isolation is Isolation.ABAC and prefix != f"{namespace}/{name}":
        raise Invalid(
            Reason.INVALID_SPEC,
            f"The {chosen.title} has s3.isolation abac, whose policy lets a server into {namespace}/{name} only, and not into "
            f"{prefix!r}. "
            + chosen.remedy(
                f"set naming.artifactPrefix to {naming.DEFAULT_ARTIFACT_PREFIX!r}, or use isolation bucketPolicy"
            ),
        )


def _today(
    name_today: Callable[[ChosenClass, naming.TemplateValues], str],
    chosen: ChosenClass,
    values: naming.TemplateValues,
    kept: str,
) -> str:
    """What a template names today; a broken one is reported by the class, and what was decided does not need it."""
    try:
        return name_today(chosen, values)
    except Invalid:
        return kept


def _default_backend_store(chosen: ChosenClass) -> BackendStoreKind:
    return BackendStoreKind.POSTGRES if chosen.spec.postgres else BackendStoreKind.SQLITE


def _default_artifact_store(chosen: ChosenClass) -> ArtifactStoreKind:
    return ArtifactStoreKind.S3 if chosen.spec.s3 else ArtifactStoreKind.VOLUME


def _database(
    before: Placement | None, chosen: ChosenClass, values: naming.TemplateValues, found: Found
) -> DatabasePlacement:
    """The server's own database: kept, found by its mark, or named after the class's template. Raises Invalid."""
    class_store = chosen.spec.postgres
    decided = before.database if before else None
    if class_store is None and decided is not None:
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The {chosen.title} has no postgres any more, and this server's data is in database {decided.name} on "
            f"{decided.host}:{decided.port}. What runs goes on running: ask the platform team to put postgres back.",
        )
    if class_store is None:
        raise Invalid(
            Reason.NOT_PERMITTED,
            f"spec.backendStore.postgres needs a class with a PostgreSQL server, and {chosen.title} has none: "
            "use another class, or another backend store.",
        )
    if decided is not None:
        return decided
    name = (None if before else found.database) or named_database(chosen, values)
    return DatabasePlacement(host=class_store.host, port=class_store.port, name=name)


def _artifacts(
    before: Placement | None, chosen: ChosenClass, values: naming.TemplateValues, found: Found
) -> ArtifactPlacement:
    """The server's own prefix: kept, found by its mark, or named after the class's template. Raises Invalid."""
    class_store = chosen.spec.s3
    decided = before.artifacts if before else None
    if class_store is None and decided is not None:
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The {chosen.title} has no s3 any more, and this server's artifacts are under {decided.uri}. What runs goes on "
            "running: ask the platform team to put s3 back.",
        )
    if class_store is None:
        raise Invalid(
            Reason.NOT_PERMITTED,
            f"spec.artifactStore.s3 needs a class with a bucket, and {chosen.title} has none: use another class, or another "
            "artifact store.",
        )
    if decided is not None:
        require_prefix_for_tags(chosen, decided.prefix, values.namespace, values.name)
        return decided
    prefix = None if before else found.prefix
    if prefix is not None:
        require_prefix_for_tags(chosen, prefix, values.namespace, values.name)
    return ArtifactPlacement(
        bucket=class_store.bucket,
        prefix=prefix or named_prefix(chosen, values),
        endpoint=class_store.endpoint,
    )


def _standing_version(server: TrackingServer, before: Placement | None, default_version: str) -> str:
    """What runs while ``spec.version`` is absent: the version that the data was last brought up to."""
    if before is None:
        return server.spec.version or default_version
    return server.status.version or before.version or server.spec.version or default_version


def _standing_host(before: Placement | None, chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The host that was decided; a server that has none gets one as soon as the class names one. Raises Invalid."""
    if before is None:
        return named_host(chosen, values)
    return before.host or host_today(chosen, values)


def _store_kind(
    server: TrackingServer,
    field: str,
    asked: StoreKind | None,
    before: StoreKind | None,
    default: StoreKind,
) -> StoreKind:
    """What is named counts; where nothing is, an own store stays, and an external one cannot without its reference."""
    wanted = asked or (default if before in (None, "external") else before)
    if before in (None, wanted) or server.allows_empty_store:
        return wanted
    raise _store_change(field, before, asked or "nothing")


def _store_change(field: str, before: str, asked: str) -> Invalid:
    return Invalid(
        Reason.RESOLVED_DIFFERS,
        f"{field} names {asked}, but this server's data is in its {before} store, which stays in use: "
        f"write {field}.{before} again, or set the annotation {ALLOW_EMPTY_STORE_ANNOTATION} to "
        '"true" to begin with an empty store.',
    )


def _kept(what: str, kept: str, today: str) -> Note:
    return Note(
        Reason.RESOLVED_DIFFERS,
        f"A new server would get {today!r} as {what}; this one keeps {kept!r}, as decided at its creation.",
    )
