"""What MLflow's application is wrapped in before uvicorn serves it: an address that opens, no routes that trust localhost, large bodies
that stream.

uvicorn serves MLflow, with a login and without, so what it serves is changed here, whatever MLflow's own modules are called.

**Local routes.** MLflow's assistant (3.17.2: mlflow/server/assistant/api.py) runs commands for whoever connects from a loopback address.
In a pod that is everybody who may forward a port, and every sidecar; no setting turns it off. Such a path is not found, under whatever
prefix.

**The bare prefix.** ``/team-a`` is no route of MLflow's, whose login refuses what it does not know to everybody but an admin. Browsers
need the slash at its end anyway, because the page names its files relative to itself.

**Artifacts.** MLflow streams what is uploaded and downloaded by routes that it does not put under the static prefix (3.16.1 to 3.18.0:
mlflow/server/fastapi_app.py, ``include_router(artifact_router)``). Requests with the prefix reach the bridge to its WSGI application
instead, which collects the body in memory. They are led to the routes that stream, where the same login asks the same questions.

**Metrics.** Where MLflow counts for Prometheus, its route ``/metrics`` tells it to everybody who reaches the server, or with a login to
admins alone. Another process tells it to monitoring (serve_metrics.py), so here it is not found.

**Other bodies.** The bridge collects the whole body before anybody is asked for a login, so there is a limit to what it is given,
for each body and for all of them together.

**Health.** A route of Flask's waits for a free thread (in MLflow 3.18.0 only below a prefix: mlflow/server/server_info_api.py), and
whoever keeps all threads busy would have the pod restarted. It is answered here: by whatever process serves at all.

**Idleness.** Of a server that sleeps when nobody uses it, the operator asks each pod when it was asked something last (last_request.py).
"""

import asyncio
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import quote

from tracking_operator.pod_tools.addresses import ALL
from tracking_operator.pod_tools.collection import collect_as_usual
from tracking_operator.pod_tools.last_request import (
    Headers,
    LastRequest,
    is_at_the_pods_address,
    is_by_the_operator,
)
from tracking_operator.pod_tools.programs import IDLE_HEADER, LAST_REQUEST_VARIABLE
from tracking_operator.pod_tools.streamed_artifacts import (
    CAN_STREAM_ANSWER,
    LARGEST_UPLOAD,
    LENGTH,
    OpenedArtifact,
)

if TYPE_CHECKING:
    from starlette.responses import Response

Message = MutableMapping[str, Any]
"""What ASGI passes about (https://asgi.readthedocs.io/en/latest/specs/main.html)."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = Callable[[Send], Awaitable[None]]
"""Answers that something is refused."""

PREFIX_VARIABLE: Final = "_MLFLOW_STATIC_PREFIX"
"""Where ``mlflow server`` leaves ``--static-prefix`` for the processes that serve (mlflow/server/__init__.py)."""

LOCAL_ROUTES: Final = re.compile(r"/(ajax-)?api/+[0-9.]+/+mlflow/+assistant(/|$)", re.IGNORECASE)
NO_ASSISTANT: Final = "The assistant is not available on this server."

METRICS_VARIABLE: Final = "prometheus_multiproc_dir"
"""Where ``mlflow server`` leaves ``--expose-prometheus`` for the processes that serve."""
METRICS_ROUTE: Final = "/metrics"
"""Whatever the prefix (mlflow/server/prometheus_exporter.py)."""
NO_METRICS: Final = "Metrics are told on a port of their own."

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What a request may do. Any other word would be one more series of MLflow's metrics, in memory for ever."""
NO_SUCH_METHOD: Final = "This server knows no such method."

STREAMED_ROUTES: Final = re.compile(r"/(ajax-)?api/2\.0/mlflow-artifacts/artifacts/.")
STREAMED_METHODS: Final = ("GET", "PUT")

MEBIBYTE: Final = 2**20
GIBIBYTE: Final = 2**30
BODY_LIMIT: Final = 64 * MEBIBYTE
"""The largest body of a request that is no upload of an artifact. MLflow's own limits end at 10 MB (mlflow/server/handlers.py); calls
through its gateway may carry pictures and sound."""
LIMIT_WITHOUT_MEANING: Final = 64 * 2**10
"""Of the body of a GET, which nobody reads: who takes an answer slowly has the body in memory until the end."""
BODIES_LIMIT: Final = 128 * MEBIBYTE
"""As much of such bodies a process has in memory at once, from their first byte until they are answered."""
SECONDS_UNTIL_ROOM: Final = 5
GATHERED: Final = MEBIBYTE
"""As much of an upload is handed on at once: each message goes through all of MLflow's layers, and uvicorn's are of 64 KiB."""


