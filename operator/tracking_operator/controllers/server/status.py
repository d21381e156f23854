"""The status of servers and classes: assembled here, written here, nowhere else."""

import logging
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import Condition, ConditionType, find_condition
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import (
    Address,
    ArtifactStoreStatus,
    BackendStoreStatus,
    ClientStatus,
    DatabaseStatus,
    TrackingServer,
    TrackingServerStatus,
)
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.conditions.unreadable import (
    conditions_in,
    status_with,
    unreadable_result,
)
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.workload.condition_results import Observed
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject, describe, kind_of, name_of, namespace_of, uid_of
from tracking_operator.resources.client_secret import has_client_secret
from tracking_operator.resources.labels import pod_selector, selector_text
from tracking_operator.resources.server_model import ServerModel

logger = logging.getLogger(__name__)

SUMMARY: Final = "Ready"
WRITES_OF_A_STATUS: Final = 3
"""How often a status is written onto what others go on editing, before the next look begins anew."""


def status_of(
    resource: TrackingServer,
    conditions: tuple[Condition, ...],
    placement: Placement,
    server: ServerModel,
    observed: Observed,
) -> TrackingServerStatus:
    """Assemble the status of a server whose specification could be carried out.

    The version is one that the data was brought up to, or found at; it never runs ahead of that.
    """
    before = resource.status
    revision = _found_revision(observed)
    deployed = ((observed.deployment or {}).get("status") or {}).get("replicas", 0)
    return TrackingServerStatus(
        observed_generation=resource.metadata.generation,
        conditions=conditions,
        url=server.url,
        address=Address(url=server.service_url),
        class_name=placement.class_name or None,
        version=before.version if revision is None else server.version,
        schema_revision=revision or before.schema_revision,
        login_revision=_login_revision(server, observed, before),
        restored_from=before.restored_from or (observed.gate.restored_from if observed.gate else None),
        placement=placement,
        artifact_root=server.artifact_root,
        backend_store=BackendStoreStatus(kind=placement.backend_store),
        artifact_store=_artifact_store_status(placement, observed, before),
        database=_database_status(placement, observed, before),
        client=ClientStatus(
            config_map_name=server.names.client,
            secret_name=server.names.client if has_client_secret(server) else None,
        ),
        revocation=before.revocation,
        replicas=deployed,
        selector=selector_text(pod_selector(server.name)),
    )


def _found_revision(observed: Observed) -> str | None:
    """The revision that fits the wanted version: None while it was not found; empty if there was no word of it."""
    if observed.gate:
        return observed.gate.revision
    check = observed.check
    return check.revision if check and check.reason is None else None


def _login_revision(server: ServerModel, observed: Observed, before: TrackingServerStatus) -> str | None:
    """The revision of the login's tables, as it was found last for the wanted version."""
    if server.login is None:
        return None
    check = observed.check.login_revision if observed.check else None
    found = observed.gate.login_revision if observed.gate else check
    return found or (before.login_revision if before.version == server.version else None)


def _database_status(
    placement: Placement, observed: Observed, before: TrackingServerStatus
) -> DatabaseStatus | None:
    if placement.database is None:
        return None
    database = placement.database
    login_role = (
        observed.database.login if observed.database else before.database and before.database.login_role
    )
    return DatabaseStatus(
        host=database.host,
        port=database.port,
        name=database.name,
        role=database.role,
        login_role=login_role or None,
    )


def _artifact_store_status(
    placement: Placement, observed: Observed, before: TrackingServerStatus
) -> ArtifactStoreStatus:
    artifacts = placement.artifacts
    if artifacts is None:
        return ArtifactStoreStatus(kind=placement.artifact_store)
    checked_before = before.artifact_store.checked if before.artifact_store else None
    return ArtifactStoreStatus(
        kind=placement.artifact_store,
        bucket=artifacts.bucket,
        prefix=artifacts.prefix,
        endpoint=artifacts.endpoint,
        checked=(observed.artifacts.checked if observed.artifacts else None) or checked_before,
    )


async def write_status(
    kube: KubeClient, cache: ObjectCache, live: KubeObject, status: KubeObject
) -> KubeObject:
    """Apply the status unless the resource already says it; return the resource as it then is.

    Raises ApiError (409): somebody changed the status after it was read. One made from what they changed, for example a
    placement that the platform team corrects, would undo it. Nothing is written to a successor either. An edit of
    anything else is no reason to give up: what was done for this status, such as a revocation, would be done again.
    """
    if (live.get("status") or {}) == status:
        return live
    read = live
    for _ in range(WRITES_OF_A_STATUS):
        try:
            answer = await kube.apply(_status_to_apply(read, status), subresource="status")
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            found = await kube.get(kind_of(live), namespace_of(live), name_of(live))
            if found is None or not _has_status_of(found, live):
                raise
            read, conflict = found, error
        else:
            cache.upsert(answer)
            return answer
    raise conflict


def _status_to_apply(read: KubeObject, status: KubeObject) -> KubeObject:
    metadata = {"name": name_of(read), "uid": uid_of(read)}
    if namespace := namespace_of(read):
        metadata["namespace"] = namespace
    metadata["resourceVersion"] = read["metadata"]["resourceVersion"]
    return {
        "apiVersion": read["apiVersion"],
        "kind": read["kind"],
        "metadata": metadata,
        "status": status,
    }


def _has_status_of(found: KubeObject, live: KubeObject) -> bool:
    return uid_of(found) == uid_of(live) and (found.get("status") or {}) == (live.get("status") or {})


async def report_unreadable(
    kube: KubeClient,
    cache: ObjectCache,
    live: KubeObject,
    error: ValidationError,
    *,
    events: EventRecorder | None = None,
    now: datetime,
) -> Outcome:
    """Say in the conditions that this version of the operator cannot read a resource; all else stays as it is.

    Raises ApiError.
    """
    logger.error("%s cannot be read by this version of the operator: %s", describe(live), error)
    result = unreadable_result(error)
    status, ready = status_with(live, result, now)
    await write_status(kube, cache, live, status)
    if events:
        announce(events, live, conditions_in(live), [result], ready)
    return Outcome(reason=result.reason.value)


def announce(
    events: EventRecorder,
    live: KubeObject,
    before: Sequence[Condition],
    condition_results: Sequence[ConditionResult],
    ready: Condition | None,
) -> None:
    """Post an Event for each problem that is new, and one when the server becomes ready."""
    known = {(condition.type, condition.reason) for condition in before if not condition.is_true}
    was_stalled = find_condition(before, ConditionType.STALLED) is not None
    for condition_result in condition_results:
        if condition_result.is_problem and (
            (condition_result.type.value, condition_result.reason.value) not in known
            # What was on its way has come to a halt: a volume that nobody provides.
            or (condition_result.verdict is Verdict.BLOCKED and not was_stalled)
        ):
            events.record(live, "Warning", condition_result.reason.value, condition_result.message)
    was_ready = any(condition.type == SUMMARY and condition.is_true for condition in before)
    if ready is not None and ready.is_true and not was_ready:
        events.record(live, "Normal", SUMMARY, ready.message)
