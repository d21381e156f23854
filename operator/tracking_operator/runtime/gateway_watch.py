"""HTTPRoutes are watched while the cluster has the Gateway API, which may come and go.

kopf finds out once, when it starts, which kinds there are: so it is started anew for this one kind whenever the API
appears, and stopped when it goes. Nothing else depends on it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.controllers.request import Request
from tracking_operator.controllers.watches import requests_for
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import HTTP_ROUTE
from tracking_operator.runtime.informers import Informers, InformersFailedError
from tracking_operator.runtime.watched_kinds import GATEWAY_API
from tracking_operator.runtime.work_queue import Priority, WorkQueue

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 2.0
"""Between two looks at the least, however often somebody asks for one."""
LEAST_SECONDS: Final = 60.0
"""Between two looks that nobody has asked for, however often the stores are looked at."""
SYNC_SECONDS: Final = 30.0
"""How long the first list may take; afterwards the operator goes on without routes, and looks again."""
CHECK_SECONDS: Final = 30.0
"""How often the watch is looked at, whether it still is one."""


class GatewayWatch:
    """Keeps the routes in the cache, and says whether there can be any."""

    def __init__(
        self,
        client: KubeClient,
        cache: ObjectCache,
        queue: WorkQueue[Request],
        gateway_api: GatewayApi,
        *,
        namespaces: tuple[str, ...],
        look_every: float,
        on_started: Callable[[], None],
    ) -> None:
        """Prepare. ``look_every`` is in seconds; ``on_started`` is called after kopf has taken over the signals."""
        self._client = client
        self._cache = cache
        self._queue = queue
        self._api = gateway_api
        self._namespaces = namespaces
        self._look_every = max(look_every, LEAST_SECONDS)
        self._on_started = on_started
        self._has_looked = asyncio.Event()

    async def wait_until_known(self) -> None:
        """Wait until it is known whether the API is there and, if so, which routes there are."""
        await self._has_looked.wait()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            if await self._is_there():
                await self._follow()
            self._has_looked.set()
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every):
                    await self._api.is_wanted.wait()
            self._api.is_wanted.clear()

    async def _is_there(self) -> bool:
        try:
            for namespace in self._namespaces or (None,):
                await self._client.list(HTTP_ROUTE, namespace, limit=1)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                logger.warning("HTTPRoutes cannot be read, so that no Gateway is used: %s", error)
            return False
        return True

    async def _follow(self) -> None:
        """Watch the routes until that is no longer possible."""
        informers = Informers(
            self._client,
            self._cache,
            self._queue,
            requests_for,
            namespaces=self._namespaces,
            watched=GATEWAY_API,
            may_vanish=True,
        )
        await informers.start()
        self._on_started()
        running = asyncio.create_task(informers.run(), name="informers of the Gateway API")
        try:
            await self._use(informers, running)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, InformersFailedError):
                await running

    async def _use(self, informers: Informers, running: "asyncio.Task[None]") -> None:
        synced = asyncio.create_task(informers.wait_until_synced())
        await asyncio.wait({running, synced}, timeout=SYNC_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        synced.cancel()
        if not informers.is_synced:
            return
        self._set_served(is_served=True)
        self._has_looked.set()
        try:
            while not running.done() and informers.traffic.problem() is None:
                await asyncio.wait({running}, timeout=CHECK_SECONDS)
        finally:
            for route in self._cache.list(HTTP_ROUTE):
                self._cache.remove(route)
            self._set_served(is_served=False)

    def _set_served(self, *, is_served: bool) -> None:
        """Say so, and have everybody looked at who uses a Gateway."""
        logger.info("The Gateway API is %s.", "there" if is_served else "not there any more")
        self._api.is_served = is_served
        for one in self._cache.list(TRACKING_SERVER_CLASS):
            if ((one.get("spec") or {}).get("access") or {}).get("gateway"):
                for key in requests_for(one, self._cache):
                    self._queue.add(key, Priority.CHANGE)
