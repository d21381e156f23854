"""The programs of pods in each namespace: which archive a Deployment or Job goes on with, that it is there, and when it goes.

A new release has another archive, and gives it to what is new or changes anyway. What runs keeps the one that it was made
with, as long as that is what its name says (decision 0039).
"""

import logging
from collections.abc import Iterable
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import (
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
    TOOLS_DIGEST_LENGTH,
    TOOLS_FILE,
    TOOLS_PREFIX,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.apply import AppliedSet, Ownership, Pruned, apply_all, is_being_deleted, prune
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.cache_memory import Digest
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.compare import first_difference
from tracking_operator.kube.errors import failure_from
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    KubeObject,
    describe,
    kind_of,
    name_of,
    namespace_of,
)
from tracking_operator.resources.pod.earlier_settings import with_earlier_settings
from tracking_operator.resources.pod.pools import with_live_pool
from tracking_operator.resources.pod.tools import like, mounted_config_maps, tools_of
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.tools_archive import (
    build_tools_config_map,
    current_archive,
    digest_of,
    is_tools_name,
)

logger = logging.getLogger(__name__)

NO_SERVER: Final = ""
"""The value of the servers' label on what belongs to all of a namespace."""


class Tools:
    """Knows the archives of each namespace."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def keep(self, desired: KubeObject, live: KubeObject | None, server: ServerModel) -> KubeObject:
        """The desired Deployment, with the programs, pools and settings that its pods have where nothing else changes.

        Raises ApiError.
        """
        if live is None:
            return desired
        kept = with_earlier_settings(with_live_pool(desired, live, server), live, server)
        is_current = tools_of(live) == current_archive().name
        if not is_current:
            kept = like(live, kept, server.names.former_scripts)
        if kept is desired or first_difference(_template_of(kept), _template_of(live)) is not None:
            return desired
        return kept if is_current or await self._has_what_it_mounts(kept, server) else desired

    async def stranded(self, job: LiveJob | None, server: ServerModel) -> KubeObject | None:
        """The Job, if no pod of it can start, as an earlier release's programs are not there any more; else None.

        Raises ApiError.
        """
        return await stranded_job(self._kube, self._cache, job, server)

    async def ensure(self, namespace: str, objects: Iterable[KubeObject]) -> AppliedSet:
        """Make this release's archive be there, if one of these Deployments and Jobs has its programs from it."""
        if current_archive().name not in {tools_of(obj) for obj in objects}:
            return AppliedSet()
        return await ensure_tools(self._kube, self._cache, namespace)

    async def collect(self, namespace: str) -> Pruned:
        """Delete the archives of a namespace that nothing runs from, and all of them where no server is left."""
        archives = self._archives(namespace)
        if self._cache.names(TRACKING_SERVER, namespace):  # any of them may be about to name this release's
            archives = [one for one in archives if name_of(one) != current_archive().name]
        if not archives:  # as nearly always: nobody has to look through a large namespace
            return Pruned()
        named = self._named(namespace)
        unused = [one for one in archives if name_of(one) not in named]
        if not unused or self._is_rolling(namespace):
            return Pruned()
        return await prune(self._kube, self._cache, unused, [])

    def may_go(self, child: KubeObject, server: ServerModel) -> bool:
        """Whether a child that is not wanted any more may be removed now: programs are as long as pods are made with them."""
        if kind_of(child) != CONFIG_MAP or name_of(child) != server.names.former_scripts:
            return True
        runners = [
            one
            for kind in (DEPLOYMENT, JOB)
            for one in self._cache.children(server.namespace, server.name, kind)
        ]
        is_mounted = any(name_of(child) in mounted_config_maps(one) for one in runners)
        return not is_mounted and all(_is_settled(one) for one in runners)

    def _archives(self, namespace: str) -> list[KubeObject]:
        """Those that are there; found by their names, as to open every ConfigMap of a namespace takes long."""
        names = [name for _, name in self._cache.names(CONFIG_MAP, namespace) if is_tools_name(name)]
        return self._cache.named_children(namespace, NO_SERVER, [(CONFIG_MAP, name) for name in names])

    def _named(self, namespace: str) -> set[str | None]:
        """The archives that something has its programs from."""
        return {tools_of(one) for kind in (DEPLOYMENT, JOB) for one in self._cache.list(kind, namespace)}

    def _is_rolling(self, namespace: str) -> bool:
        """Whether pods of an earlier template may still be made: its ReplicaSet names an archive that no Deployment names."""
        return not all(_is_settled(one) for one in self._cache.list(DEPLOYMENT, namespace))

    async def _has_what_it_mounts(self, kept: KubeObject, server: ServerModel) -> bool:
        """Whether the programs that a Deployment goes on with are there, and are those that their name says."""
        live = await _mounted(self._kube, self._cache, kept, server)
        return live is not None and not is_being_deleted(live) and _serves(live, server)


