"""Loaded by Python itself at the start of MLflow's processes, as ``sitecustomize``: answers 404 where callers from localhost are trusted.

MLflow's assistant (3.17.2: mlflow/server/assistant/api.py) runs commands for whoever connects from a loopback address. In a pod
that is everybody who may forward a port, and every sidecar; no setting turns it off. uvicorn serves MLflow, with a login and without, so
what it serves is wrapped, whatever MLflow's own modules are called: such a path is not found, under whatever prefix.
"""

import importlib.machinery
import re
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, Protocol

Message = MutableMapping[str, Any]
"""What ASGI passes about (https://asgi.readthedocs.io/en/latest/specs/main.html)."""
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

CONFIG_MODULE = "uvicorn.config"
LOCAL_ROUTES = re.compile(r"/(ajax-)?api/+[0-9.]+/+mlflow/+assistant(/|$)", re.IGNORECASE)
BODY = b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "The assistant is not available on this server."}'


def is_local(path: str) -> bool:
    """Whether a path belongs to routes that trust callers from localhost."""
    return LOCAL_ROUTES.search(path) is not None


class WithoutLocalRoutes:
    """An ASGI application without the routes that trust callers from localhost."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one connection."""
        if not is_local(str(scope.get("path", ""))):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(BODY)).encode()),
            ]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": BODY})
        else:  # a WebSocket that is closed before it is accepted is answered with 403
            await send({"type": "websocket.close"})


class BeforeServing(MetaPathFinder):
    """Changes uvicorn as soon as it is imported, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find uvicorn's configuration, in order to change it once it is loaded."""
        if fullname != CONFIG_MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            serve_without_local_routes(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


class Loading(Protocol):
    """The part of uvicorn's Config that matters here."""

    loaded_app: App


def serve_without_local_routes(uvicorn_config: ModuleType) -> None:
    """Have uvicorn wrap each application that it loads."""
    config = uvicorn_config.Config
    load = config.load

    def load_and_wrap(self: Loading) -> None:
        load(self)
        self.loaded_app = WithoutLocalRoutes(self.loaded_app)

    config.load = load_and_wrap


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, BeforeServing())
