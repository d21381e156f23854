"""Whose an object is: what we may change, what is a Conflict, and what is on its way out."""

from collections.abc import Iterable

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import FIELD_MANAGER, MANAGED_BY_LABEL, SERVER_LABEL
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.kube.apply import OwnerCheck, Ownership
from tracking_operator.kube.objects import (
    HTTP_ROUTE,
    INGRESS,
    JOB,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    KubeObject,
    describe,
    kind_of,
    name_of,
)
from tracking_operator.resources.client_secret import has_client_secret
from tracking_operator.resources.server_model import ServerModel


def owner_check(server: ServerModel) -> OwnerCheck:
    """Tell whose a live object is, seen from this server."""

    def ownership(live: KubeObject) -> Ownership:
        if kind_of(live) == PERSISTENT_VOLUME_CLAIM:
            return _claim_ownership(live, server)
        if controlled_by(live, server.uid):
            return Ownership.LEAVING if live["metadata"].get("deletionTimestamp") else Ownership.OURS
        return Ownership.LEAVING if _belonged_to_predecessor(live, server) else Ownership.FOREIGN

    return ownership


def controlled_by(live: KubeObject, uid: str) -> bool:
    """Whether an object's controller owner reference names this UID."""
    return any(
        reference.get("controller") and reference["uid"] == uid
        for reference in live["metadata"].get("ownerReferences") or ()
    )


def prunable(children: Iterable[KubeObject], server: ServerModel) -> list[KubeObject]:
    """What may be removed when it is no longer wanted: our own objects, but no data, no pods."""
    return [
        child
        for child in children
        if controlled_by(child, server.uid) and not _outlives_desire(child, server)
    ]


def _outlives_desire(child: KubeObject, server: ServerModel) -> bool:
    """Whether something is kept although it is not in the desired set: data, and what has a step of its own."""
    match kind_of(child):
        case kind if kind in (PERSISTENT_VOLUME_CLAIM, POD):
            return True
        case kind if kind == SECRET:
            return name_of(child) in _secrets_with_steps_of_their_own(server)
        case kind if kind == NETWORK_POLICY:
            return name_of(child) == server.names.restore
        case kind if kind == JOB:
            names = server.names
            running = (
                names.migration(server.version),
                names.check_artifacts,
                names.reset_login,
                names.restore,
                names.collect_garbage,
            )
            return is_finished(child) or name_of(child) in running
        case _:
            return False


def _secrets_with_steps_of_their_own(server: ServerModel) -> set[str]:
    """Secrets that are no part of the desired set, because their content is known to another step only."""
    # Kept without a login, too: the users stay in the database, and have these passwords when there is one again.
    names = {server.names.auth, server.names.restore}
    if server.backend_store.is_managed:
        names.add(server.names.database)
    if server.artifact_store.is_managed:
        names.add(server.names.artifacts)
    if has_client_secret(server):
        names.add(server.names.client)
    if server.single_sign_on is not None:
        names.add(server.names.oidc)
    return names


def is_finished(job: KubeObject) -> bool:
    """Whether a Job has come to an end, good or bad; its own time-to-live removes it."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def conflict_result(live: KubeObject, server: ServerModel) -> ConditionResult:
    """Say that a name is taken by something that is not ours."""
    remedy = "remove or rename it, or give the server another name."
    if kind_of(live) == PERSISTENT_VOLUME_CLAIM:
        remedy = (
            f"if it holds this server's data, label it {MANAGED_BY_LABEL}={FIELD_MANAGER} and "
            f"{SERVER_LABEL}={server.name}; if not, give the server another name."
        )
    return ConditionResult(
        condition_of(live, server),
        Verdict.BLOCKED,
        Reason.CONFLICT,
        f"{describe(live)} exists already and does not belong to this server, so it is left alone: {remedy}",
    )


def condition_of(obj: KubeObject, server: ServerModel) -> ConditionType:
    """The condition that suffers when an object is not as it should be."""
    of_login = (
        (JOB, server.names.reset_login),
        (SECRET, server.names.auth),
        (SECRET, server.names.oidc),
    )
    if kind_of(obj) in (INGRESS, HTTP_ROUTE) or (kind_of(obj), name_of(obj)) in of_login:
        return ConditionType.EXPOSED
    if kind_of(obj) == JOB:
        is_check = name_of(obj) == server.names.check_artifacts
        return ConditionType.ARTIFACT_STORE_READY if is_check else ConditionType.SCHEMA_READY
    if kind_of(obj) == SECRET:
        is_database = name_of(obj) == server.names.database
        return ConditionType.BACKEND_STORE_READY if is_database else ConditionType.ARTIFACT_STORE_READY
    if kind_of(obj) == PERSISTENT_VOLUME_CLAIM:
        is_backend = name_of(obj) == server.names.backend_store
        return ConditionType.BACKEND_STORE_READY if is_backend else ConditionType.ARTIFACT_STORE_READY
    return ConditionType.WORKLOAD_READY


def leaving_result(live: KubeObject) -> ConditionResult:
    """Say that something of an earlier server of the same name has to go first."""
    return ConditionResult(
        ConditionType.WORKLOAD_READY,
        Verdict.WORKING,
        Reason.PENDING,
        f"Waits for {describe(live)} of an earlier server to be gone.",
    )


def _claim_ownership(live: KubeObject, server: ServerModel) -> Ownership:
    """A volume claim has no owner reference, so that it outlives its server: our labels are the mark."""
    if live["metadata"].get("deletionTimestamp"):
        return Ownership.LEAVING
    labels = live["metadata"].get("labels") or {}
    is_ours = labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER and labels.get(SERVER_LABEL) == server.name
    return Ownership.OURS if is_ours else Ownership.FOREIGN


def _belonged_to_predecessor(live: KubeObject, server: ServerModel) -> bool:
    """Whether an earlier server of this name owned it: the garbage collector is about to remove it."""
    return any(
        reference.get("controller")
        and reference["apiVersion"] == server.owner_reference["apiVersion"]
        and reference["kind"] == server.owner_reference["kind"]
        and reference["name"] == server.name
        for reference in live["metadata"].get("ownerReferences") or ()
    )
