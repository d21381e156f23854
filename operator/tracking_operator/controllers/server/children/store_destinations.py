"""Where each server's pods have to connect to: as Services in the cluster, and the Secrets of external stores, say it.

What a Service selects is remembered, and shared by all servers whose stores are behind it: a settled server costs no
read, and a resync of many servers one. A Service that changes is seen at the next resync of a server.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, SecretsMemory
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import NETWORK_POLICY, SERVICE, KubeObject, kind_of, name_of
from tracking_operator.resources.destinations import (
    Destination,
    Destinations,
    Endpoint,
    ServiceName,
    anywhere,
    is_certainly_a_service,
    named_service,
    resolve,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.store_endpoints import (
    identity_destinations,
    named_endpoints,
    provider_endpoints,
)

logger = logging.getLogger(__name__)

SECONDS_AT_LEAST: Final = 60.0
"""How old what is known of a Service has to be for a resync to ask again: servers that share it come one by one."""

SECONDS_UNTIL_IT_IS_THERE: Final = 15.0
"""How soon a Service is looked for again that a store's host names, and that does not exist."""


@dataclass(frozen=True)
class _Seen:
    """A Service as it was found; None: there is none, or it cannot be read."""

    service: KubeObject | None
    at: datetime
    is_stale: bool = False
    """Whether it is to be asked for again."""


class Networks:
    """Knows what the stores of servers are in the cluster's network."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        credentials: Credentials,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._credentials = credentials
        self._now = now
        self._seen: dict[ServiceName, _Seen] = {}
        self._locks: defaultdict[ServiceName, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def destinations(
        self, server: ServerModel, memory: SecretsMemory, *, fresh: bool = False
    ) -> Destinations:
        """Where the server's pods have to connect to; with ``fresh``, Services are looked at again."""
        found = self._credentials.endpoints(server, memory)
        database = found.get(ConditionType.BACKEND_STORE_READY)
        named = named_endpoints(
            server, database=database, object_store=found.get(ConditionType.ARTIFACT_STORE_READY)
        )
        provider = provider_endpoints(server)
        if fresh:
            self._invalidate((*named.backend_store, *named.artifact_store, *provider), server)
        return Destinations(
            await self._resolved(named.backend_store, server),
            (*await self._resolved(named.artifact_store, server), *identity_destinations(server)),
            await self._resolved(provider, server),
            is_known=self._is_known(server, found),
        )

    def leaves_alone(self, obj: KubeObject, server: ServerModel) -> bool:
        """Whether an object is a policy that stays as it is, because what it has to let through is not known now.

        What runs goes on running, also while somebody replaces the Secret of its store.
        """
        if kind_of(obj) != NETWORK_POLICY or server.destinations is None or server.destinations.is_known:
            return False
        return self._cache.get(NETWORK_POLICY, server.namespace, name_of(obj)) is not None

    @staticmethod
    def _is_known(server: ServerModel, found: dict[ConditionType, tuple[Endpoint, ...]]) -> bool:
        stores = (
            (ConditionType.BACKEND_STORE_READY, server.backend_store),
            (ConditionType.ARTIFACT_STORE_READY, server.artifact_store),
        )
        naming = [type_ for type_, store in stores if any(one.names_endpoints for one in store.secrets())]
        return all(type_ in found for type_ in naming)

    def _invalidate(self, endpoints: Iterable[Endpoint], server: ServerModel) -> None:
        """Have the Services asked for again, but for those that have just been."""
        for endpoint in endpoints:
            name = named_service(endpoint.host, server.namespace, server.cluster_domain)
            seen = self._seen.get(name) if name else None
            if name and seen and self._age(seen) >= SECONDS_AT_LEAST:
                self._seen[name] = replace(seen, is_stale=True)

    async def _resolved(
        self, endpoints: tuple[Endpoint, ...], server: ServerModel
    ) -> tuple[Destination, ...]:
        return tuple([await self._destination(one, server) for one in endpoints])

    async def _destination(self, endpoint: Endpoint, server: ServerModel) -> Destination:
        named = named_service(endpoint.host, server.namespace, server.cluster_domain)
        if named is None:
            return anywhere(endpoint.port)
        is_certain = is_certainly_a_service(endpoint.host, server.cluster_domain)
        service = await self._service(named, is_certain=is_certain)
        return resolve(endpoint, service, named.namespace)

    async def _service(self, name: ServiceName, *, is_certain: bool) -> KubeObject | None:
        async with self._locks[name]:
            seen = self._seen.get(name)
            if seen is None or self._is_worth_a_look(seen, is_certain=is_certain):
                seen = self._seen[name] = await self._look(name, seen)
            return seen.service

    def _is_worth_a_look(self, seen: _Seen, *, is_certain: bool) -> bool:
        is_missed = seen.service is None and is_certain
        return seen.is_stale or (is_missed and self._age(seen) >= SECONDS_UNTIL_IT_IS_THERE)

    def _age(self, seen: _Seen) -> float:
        return (self._now() - seen.at).total_seconds()

    async def _look(self, name: ServiceName, before: _Seen | None) -> _Seen:
        try:
            return _Seen(await self._kube.get(SERVICE, name.namespace, name.name), self._now())
        except ApiError as error:
            logger.warning(
                "Service %s/%s, which the host of a store may mean, could not be read: %s. NetworkPolicies let pods out "
                "to its port wherever that is, or to what it selected before.",
                name.namespace,
                name.name,
                error,
            )
            return _Seen(before.service if before else None, self._now())
