"""Ends all access at once: what the annotation revoke-now asks for, what of it is done, and what it waits for. Pure.

The status is the record, which tenants cannot write: a part that is not recorded there is done again from its beginning,
whatever a Secret says. Pods are made anew once everything that they read at their start is new.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import RevocationStatus, TrackingServer
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.managed_stores.states import ArtifactState, BackendState
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.server_model import ServerModel


class RevocationPart(StrEnum):
    """What is revoked by itself, by its attribute in the status."""

    BACKEND_STORE = "backend_store"
    ARTIFACT_STORE = "artifact_store"
    PODS = "pods"
    LOGIN = "login"


STORES: Final = (RevocationPart.BACKEND_STORE, RevocationPart.ARTIFACT_STORE)

WAITS: Final = {
    RevocationPart.BACKEND_STORE: (
        ConditionType.BACKEND_STORE_READY,
        "Access is not revoked yet: earlier logins and sessions of the database may work until PostgreSQL can be asked.",
    ),
    RevocationPart.ARTIFACT_STORE: (
        ConditionType.ARTIFACT_STORE_READY,
        "Access is not revoked yet: earlier access keys may work until the object store can be asked.",
    ),
    RevocationPart.LOGIN: (
        ConditionType.EXPOSED,
        "Access is not revoked yet: earlier passwords of MLflow may work until new pods serve and have been told the new ones.",
    ),
}
"""By part: the condition that says that it waits, and how. Pods wait for the others, and have their own condition."""


def is_due(resource: TrackingServer, part: RevocationPart) -> bool:
    """Whether a part of what is asked has not been done."""
    asked = resource.asked_revocation
    return bool(asked) and _done(resource, part) != asked


def revoked_parts(
    resource: TrackingServer,
    server: ServerModel,
    backend: BackendState | None,
    artifacts: ArtifactState | None,
    credentials: LoginCredentials | None,
) -> tuple[RevocationPart, ...]:
    """What of that which is asked has been done before pods are made: a store that has been brought about, or is not ours.

    Pods are to be made anew only when all that they read is new, so that they are once.
    """
    is_known = server.login is None or (
        credentials is not None and credentials.revoked_for == resource.asked_revocation
    )
    parts = []
    if backend is not None or not server.backend_store.is_managed:
        parts.append(RevocationPart.BACKEND_STORE)
    if artifacts is not None or not server.artifact_store.is_managed:
        parts.append(RevocationPart.ARTIFACT_STORE)
    after = with_done(resource, *parts)
    if is_known and not any(is_due(after, part) for part in STORES):
        parts.append(RevocationPart.PODS)
    return tuple(parts)


def is_any_due(resource: TrackingServer) -> bool:
    """Whether something of what is asked has not been done."""
    return any(is_due(resource, part) for part in RevocationPart)


def rolled_for(resource: TrackingServer) -> str:
    """What pods were made anew for last; empty if they never were."""
    return _done(resource, RevocationPart.PODS) or ""


def revocation_of_login(resource: TrackingServer) -> str:
    """What other passwords and another key to sign with are asked for; empty once that is recorded, whatever the Secret says."""
    return resource.asked_revocation if is_due(resource, RevocationPart.LOGIN) else ""


def with_done(resource: TrackingServer, *parts: RevocationPart) -> TrackingServer:
    """The resource with parts recorded as done; itself if nothing is asked, or they are already."""
    done = [part for part in parts if is_due(resource, part)]
    if not done:
        return resource
    before = resource.status.revocation or RevocationStatus()
    after = before.updated(**{part.value: resource.asked_revocation for part in done})
    return resource.updated(status=resource.status.updated(revocation=after))


def waiting_results(resource: TrackingServer) -> Iterator[ConditionResult]:
    """What is asked and may not be ended yet."""
    for part, (type_, message) in WAITS.items():
        if is_due(resource, part):
            yield ConditionResult(type_, Verdict.WORKING, Reason.REVOKING_ACCESS, message)


def news(before: TrackingServer, after: TrackingServer) -> tuple[Reason, str] | None:
    """What the team is told of between two looks; None: nothing has been done."""
    if before.status.revocation == after.status.revocation:
        return None
    if is_any_due(after):
        return Reason.REVOKING_ACCESS, "Access is being ended. Done: " + ", ".join(
            sentence for part, sentence in DONE.items() if not is_due(after, part)
        ) + "."
    return (
        Reason.ACCESS_REVOKED,
        "Logins, sessions, access keys and passwords that the operator made before let nobody in any more.",
    )


DONE: Final = {
    RevocationPart.BACKEND_STORE: "logins and sessions of the database",
    RevocationPart.ARTIFACT_STORE: "access keys of the artifact store",
    RevocationPart.PODS: "pods are made anew",
    RevocationPart.LOGIN: "passwords of MLflow",
}


def _done(resource: TrackingServer, part: RevocationPart) -> str | None:
    done = resource.status.revocation or RevocationStatus()
    match part:
        case RevocationPart.BACKEND_STORE:
            return done.backend_store
        case RevocationPart.ARTIFACT_STORE:
            return done.artifact_store
        case RevocationPart.PODS:
            return done.pods
        case RevocationPart.LOGIN:
            return done.login
