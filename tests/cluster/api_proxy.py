"""A proxy in front of the API server that fails on demand, as networks and API servers do."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientTimeout, web
from kubernetes.aio.client import Configuration

from tracking_operator.kube.connection import load_configuration, open_session

GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}


class ApiProxy:
    """Passes requests on to the API server with the credentials of a kubeconfig, and notes them.

    ``status`` makes it refuse everything with this status, ``is_silent`` makes it answer nothing at all,
    ``expired`` names paths whose next watch is told that it has fallen too far behind.
    """

    def __init__(self, upstream: Configuration) -> None:
        self._upstream = upstream
        self._session = open_session(upstream)
        self._watches: set[asyncio.Task[object] | None] = set()
        self.url = ""
        self.status = 0
        self.refused = 0
        self.is_silent = False
        self.expired: set[str] = set()
        self.requests: list[tuple[str, str, bool]] = []

    @property
    def configuration(self) -> Configuration:
        """How to reach the API server through the proxy."""
        return Configuration(host=self.url)

    def break_connections(self) -> None:
        """End all watches in the middle."""
        for task in self._watches:
            if task:
                task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, or fail it."""
        is_watch = request.query.get("watch") == "true"
        self.requests.append((request.method, request.path, is_watch))
        if self.is_silent:
            await asyncio.Event().wait()
        if self.status:
            self.refused += 1
            return web.json_response({"kind": "Status", "message": "away"}, status=self.status)
        if is_watch and request.path in self.expired:
            self.expired.discard(request.path)
            return web.Response(text=json.dumps(GONE) + "\n")
        task = asyncio.current_task()
        if is_watch:
            self._watches.add(task)
        try:
            return await self._pass_on(request)
        finally:
            self._watches.discard(task)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            f"{self._upstream.host}{request.path_qs}",
            data=await request.read(),
            headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
            timeout=ClientTimeout(total=None),
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def close(self) -> None:
        """Close all connections to the API server."""
        await self._session.close()


@asynccontextmanager
async def an_api_proxy(kubeconfig: Path) -> AsyncIterator[ApiProxy]:
    """Stand in front of the API server for the time of the block."""
    proxy = ApiProxy(await load_configuration(kubeconfig))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await web.SockSite(runner, listener).start()
        proxy.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
            await proxy.close()
