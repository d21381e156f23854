"""The stores that classes offer: what the last look at each found, so that servers need not ask."""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from typing import Generic, TypeVar

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server_class.class_secrets import ClassSecrets
from tracking_operator.failures import Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.stores.executor import StoreExecutor

ClassStore = TypeVar("ClassStore")
Connection = TypeVar("Connection")


@dataclass(frozen=True)
class _Known(Generic[ClassStore, Connection]):
    """What the last look at a class's store found."""

    class_store: ClassStore
    access: Connection | None
    failure: Failure | None = None


class StoreOfClass(ABC, Generic[ClassStore, Connection]):
    """Remembers of each class how its store was when somebody looked last."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, executor: StoreExecutor, own_namespace: str
    ) -> None:
        self.executor = executor
        self._objects = ClassSecrets(kube, cache, own_namespace)
        self._known: dict[str, _Known[ClassStore, Connection]] = {}
        self._left: defaultdict[str, set[str]] = defaultdict(set)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def access(self, class_name: str, class_store: ClassStore) -> Connection:
        """How the class's store was found last; it is looked at only if it never was.

        Nobody waits for a look that is under way: many servers of a class whose store hangs would take all
        workers from the servers of others.

        Raises:
            Failure: it cannot be used.

        """
        known = self._known.get(class_name)
        if known is None or known.class_store != class_store:
            async with self._locks[class_name]:
                known = self._known.get(class_name)
                if known is None or known.class_store != class_store:
                    return await self._look(class_name, class_store, fresh=False)
        if known.access is None:
            raise known.failure or AssertionError("a look ends with access or with a failure")
        return known.access

    async def verify(self, class_name: str, class_store: ClassStore, *, fresh: bool) -> Connection:
        """Look at the class's store now; with ``fresh`` its Secret and ConfigMap are read again, too.

        Raises:
            Failure: it cannot be used.

        """
        async with self._locks[class_name]:
            return await self._look(class_name, class_store, fresh=fresh)

    def left_behind(self, class_name: str) -> frozenset[str]:
        """The UIDs of servers that went while what lets them in could not be taken away."""
        return frozenset(self._left.get(class_name, ()))

    def leave_behind(self, class_name: str, uid: str) -> None:
        """Remember that what lets a server in which goes has to be taken away later."""
        self._left[class_name].add(uid)

    def settle(self, class_name: str, uids: frozenset[str]) -> None:
        """Forget servers that have nothing left to be taken away."""
        self._left[class_name] -= uids

    def evict(self, class_name: str) -> None:
        """Forget a class that is gone, or has no such store any more."""
        self._known.pop(class_name, None)
        self._left.pop(class_name, None)

    async def _look(self, class_name: str, class_store: ClassStore, *, fresh: bool) -> Connection:
        known = self._known.get(class_name)
        well = known.access if known and known.class_store == class_store else None
        has_failed = known is not None and known.failure is not None
        try:
            access = await self._ask(class_store, well, fresh=fresh or has_failed)
        except Failure as failure:
            if well is not None and isinstance(failure, Waiting) and failure.reason is Reason.BUSY:
                return well  # it is at work for many servers at once; should it hang, they find out
            self._known[class_name] = _Known(class_store, None, failure)
            raise
        self._known[class_name] = _Known(class_store, access)
        return access

    @abstractmethod
    async def _ask(self, class_store: ClassStore, well: Connection | None, *, fresh: bool) -> Connection:
        """Ask the store whether it can be used; ``well`` is how it was found last, if it could be used then.

        Raises:
            Failure: it cannot be used.

        """
