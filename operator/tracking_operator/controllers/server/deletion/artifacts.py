"""What becomes of a server's prefix in the bucket when the server is deleted.

Objects are removed by a Job with the server's own identity, which reaches nothing else; then the identity goes.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.placement import ArtifactPlacement, Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.artifacts.prefixes import ArtifactPrefixes
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.ownership import owner_check
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import ensure_tools, failures_of_tools, stranded_job
from tracking_operator.controllers.server.deletion.finalize_store import Deletion, StoreFinalization
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.failures import Failure, Invalid, Unavailable
from tracking_operator.kube.apply import apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import JOB, NAMESPACE, KubeObject, describe, name_of, namespace_of, uid_of
from tracking_operator.resources.network_policy import build_artifact_jobs_policy
from tracking_operator.resources.pod.artifact_jobs import (
    DELETE_ARTIFACTS_CONTAINER,
    build_artifact_deletion_job,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.service_account import build_service_account
from tracking_operator.resources.stores.s3 import S3Artifacts
from tracking_operator.stores.ownership_mark import Mark

TYPE: Final = ConditionType.ARTIFACT_STORE_READY
SECONDS_UNTIL_ANOTHER_TRY: Final = 15.0


class ArtifactsFinalization(StoreFinalization[ArtifactPlacement, S3StoreSpec, BucketAccess]):
    """Retains or drops the prefixes of servers that are being deleted."""

    type = TYPE
    data = "the server's artifacts"
    entrance = "the identity and the statements of the server's prefix"
    store = "The object store"

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        prefixes: ArtifactPrefixes,
        buckets: S3Admin,
        *,
        marks: OwnerMarks,
        networks: Networks,
        events: EventRecorder,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(buckets, events)
        self._kube = kube
        self._cache = cache
        self._prefixes = prefixes
        self._marks = marks
        self._networks = networks
        self._now = now

    def _place(self, placement: Placement) -> ArtifactPlacement | None:
        return placement.artifacts

    def _offer(self, chosen: ChosenClass, place: ArtifactPlacement) -> S3StoreSpec:
        offer = chosen.spec.s3
        if offer is None or (offer.bucket, offer.endpoint) != (place.bucket, place.endpoint):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"The {chosen.title} is gone, or does not name bucket {place.bucket} at {place.endpoint or 'AWS'} any more, "
                f"where the artifacts are.",
            )
        return offer

    async def _drop(
        self, deletion: Deletion, place: ArtifactPlacement, access: BucketAccess
    ) -> ConditionResult | None:
        offer, server = self._offer(deletion.chosen, place), deletion.server
        store = server.artifact_store if server else None
        role_arn = store.role_arn if isinstance(store, S3Artifacts) else None
        desired = self._prefixes.desired_at_the_end(self._mark(deletion), place, offer, role_arn)
        if await self._prefixes.is_empty(desired, access):
            await self._prefixes.drop(desired, access)
            return None
        if server is None or not isinstance(store, S3Artifacts):
            raise self._no_job(deletion.resource, place)
        live = live_job(
            telling_children(server, self._cache),
            server,
            server.names.delete_artifacts,
            DELETE_ARTIFACTS_CONTAINER,
        )
        if live is None or not (live.is_running or live.is_done or live.has_failed):
            await self._ensure_tools(server)
        if live is None:
            memory = deletion.memory
            await self._prefixes.grant_deletion(server, store, desired, access, memory.prefix)
            destinations = await self._networks.destinations(server, memory.secrets)
            await self._apply(replace(server, destinations=destinations))
        elif live.is_done:  # and yet there are objects: somebody wrote until the end
            await self._delete(live.job)
        elif live.has_failed:
            if live.seconds_since_failure(self._now()) >= SECONDS_UNTIL_ANOTHER_TRY:
                await self._delete(live.job)
            raise _failed(live, place)
        elif stranded := await self._stranded(live, server):
            await self._delete(stranded)
        elif live.complaint:
            raise _failed(live, place)
        return _artifacts_go(place, live)

    def _no_job(self, resource: TrackingServer, place: ArtifactPlacement) -> Failure:
        """Why no Job can remove the objects."""
        namespace = resource.metadata.namespace
        live = self._cache.get(NAMESPACE, None, namespace) or {}
        job = f"the Job that removes the objects under {place.uri} cannot be made"
        if live.get("metadata", {}).get("deletionTimestamp"):
            return Unavailable(
                Reason.DELETION_BLOCKED,
                f"Namespace {namespace} is being deleted, and {job} in it any more: remove the objects by hand.",
            )
        return Invalid(
            Reason.INVALID_SPEC,
            f"{job[0].upper()}{job[1:]}, because the server's specification is refused: correct that.",
        )

    async def _retain(
        self, deletion: Deletion, place: ArtifactPlacement, reaching: ChosenClass, access: BucketAccess
    ) -> None:
        offer = self._offer(reaching, place)
        desired = self._prefixes.desired_at_the_end(self._mark(deletion), place, offer, None)
        await self._prefixes.retain(desired, access)

    def _mark(self, deletion: Deletion) -> Mark:
        """The server's mark. Raises Waiting: nobody knows its namespace."""
        metadata = deletion.resource.metadata
        return self._marks.of(metadata.namespace, metadata.name, metadata.uid, deletion.memory.of_namespace)

    async def _apply(self, server: ServerModel) -> None:
        """Make the Job, and what its pod needs, which a deletion in the foreground has taken already."""
        wanted = [
            build_service_account(server),
            build_artifact_jobs_policy(server),
            build_artifact_deletion_job(server),
        ]
        applied = await apply_all(self._kube, self._cache, wanted, owner=owner_check(server))
        for obj, error in applied.failures:
            raise failure_from(error, f"write {describe(obj)}") from error

    async def _ensure_tools(self, server: ServerModel) -> None:
        """Make the archive be there as long as a pod may start: somebody may delete it beside the Job.

        Raises Failure, before there is a Job whose pods would wait for it.
        """
        for failure in failures_of_tools(await ensure_tools(self._kube, self._cache, server.namespace)):
            raise failure

    async def _stranded(self, live: LiveJob, server: ServerModel) -> KubeObject | None:
        try:
            return await stranded_job(self._kube, self._cache, live, server)
        except ApiError as error:
            raise failure_from(error, f"read the programs of {live.name}") from error

    async def _delete(self, job: KubeObject) -> None:
        await self._kube.delete(JOB, namespace_of(job), name_of(job), uid=uid_of(job))


def _failed(live: LiveJob, place: ArtifactPlacement) -> Failure:
    """Why an attempt failed; there is another one, by the Job or by the next one."""
    said = live.result.message if live.result and live.result.message else "read the log of its pods."
    return Unavailable(
        Reason.DELETION_BLOCKED,
        f"Job {live.name}, which removes the objects under {place.uri}, failed: {said}",
    )


def _artifacts_go(place: ArtifactPlacement, live: LiveJob | None) -> ConditionResult:
    progress = f" {live.problem.message}" if live and live.problem else ""
    message = f"All objects under {place.uri} are being deleted, as spec.deletionPolicy asks.{progress}"
    return ConditionResult(TYPE, Verdict.WORKING, Reason.DELETING, message)
