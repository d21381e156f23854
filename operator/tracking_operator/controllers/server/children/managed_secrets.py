"""The Secrets that the operator itself writes for a server: read and written here, and never taken over."""

from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.children.ownership import conflict_result, owner_check
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.apply import Ownership, apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import SECRET, KubeObject, name_of
from tracking_operator.naming import ChildNames
from tracking_operator.resources.server_model import ServerModel

LEAVING_RETRY_SECONDS: Final = 2.0


class ManagedSecrets:
    """The Secrets of servers that hold credentials which the operator made."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def look_up(self, namespace: str, server: str) -> None:
        """Bring what the cache knows of a server's own Secrets up to date, where no watch does that. Raises ApiError."""
        for name in ChildNames(server).secrets:
            place = SECRET, namespace, name
            known, live = self._cache.get(*place), await self._kube.get(*place)
            if live is not None:
                self._cache.upsert(live)
            elif known is not None:
                self._cache.remove(known)

    async def read(self, server: ServerModel, name: str) -> KubeObject | None:
        """The server's own Secret of this name; None if there is none.

        Raises:
            Invalid: one of that name belongs to somebody else.
            Waiting: it is an earlier server's, and about to go.
            Failure: it cannot be read.

        """
        place = SECRET, server.namespace, name
        try:
            secret = self._cache.whole(*place) or await self._kube.get(*place)
        except ApiError as error:
            raise failure_from(error, f"read Secret {name}") from error
        if secret is None:
            return None
        match owner_check(server)(secret):
            case Ownership.FOREIGN:
                raise Invalid(Reason.CONFLICT, conflict_result(secret, server).message)
            case Ownership.LEAVING:
                raise Waiting(
                    Reason.PENDING,
                    f"Waits for Secret {name} of an earlier server to be gone.",
                    retry_after=LEAVING_RETRY_SECONDS,
                )
            case Ownership.OURS:
                return secret

    async def write(self, server: ServerModel, secret: KubeObject) -> bool:
        """Make the live Secret what it should be; return whether it was not. Raises Failure."""
        applied = await apply_all(self._kube, self._cache, [secret], owner=owner_check(server))
        for _, error in applied.failures:
            raise failure_from(error, f"write Secret {name_of(secret)}") from error
        return bool(applied.written)
