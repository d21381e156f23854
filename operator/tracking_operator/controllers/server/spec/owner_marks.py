"""The ownership marks of servers: what they need to know of the namespace comes from the watch, never from a tenant."""

from dataclasses import dataclass, replace
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.failures import Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import NAMESPACE, uid_of
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.stores.ownership_mark import Mark

NAMESPACE_SEEN_SECONDS: Final = 2.0


@dataclass
class NamespaceMemory:
    """What is remembered of a server's namespace: the server may outlive it."""

    uid: str = ""


class OwnerMarks:
    """Makes the mark of each server."""

    def __init__(self, cache: ObjectCache, cluster_name: str) -> None:
        self._cache = cache
        self._cluster_name = cluster_name

    def of(self, namespace: str, name: str, uid: str, memory: NamespaceMemory) -> Mark:
        """The mark of a server. Raises Waiting: its namespace has not been seen yet."""
        live = self._cache.get(NAMESPACE, None, namespace)
        if live is not None:
            memory.uid = uid_of(live) or ""
        if not memory.uid:
            raise Waiting(
                Reason.PENDING,
                f"Namespace {namespace} has not been seen yet, so that nothing can be marked as its server's.",
                retry_after=NAMESPACE_SEEN_SECONDS,
            )
        return Mark(self._cluster_name, namespace, name, uid, memory.uid)

    def of_server(self, server: ServerModel, chosen: ChosenClass, memory: NamespaceMemory) -> Mark:
        """The mark, as far as the class lets the server take over what an earlier namespace had. Raises Waiting."""
        mark = self.of(server.namespace, server.name, server.uid, memory)
        owner = (mark.namespace, mark.namespace_uid, mark.name)
        handed_over = [(one.namespace, one.namespace_uid, one.name) for one in chosen.spec.hand_over]
        return replace(mark, takes_over=owner in handed_over)
