"""Where a server's data lives: decided at creation, kept ever after.

Pure: takes what the team wrote, what was decided before, and what the class says today; returns what
holds, and the sentences that tell where today's class would have decided otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from tracking_operator import naming
from tracking_operator.api.conditions import Reason
from tracking_operator.api.decision import (
    DecidedAddress,
    DecidedArtifacts,
    DecidedDatabase,
    Decision,
    decision_in,
)
from tracking_operator.api.marks import ALLOW_EMPTY_STORE_ANNOTATION, RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import ArtifactStoreKind, BackendStoreKind, TrackingServer
from tracking_operator.api.tracking_server_class import Isolation
from tracking_operator.failures import Invalid
from tracking_operator.reconcile.classes import ChosenClass, unusable_template, version_order

DEFAULT_DATABASE_TEMPLATE: Final = "mlflow_{{ namespace }}_{{ name }}"


StoreKind = TypeVar("StoreKind", BackendStoreKind, ArtifactStoreKind)


@dataclass(frozen=True)
class Note:
    """Something worth saying about a specification that is valid."""

    reason: Reason
    message: str


def recorded_decision(server: TrackingServer) -> Decision | None:
    """Read what was decided for this server before; None for a new one.

    A record that is lost, as after ``kubectl replace``, is read from the status, which mirrors it but for the host.
    Raises Invalid: somebody edited the record into something unreadable.
    """
    try:
        recorded = decision_in(server.metadata.annotations.get(RESOLVED_ANNOTATION))
        if recorded is not None:
            _require_usable_names(recorded)
    except ValueError as error:
        raise Invalid(
            Reason.INVALID_SPEC,
            f"The annotation {RESOLVED_ANNOTATION} cannot be used ({str(error).rstrip('.')}): restore its previous "
            "value, or remove it to have it written again from the status.",
        ) from error
    return recorded or _mirrored_decision(server)


def _require_usable_names(recorded: Decision) -> None:
    """Whoever may edit the server may edit its record, too. Raises ValueError."""
    if (recorded.backend_store is BackendStoreKind.POSTGRES) != (recorded.database is not None):
        raise ValueError("a backend store of the kind postgres has a database, and no other kind has")
    if (recorded.artifact_store is ArtifactStoreKind.S3) != (recorded.artifacts is not None):
        raise ValueError("an artifact store of the kind s3 has a bucket and a prefix, and no other kind has")
    for address in (DecidedAddress(host=recorded.host, path=recorded.path), *recorded.addresses):
        naming.checked_path(address.path)
        if address.host:
            naming.checked_host(address.host)
    if recorded.former_host:
        naming.checked_host(recorded.former_host)
    if recorded.database:
        naming.checked_database(recorded.database.name)
    if recorded.artifacts:
        naming.checked_artifact_prefix(recorded.artifacts.prefix)


def has_lost_its_record(server: TrackingServer) -> bool:
    """Whether what was decided is known from the status only."""
    return RESOLVED_ANNOTATION not in server.metadata.annotations and _mirrored_decision(server) is not None


def _mirrored_decision(server: TrackingServer) -> Decision | None:
    status = server.status
    if status.backend_store is None or status.artifact_store is None:
        return None
    database, artifacts = status.database, status.artifact_store
    return Decision(
        class_name=status.class_name or "",
        version=status.version or "",
        backend_store=status.backend_store.kind,
        artifact_store=status.artifact_store.kind,
        database=DecidedDatabase(host=database.host, port=database.port, name=database.name)
        if database
        else None,
        artifacts=DecidedArtifacts(
            bucket=artifacts.bucket, prefix=artifacts.prefix, endpoint=artifacts.endpoint
        )
        if artifacts.bucket and artifacts.prefix
        else None,
        path=urlsplit((status.address and status.address.url) or "").path or "/",
    )


def decide(
    server: TrackingServer,
    before: Decision | None,
    chosen: ChosenClass,
    values: naming.TemplateValues,
    default_version: str,
) -> Decision:
    """Decide for a new server; keep what was decided for one that exists.

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
    return Decision(
        class_name=chosen.name,
        version=_standing_version(server, before, default_version),
        backend_store=backend_store,
        database=_database(before, chosen, values) if backend_store is BackendStoreKind.POSTGRES else None,
        artifact_store=artifact_store,
        artifacts=_artifacts(before, chosen, values) if artifact_store is ArtifactStoreKind.S3 else None,
        host=_standing_host(before, chosen, values),
        path=before.path if before else named_path(chosen, values),
        address=before.address if before else None,
        next_address=before.next_address if before else None,
        former_host=before.former_host if before else None,
    )


