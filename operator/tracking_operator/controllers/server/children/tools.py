"""The programs of pods in each namespace: which archive a Deployment or Job goes on with, that it is there, and when it goes.

A new release has another archive, and gives it to what is new or changes anyway. What runs keeps the one that it was made
with, as long as that is what its name says (decision 0039).
"""

import logging
from collections.abc import Iterable
from typing import Final

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
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.kube.apply import AppliedSet, Ownership, Pruned, apply_all, is_being_deleted, prune
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.cache_memory import Digest
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.compare import first_difference
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, JOB, KubeObject, kind_of, name_of
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
        """The desired Deployment, with the programs that its pods have where nothing else about them changes.

        Raises ApiError.
        """
        if live is None or tools_of(live) == current_archive().name:
            return desired
        kept = like(live, desired, server.names.former_scripts)
        if first_difference(_template_of(kept), _template_of(live)) is not None:
            return desired
        return kept if await self._has_what_it_mounts(kept, server) else desired

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
        name = tools_of(kept) or server.names.former_scripts
        place = CONFIG_MAP, server.namespace, name
        live = self._cache.get(*place) or await self._kube.get(*place)
        if live is None or is_being_deleted(live):
            return False
        return controlled_by(live, server.uid) if name == server.names.former_scripts else is_as_named(live)


async def ensure_tools(kube: KubeClient, cache: ObjectCache, namespace: str) -> AppliedSet:
    """Make this release's archive be in a namespace, as it is here."""
    applied = await apply_all(kube, cache, [build_tools_config_map(namespace)], owner=tools_ownership)
    for written in applied.written:
        logger.info("Wrote %s %s/%s because %s.", written.kind, namespace, written.name, written.why)
    return applied


def tools_ownership(live: KubeObject) -> Ownership:
    """Whose a ConfigMap with the name of an archive is: ours, as nobody else has a use for such a name."""
    return Ownership.LEAVING if is_being_deleted(live) else Ownership.OURS


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
