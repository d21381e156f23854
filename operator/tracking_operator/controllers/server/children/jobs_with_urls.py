"""A Job that reaches one backup by signed URLs: the Secret that has them, the policy that lets its pod out, and the Job.

The Secret and the policy are there as long as the Job is at work. Backups, restores and trials of backups all have such a Job.
"""

from dataclasses import dataclass, field

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.controllers.server.children.tools import ensure_tools, failures_of_tools
from tracking_operator.failures import Invalid
from tracking_operator.kube.apply import OwnerCheck, apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import failure_from
from tracking_operator.kube.objects import (
    JOB,
    NETWORK_POLICY,
    SECRET,
    Kind,
    KubeObject,
    describe,
    name_of,
    namespace_of,
    uid_of,
)


@dataclass(frozen=True)
class JobOwner:
    """Whose the Job is: of a server, as whose it was built, or of one of its backups."""

    uid: str
    ownership: OwnerCheck
    conflict: str
    """What is said of an object of somebody else's that has its name."""
    reference: KubeObject | None = None
    """What makes it a backup's; None: it stays the server's."""

    def adopted(self, obj: KubeObject) -> KubeObject:
        """An object that was built for the server, as the owner's."""
        if self.reference is None:
            return obj
        return obj | {"metadata": obj["metadata"] | {"ownerReferences": [self.reference]}}

    def conflict_with(self, live: KubeObject) -> Invalid:
        """What keeps the Job from being made."""
        return Invalid(Reason.CONFLICT, f"{describe(live)} {self.conflict}")


@dataclass(frozen=True)
class JobWithUrls:
    """What is to be there; Secrets first, as a pod waits for them."""

    secrets: tuple[KubeObject, ...] = field(repr=False)
    policy: KubeObject
    job: KubeObject


class JobsWithUrls:
    """Makes and removes them."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def make(self, wanted: JobWithUrls, owner: JobOwner) -> None:
        """Make all of it. Raises Failure, ApiError: among others, something of its name is somebody else's."""
        namespace = namespace_of(wanted.job) or ""
        for failure in failures_of_tools(await ensure_tools(self._kube, self._cache, namespace)):
            raise failure
        for secret in wanted.secrets:
            live = await self._kube.get(SECRET, namespace, name_of(secret))
            if live is not None and not controlled_by(live, owner.uid):
                raise owner.conflict_with(live)
            await self._kube.apply(owner.adopted(secret))
        objects = [owner.adopted(obj) for obj in (wanted.policy, wanted.job)]
        applied = await apply_all(self._kube, self._cache, objects, owner=owner.ownership)
        for obj, error in applied.failures:
            raise failure_from(error, f"write {describe(obj)}") from error
        for live in applied.conflicts:
            raise owner.conflict_with(live)

    async def clear(
        self,
        namespace: str,
        name: str,
        owner_uid: str,
        *,
        more_secrets: tuple[str, ...] = (),
        keep_job: bool = False,
    ) -> None:
        """Remove what is there of the owner's under these names; a Job that is kept can be looked at for a while. Raises ApiError."""
        if not keep_job:
            await self._remove(JOB, namespace, name, owner_uid)
        for secret in (name, *more_secrets):
            await self._remove(SECRET, namespace, secret, owner_uid)
        await self._remove(NETWORK_POLICY, namespace, name, owner_uid)

    async def _remove(self, kind: Kind, namespace: str, name: str, owner_uid: str) -> None:
        # No watch tells of Secrets that are there for Jobs only.
        is_watched = kind != SECRET
        live = (
            self._cache.get(kind, namespace, name)
            if is_watched
            else await self._kube.get(kind, namespace, name)
        )
        if live is not None and controlled_by(live, owner_uid):
            await self._kube.delete(kind, namespace, name, uid=uid_of(live))
