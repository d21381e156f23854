"""The ownership marks of servers: what they need to know of the namespace comes from the watch, never from a tenant."""

from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import NAMESPACE, uid_of
from tracking_operator.stores.ownership_mark import Mark

NAMESPACE_SEEN_SECONDS: Final = 2.0


class OwnerMarks:
    """Makes the mark of each server."""

    def __init__(self, cache: ObjectCache, cluster_name: str) -> None:
        self._cache = cache
        self._cluster_name = cluster_name
        self._namespaces: dict[str, str] = {}
        """The UID of the namespace of each server, by the server's, for one that outlives its namespace."""

    def of(self, namespace: str, name: str, uid: str) -> Mark:
        """The mark of a server. Raises Waiting: its namespace has not been seen yet."""
        live = self._cache.get(NAMESPACE, None, namespace)
        if live is not None:
            self._namespaces[uid] = uid_of(live) or ""
        if not self._namespaces.get(uid):
            raise Waiting(
                Reason.PENDING,
                f"Namespace {namespace} has not been seen yet, so that nothing can be marked as its server's.",
                retry_after=NAMESPACE_SEEN_SECONDS,
            )
        return Mark(self._cluster_name, namespace, name, uid, self._namespaces[uid])

    def evict(self, uid: str) -> None:
        """Forget a server that is gone."""
        self._namespaces.pop(uid, None)