def is_local(path: str) -> bool:
    """Whether a path belongs to routes that trust callers from localhost."""
    return LOCAL_ROUTES.search(path) is not None


def is_streamed(method: str, path: str) -> bool:
    """Whether MLflow streams what such a request sends or gets, if it has no prefix."""
    return method in STREAMED_METHODS and STREAMED_ROUTES.match(path) is not None


class BodyRefusedError(Exception):
    """A request sends more than is collected in memory."""


class CollectedBody:
    """The body of one request, from its first byte until it is answered."""

    def __init__(self, limit: int = BODY_LIMIT) -> None:
        self.size, self.limit = 0, limit
        self.refusal: Refusal | None = None
        self.until_refused = asyncio.timeout(None)

    def refuse(self, refusal: Refusal) -> None:
        """End its request, which may be waiting for more of it."""
        self.refusal = refusal
        self.until_refused.reschedule(0)


class CollectedBodies:
    """All bodies that a process has in memory. If that becomes too much, the largest one that is still coming in gives way.

    So whoever sends large ones slowly, or never to their end, keeps nobody from sending small ones.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self.taken = limit, 0
        self._incoming: set[CollectedBody] = set()

    def add(self, body: CollectedBody, message: Message) -> None:
        """Count what has come in.

        Raises:
            BodyRefusedError: it is more than there may be.
        """
        if body.refusal:
            raise BodyRefusedError
        size = len(message.get("body", b""))
        self._incoming.add(body)
        body.size += size
        self.taken += size
        if body.size > body.limit:
            self._refuse(body, _refuse_body)
        while self.taken > self._limit and self._incoming:
            self._refuse(max(self._incoming, key=lambda one: one.size), _refuse_for_now)
        if not message.get("more_body"):
            self._incoming.discard(body)
        if body.refusal:
            raise BodyRefusedError

    def remove(self, body: CollectedBody) -> None:
        """Count a body no more."""
        self.taken -= body.size
        body.size = 0
        self._incoming.discard(body)

    def _refuse(self, body: CollectedBody, refusal: Refusal) -> None:
        body.refuse(refusal)
        self.remove(body)


BODIES: Final = CollectedBodies(BODIES_LIMIT)


class ServedApplication:
    """MLflow's ASGI application as the world sees it."""

    def __init__(
        self,
        app: App,
        prefix: str,
        *,
        can_stream_answers: bool = False,
        has_metrics: bool = False,
        last_request: LastRequest | None = None,
    ) -> None:
        self._app, self._prefix = app, prefix.rstrip("/")
        self._last_request = last_request
        self._has_metrics = has_metrics
        self._can_stream_answers = can_stream_answers

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        path = str(scope.get("path", ""))
        if self._last_request and self._is_use(scope, path):
            send = _noting(self._last_request, send)
        if is_local(path):
            await _refuse_local(scope, send)
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] not in METHODS:
            await _answer(send, 501, _error("NOT_IMPLEMENTED", NO_SUCH_METHOD))
        elif self._is_health(scope, path):
            await _answer(
                send, 200, b"OK", self._idleness(scope.get("headers", ())), type_=b"text/plain; charset=utf-8"
            )
        elif self._is_bare_prefix(scope, path):
            await _answer(send, 307, b"", [(b"location", self._with_slash(scope))])
        elif self._has_metrics and path == METRICS_ROUTE:
            await _answer(send, 404, _error("ENDPOINT_NOT_FOUND", NO_METRICS))
        elif is_streamed(scope["method"], inner := self._without_prefix(path)):
            CAN_STREAM_ANSWER.set(self._can_stream_answers)
            LENGTH.set(length := _length(scope))
            if (length or 0) > LARGEST_UPLOAD:
                await _refuse_artifact(send)
                return
            # Starlette routes by the path; the raw one is only told, and has to tell the same.
            led = {**scope, "path": inner, "raw_path": quote(inner).encode()} if inner != path else scope
            await self._app(led, _gathered(receive), send)
        else:
            await _answer_within_limit(self._app, scope, receive, send)

    def _is_use(self, scope: Message, path: str) -> bool:
        """Whether a request is neither a probe nor the operator's."""
        is_request = scope["type"] == "http" and not self._is_health(scope, path)
        return is_request and not is_by_the_operator(scope.get("headers", ()))

    def _idleness(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        if self._last_request is None or not is_at_the_pods_address(headers):
            return []
        return [(IDLE_HEADER.lower().encode(), str(self._last_request.seconds_ago()).encode())]

    def _is_health(self, scope: Message, path: str) -> bool:
        return path == f"{self._prefix}/health" and scope["method"] in ("GET", "HEAD")

    def _is_bare_prefix(self, scope: Message, path: str) -> bool:
        return bool(self._prefix) and path == self._prefix and scope["method"] in ("GET", "HEAD")

    def _with_slash(self, scope: Message) -> bytes:
        # Without scheme and host: these are known to whoever asks, and not to a server behind an Ingress.
        query = scope.get("query_string", b"")
        return quote(self._prefix).encode() + b"/" + (b"?" + query if query else b"")

    def _without_prefix(self, path: str) -> str:
        is_below = bool(self._prefix) and path.startswith(f"{self._prefix}/")
        return path[len(self._prefix) :] if is_below else path


def _noting(last_request: LastRequest, send: Send) -> Send:
    async def send_and_note(message: Message) -> None:
        if message["type"] == "http.response.start":
            last_request.note(message["status"])
        await send(message)

    return send_and_note


async def _refuse_local(scope: Message, send: Send) -> None:
    if scope["type"] == "http":
        await _answer(send, 404, _error("ENDPOINT_NOT_FOUND", NO_ASSISTANT))
    else:  # a WebSocket that is closed before it is accepted is answered with 403
        await send({"type": "websocket.close"})


async def _answer_within_limit(app: App, scope: Message, receive: Receive, send: Send) -> None:
    """Have a request answered whose body may be collected in memory, or refuse it as soon as it is known to be too large."""
    limit = LIMIT_WITHOUT_MEANING if scope["method"] in ("GET", "HEAD") else BODY_LIMIT
    if (_length(scope) or 0) > limit:
        await _refuse_body(send)
        return
    body, has_begun = CollectedBody(limit), False

    async def receive_within_limit() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            BODIES.add(body, message)
        return message

    async def send_unless_refused(message: Message) -> None:
        nonlocal has_begun
        if body.refusal is None:
            has_begun = True
            await send(message)

    try:
        async with body.until_refused:
            await app(scope, receive_within_limit, send_unless_refused)
    except Exception:
        if body.refusal is None:
            raise
    finally:
        BODIES.remove(body)
    if body.refusal and not has_begun:
        await body.refusal(send)


async def _refuse_body(send: Send) -> None:
    sentence = (
        f"The body of a request may have {BODY_LIMIT // MEBIBYTE} MiB here. "
        "Send what is larger as an artifact."
    )
    # The rest of the body is not read, so nothing else can come by this connection.
    await _answer(send, 413, _error("INVALID_PARAMETER_VALUE", sentence), [(b"connection", b"close")])


async def _refuse_artifact(send: Send) -> None:
    sentence = (
        f"An artifact may have {LARGEST_UPLOAD // GIBIBYTE} GiB here. Split it, or write it to the object store yourself "
        "and log where it is."
    )
    await _answer(send, 413, _error("INVALID_PARAMETER_VALUE", sentence), [(b"connection", b"close")])


async def _refuse_for_now(send: Send) -> None:
    sentence = "The server has no memory for so large a request now, because of others. Send it again."
    headers = [(b"connection", b"close"), (b"retry-after", str(SECONDS_UNTIL_ROOM).encode())]
    await _answer(send, 503, _error("TEMPORARILY_UNAVAILABLE", sentence), headers)


def _error(code: str, message: str) -> bytes:
    """An error as MLflow's clients read it."""
    return json.dumps({"error_code": code, "message": message}).encode()


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    type_: bytes = b"application/json",
) -> None:
    own = [(b"content-type", type_), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": own + (headers or [])})
    await send({"type": "http.response.body", "body": body})


def _length(scope: Message) -> int | None:
    """The length of a body as its sender announces it."""
    for name, value in scope.get("headers", ()):
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None


def _gathered(receive: Receive) -> Receive:
    """Join the pieces of a body to larger ones."""

    async def receive_more() -> Message:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return message
        pieces, size = [message.get("body", b"")], len(message.get("body", b""))
        while message.get("more_body") and size < GATHERED:
            message = await receive()
            if message["type"] != "http.request":
                # The client is gone. What it sent is not all, so it is worth nothing.
                return message
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
        return {
            "type": "http.request",
            "body": b"".join(pieces),
            "more_body": message.get("more_body", False),
        }

    return receive_more


class Loading(Protocol):
    """The part of uvicorn's Config that matters here."""

    loaded_app: App
    timeout_worker_healthcheck: int


SECONDS_WITHOUT_A_WORD: Final = 60
"""After so many seconds without a word from it, a worker process counts as hung and is killed, with all requests that it answers. uvicorn's
5 s (uvicorn/config.py, 0.54) end processes that work: those of a pod whose CPU limit is used up, or of a node that has much to do."""


def wait_for_busy_workers(uvicorn_config: ModuleType) -> None:
    """Have uvicorn kill no worker process that is only slow."""
    config = uvicorn_config.Config
    begin = config.__init__

    def begin_with_patience(self: Loading, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)
        self.timeout_worker_healthcheck = SECONDS_WITHOUT_A_WORD

    config.__init__ = begin_with_patience


def serve_changed(uvicorn_config: ModuleType) -> None:
    """Have uvicorn wrap each application that it loads, and wait for the processes that serve it. Once it is loaded, a process serves."""
    wait_for_busy_workers(uvicorn_config)
    config = uvicorn_config.Config
    load = config.load

    def load_and_wrap(self: Loading) -> None:
        load(self)
        self.loaded_app = wrapped(self.loaded_app)
        collect_as_usual()

    config.load = load_and_wrap


def wrapped(app: App) -> ServedApplication:
    """Wrap an application, which learns to answer with an artifact that is opened and not yet read."""
    application: object = app
    # uvicorn has wrapped it by itself.
    while not hasattr(application, "add_exception_handler") and hasattr(application, "app"):
        application = application.app
    can_stream = hasattr(application, "add_exception_handler")
    if can_stream:
        cast("Starlette", application).add_exception_handler(OpenedArtifact, answer_with_artifact)
    file = os.environ.get(LAST_REQUEST_VARIABLE)
    return ServedApplication(
        app,
        os.environ.get(PREFIX_VARIABLE, ""),
        can_stream_answers=can_stream,
        has_metrics=bool(os.environ.get(METRICS_VARIABLE)),
        last_request=LastRequest(Path(file)) if file else None,
    )


class Starlette(Protocol):
    """The part of an application of Starlette's that matters here."""

    def add_exception_handler(self, error: type[Exception], handler: Callable[..., object]) -> None:
        """Have an error answered."""


class Listening(Protocol):
    """The part of uvicorn's Server that matters here."""

    config: "ListeningConfig"


class ListeningConfig(Protocol):
    """The part of its Config."""

    host: str | None

    def bind_socket(self) -> socket.socket:
        """Listen where the settings say."""


def listen_by_both_families(uvicorn_server: ModuleType) -> None:
    """Have a single process of uvicorn listen by IPv4, too, where it listens on ``::``; several do so by themselves.

    asyncio makes a socket of IPv6 alone for such an address (asyncio/base_events.py, ``create_server``), uvicorn's own
    ``bind_socket`` does not.
    """
    server = uvicorn_server.Server
    serve = server.serve

    def serve_by_both(self: Listening, sockets: "list[socket.socket] | None" = None) -> Awaitable[None]:
        if sockets is None and self.config.host == ALL:
            sockets = [self.config.bind_socket()]
        awaited: Awaitable[None] = serve(self, sockets=sockets)
        return awaited

    server.serve = serve_by_both


async def answer_with_artifact(_request: object, opened: OpenedArtifact) -> "Response":
    """Answer with an artifact as MLflow does (mlflow/server/artifact_router.py), but while it is read from its store."""
    from mlflow.server.handlers import _content_disposition_attachment
    from mlflow.utils.mime_type_utils import _guess_mime_type
    from starlette.responses import StreamingResponse

    headers = {
        "Content-Type": _guess_mime_type(opened.name),
        "Content-Disposition": _content_disposition_attachment(opened.name),
        "Content-Length": str(opened.length),
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(opened.pieces(), headers=headers)