def wanted_version(server: TrackingServer, decision: Decision) -> str:
    """The MLflow version to run."""
    return server.spec.version or decision.version


def differences_today(
    server: TrackingServer,
    decision: Decision,
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
    if server.spec.class_name is None and default_class not in (None, decision.class_name):
        notes.append(_kept("the class", decision.class_name or "built in", default_class or "built in"))
    backend_store = server.spec.backend_store.kind or _default_backend_store(chosen)
    if backend_store != decision.backend_store:
        notes.append(_kept("the backend store", decision.backend_store.value, backend_store.value))
    artifact_store = server.spec.artifact_store.kind or _default_artifact_store(chosen)
    if artifact_store != decision.artifact_store:
        notes.append(_kept("the artifact store", decision.artifact_store.value, artifact_store.value))
    asked = server.spec.access
    for what, kept, name_today in (
        ("the host", None if asked.host else decision.host, named_host),
        ("the path", None if asked.path else decision.path, named_path),
        ("the database", decision.database.name if decision.database else None, named_database),
        ("the artifact prefix", decision.artifacts.prefix if decision.artifacts else None, named_prefix),
    ):
        if kept is not None and (today := _today(name_today, chosen, values, kept)) != kept:
            notes.append(_kept(what, kept or "none", today or "none"))
    running = wanted_version(server, decision)
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
    """The host that the class's template names; empty without a template. Raises Invalid."""
    template = chosen.spec.naming.host
    try:
        return naming.checked_host(naming.render(template, values)) if template else ""
    except naming.BadName as error:
        raise unusable_template(chosen, "naming.host", error) from error


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
    offer = chosen.spec.s3
    if offer and offer.isolation is Isolation.ABAC and prefix != f"{namespace}/{name}":
        raise Invalid(
            Reason.INVALID_SPEC,
            f"The {chosen.title} has s3.isolation abac, whose policy lets a server into {namespace}/{name} only, and not into "
            f"{prefix!r}: set naming.artifactPrefix to {naming.DEFAULT_ARTIFACT_PREFIX!r}, or use isolation bucketPolicy. "
            "Ask the platform team.",
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


def _database(before: Decision | None, chosen: ChosenClass, values: naming.TemplateValues) -> DecidedDatabase:
    """The server's own database: kept, or named after the class's template. Raises Invalid."""
    offer = chosen.spec.postgres
    decided = before.database if before else None
    if offer is None and decided is not None:
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The {chosen.title} has no postgres any more, and this server's data is in database {decided.name} on "
            f"{decided.host}:{decided.port}. What runs goes on running: ask the platform team to put postgres back.",
        )
    if offer is None:
        raise Invalid(
            Reason.NOT_PERMITTED,
            f"spec.backendStore.postgres needs a class with a PostgreSQL server, and {chosen.title} has none: "
            "use another class, or another backend store.",
        )
    return decided or DecidedDatabase(host=offer.host, port=offer.port, name=named_database(chosen, values))


def _artifacts(
    before: Decision | None, chosen: ChosenClass, values: naming.TemplateValues
) -> DecidedArtifacts:
    """The server's own prefix: kept, or named after the class's template. Raises Invalid."""
    offer = chosen.spec.s3
    decided = before.artifacts if before else None
    if offer is None and decided is not None:
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The {chosen.title} has no s3 any more, and this server's artifacts are under {decided.uri}. What runs goes on "
            "running: ask the platform team to put s3 back.",
        )
    if offer is None:
        raise Invalid(
            Reason.NOT_PERMITTED,
            f"spec.artifactStore.s3 needs a class with a bucket, and {chosen.title} has none: use another class, or another "
            "artifact store.",
        )
    if decided is not None:
        require_prefix_for_tags(chosen, decided.prefix, values.namespace, values.name)
        return decided
    return DecidedArtifacts(bucket=offer.bucket, prefix=named_prefix(chosen, values), endpoint=offer.endpoint)


def _standing_version(server: TrackingServer, before: Decision | None, default_version: str) -> str:
    """What runs while ``spec.version`` is absent: the version that the data was last brought up to."""
    if before is None:
        return server.spec.version or default_version
    return server.status.version or before.version or server.spec.version or default_version


def _standing_host(before: Decision | None, chosen: ChosenClass, values: naming.TemplateValues) -> str:
    """The host that was decided; a server that has none gets one as soon as the class names one. Raises Invalid."""
    if before is None:
        return named_host(chosen, values)
    return before.host or _today(named_host, chosen, values, "")


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