async def stranded_job(
    kube: KubeClient, cache: ObjectCache, job: LiveJob | None, server: ServerModel
) -> KubeObject | None:
    """The Job, if no pod of it can start, as an earlier release's programs are not there any more; else None.

    This release's are made anew for it. What is being deleted can still be mounted. Raises ApiError.
    """
    if job is None or job.is_running or job.is_done or job.has_failed:
        return None
    if tools_of(job.job) == current_archive().name:
        return None
    live = await _mounted(kube, cache, job.job, server)
    return job.job if live is None or not _serves(live, server) else None


async def ensure_tools(kube: KubeClient, cache: ObjectCache, namespace: str) -> AppliedSet:
    """Make this release's archive be in a namespace, as it is here, in the place of whatever has its name."""
    wanted = [build_tools_config_map(namespace)]
    applied = await apply_all(kube, cache, wanted, owner=tools_ownership)
    if applied.conflicts:
        removed = await prune(kube, cache, applied.conflicts, [])
        for deleted in removed.deleted:
            logger.info(
                "Deleted %s %s/%s, which is no archive of ours.", deleted.kind, namespace, deleted.name
            )
        applied = await apply_all(kube, cache, wanted, owner=tools_ownership)
        applied.failures += removed.failures
    for written in applied.written:
        logger.info("Wrote %s %s/%s because %s.", written.kind, namespace, written.name, written.why)
    return applied


def failures_of_tools(applied: AppliedSet) -> list[Failure]:
    """Why pods that name this release's archive would not get it. One that is on its way out serves until it is gone."""
    refused = [failure_from(error, f"write {describe(obj)}") for obj, error in applied.failures]
    wrong = [*applied.conflicts, *(one for one in applied.leaving if not is_as_named(one))]
    return [*refused, *(_in_the_way(one) for one in wrong)]


def tools_ownership(live: KubeObject) -> Ownership:
    """Whose a ConfigMap with the name of an archive is: ours, or put in its place by somebody else.

    The operator's own policy lets it make no other one of what has an owner or other content: that has to go.
    """
    if is_being_deleted(live):
        return Ownership.LEAVING
    return Ownership.OURS if is_as_named(live) and _is_as_we_make_it(live) else Ownership.FOREIGN


def _is_as_we_make_it(config_map: KubeObject) -> bool:
    """Whether nobody can change it, nobody owns it, and nothing else is in it."""
    return (
        config_map.get("immutable") is True
        and not config_map.get("data")
        and set(config_map.get("binaryData") or {}) == {TOOLS_FILE}
        and not config_map["metadata"].get("ownerReferences")
    )


def _in_the_way(config_map: KubeObject) -> Failure:
    return Invalid(
        Reason.CONFLICT,
        f"{describe(config_map)} is not the archive of programs that its name says, and does not go: remove its "
        "finalizers, and whatever makes it again.",
    )


async def _mounted(
    kube: KubeClient, cache: ObjectCache, obj: KubeObject, server: ServerModel
) -> KubeObject | None:
    """The ConfigMap that a Deployment or Job has its programs from. Raises ApiError."""
    place = CONFIG_MAP, namespace_of(obj), tools_of(obj) or server.names.former_scripts
    return cache.get(*place) or await kube.get(*place)


def _serves(config_map: KubeObject, server: ServerModel) -> bool:
    """Whether a ConfigMap holds programs of ours, in whichever layout."""
    if name_of(config_map) == server.names.former_scripts:
        return controlled_by(config_map, server.uid)
    return is_as_named(config_map)


def is_as_named(config_map: KubeObject) -> bool:
    """Whether a ConfigMap holds the archive that its name says, and has our marks, which the API server lets only us set."""
    name, labels = name_of(config_map), config_map["metadata"].get("labels") or {}
    if not is_tools_name(name) or labels.get(MANAGED_BY_LABEL) != FIELD_MANAGER:
        return False
    text = (config_map.get("binaryData") or {}).get(TOOLS_FILE, "")
    digest = text.sha256[:TOOLS_DIGEST_LENGTH] if isinstance(text, Digest) else digest_of(text)
    return labels.get(SERVER_LABEL) == NO_SERVER and name == f"{TOOLS_PREFIX}{digest}"


def _template_of(deployment: KubeObject) -> KubeObject:
    return {"spec": {"template": deployment["spec"]["template"]}}


def _is_settled(obj: KubeObject) -> bool:
    return kind_of(obj) != DEPLOYMENT or is_rolled_out(obj, obj["spec"].get("replicas", 1))
