"""The Job that removes what a deleted server has in its artifact store, with the server's own identity.

That identity reaches nothing else.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.mounted_secrets import SecretsMemory
from tracking_operator.controllers.server.children.ownership import owner_check
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import ensure_tools, failures_of_tools, stranded_job
from tracking_operator.failures import Failure, Invalid, Unavailable
from tracking_operator.kube.apply import apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import JOB, NAMESPACE, KubeObject, describe, name_of, namespace_of, uid_of
from tracking_operator.resources.network_policy import build_artifact_jobs_policy
from tracking_operator.resources.pod.artifact_jobs import (
    DELETE_ARTIFACTS_CONTAINER,
    build_artifact_deletion_job,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.service_account import build_service_account

TYPE: Final = ConditionType.ARTIFACT_STORE_READY
SECONDS_UNTIL_ANOTHER_TRY: Final = 15.0


class DeletionJobs:
    """Has the artifacts of servers removed that are being deleted."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, networks: Networks, now: Callable[[], datetime]
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._networks = networks
        self._now = now

    async def empty(
        self,
        server: ServerModel,
        uri: str,
        secrets: SecretsMemory,
        grant: Callable[[], Awaitable[None]],
    ) -> ConditionResult:
        """Go on with removing what lies under ``uri``; ``grant`` lets the server's identity do that.

        Raises:
            Failure: the Job failed, or cannot be made now.

        """
        live = live_job(
            telling_children(server, self._cache),
            server,
            server.names.delete_artifacts,
            DELETE_ARTIFACTS_CONTAINER,
        )
        if live is None or not (live.is_running or live.is_done or live.has_failed):
            await self._ensure_tools(server)
        if live is None:
            await grant()
            destinations = await self._networks.destinations(server, secrets)
            await self._apply(replace(server, destinations=destinations))
        elif live.is_done:  # and yet there are objects: somebody wrote until the end
            await self._delete(live.job)
        elif live.has_failed:
            if live.seconds_since_failure(self._now()) >= SECONDS_UNTIL_ANOTHER_TRY:
                await self._delete(live.job)
            raise _failed(live, uri)
        elif stranded := await self._stranded(live, server):
            await self._delete(stranded)
        elif trouble := await self._trouble(live, server, uri):
            raise trouble
        return artifacts_go(uri, live)

    def are_impossible_in(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, so that nothing can be made in it any more."""
        live = self._cache.get(NAMESPACE, None, namespace)
        return live is not None and bool(live["metadata"].get("deletionTimestamp"))

    def impossible(self, uri: str) -> Failure:
        """Why no Job can remove the objects of a server that nothing can be made for."""
        return Invalid(
            Reason.INVALID_SPEC,
            f"The Job that removes the objects under {uri} cannot be made, because the server's specification is refused: correct "
            "that.",
        )

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

    async def _trouble(self, live: LiveJob, server: ServerModel, uri: str) -> Failure | None:
        """Why a Job that has not ended does not get on."""
        heard = await with_refusal(self._kube, live, self._now())
        if not (heard.job and heard.job.waits_for_a_pod and heard.job.problem):
            return _failed(live, uri) if live.complaint else None
        if live.differs_from(build_artifact_deletion_job(server), server):
            await self._delete(live.job)  # somebody has changed what was refused
        return Unavailable(Reason.DELETION_BLOCKED, heard.job.problem.message)

    async def _stranded(self, live: LiveJob, server: ServerModel) -> KubeObject | None:
        try:
            return await stranded_job(self._kube, self._cache, live, server)
        except ApiError as error:
            raise failure_from(error, f"read the programs of {live.name}") from error

    async def _delete(self, job: KubeObject) -> None:
        await self._kube.delete(JOB, namespace_of(job), name_of(job), uid=uid_of(job))


def _failed(live: LiveJob, uri: str) -> Failure:
    """Why an attempt failed; there is another one, by the Job or by the next one."""
    said = live.result.message if live.result and live.result.message else "read the log of its pods."
    return Unavailable(
        Reason.DELETION_BLOCKED,
        f"Job {live.name}, which removes the objects under {uri}, failed: {said}",
    )


def artifacts_go(uri: str, live: LiveJob | None, *, goes_on_at_once: bool = False) -> ConditionResult:
    """Say that the artifacts are on their way out."""
    progress = f" {live.problem.message}" if live and live.problem else ""
    message = f"All objects under {uri} are being deleted, as spec.deletionPolicy asks.{progress}"
    look_again_after = 0.0 if goes_on_at_once else None
    return ConditionResult(TYPE, Verdict.WORKING, Reason.DELETING, message, look_again_after)
