"""A small HTTP server that nobody can fill: for probes and metrics.

It answers from a thread and an event loop of its own, so that it can tell that the operator's loop stands still. Who
connects may be anybody in the cluster. So the number of connections is bounded, and so is what each may send, and for how
long. When all are taken, a new one takes the place of the oldest one of whoever has most: a probe always comes through,
also between a thousand connections that say nothing, or that do not read what they asked for.
"""

import asyncio
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

MOST_CONNECTIONS: Final = 64
LONGEST_REQUEST: Final = 8 * 1024
"""In bytes; the kubelet's and Prometheus' requests have less than one KiB."""
SECONDS_OF_A_CONNECTION: Final = 5.0
BACKLOG: Final = 128
BYTES_AT_A_TIME: Final = 64 * 1024
"""How much of an answer is handed to a connection: the rest stays in the one copy that all have."""
BYTES_IN_THE_KERNEL: Final = 64 * 1024
"""How much of an answer that nobody reads lies there, for each connection."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_METHODS: Final = ("GET", "HEAD")
_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) ([^ ?\r\n]*)[^ \r\n]* HTTP/1\.[01]\r\n")


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    content_type: str
    body: bytes


Respond = Callable[[str], Answer]
"""Answers a path without its query. Runs in the server's thread: it may only read."""

PLAIN: Final = "text/plain; charset=utf-8"


class BoundedServer:
    """Answers ``GET`` and ``HEAD``, one request per connection."""

    def __init__(
        self,
        port: int,
        respond: Respond,
        *,
        name: str,
        connections: int = MOST_CONNECTIONS,
        seconds: float = SECONDS_OF_A_CONNECTION,
    ) -> None:
        """Listen, but answer nobody before ``start``. Port 0 is any free one. Raises OSError: the port is taken."""
        self._respond = respond
        self._seconds = seconds
        self._most = connections
        self._open: dict[_Connection, str] = {}
        self._socket = _listen(port)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BYTES_IN_THE_KERNEL)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), sock=self._socket, backlog=BACKLOG)
        )
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for connection in list(self._open):
                connection.end()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    # What connections call

    @property
    def seconds(self) -> float:
        """How long a connection may last."""
        return self._seconds

    def answer(self, path: str) -> Answer:
        """What to answer, whatever happens."""
        try:
            return self._respond(path)
        except Exception as error:  # noqa: BLE001 — a probe must hear of it
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, PLAIN, f"{type(error).__name__}\n".encode())

    def take_in(self, connection: "_Connection", address: str) -> None:
        """Take a connection in; if there are too many, one of whoever has most has to go."""
        if len(self._open) >= self._most:
            (greediest, _), *_ = Counter(self._open.values()).most_common(1)
            next(one for one, address in self._open.items() if address == greediest).end()
        self._open[connection] = address

    def let_go(self, connection: "_Connection") -> None:
        """Forget a connection that has ended."""
        self._open.pop(connection, None)


def _listen(port: int) -> socket.socket:
    """Listen on every address: of both families where the kernel knows IPv6, as a pod may have only that."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


class _Connection(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, server: BoundedServer) -> None:
        self._server = server
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_answered = False
        self._left = memoryview(b"")
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._server.take_in(self, str(peer[0]) if peer else "")
        self._deadline = asyncio.get_running_loop().call_later(self._server.seconds, self.end)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._received += data[: LONGEST_REQUEST + 1]
        if _END_OF_HEAD in self._received:
            self._reply()
        elif len(self._received) > LONGEST_REQUEST:
            self._send(Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, PLAIN, b""), with_body=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        # Not now: a transport that is closed while it resumes tells of its end twice (CPython 3.11, selector_events.py).
        asyncio.get_running_loop().call_soon(self._write_on)

    def end(self) -> None:
        """Cut the connection, with whatever has not been sent."""
        self._forget()
        if self._transport:
            self._transport.abort()

    def _forget(self) -> None:
        self._left = memoryview(b"")
        self._server.let_go(self)
        if self._deadline:
            self._deadline.cancel()

    def _reply(self) -> None:
        line = _REQUEST_LINE.match(self._received)
        if line is None:
            self._send(Answer(HTTPStatus.BAD_REQUEST, PLAIN, b""), with_body=True)
            return
        method, path = (part.decode("latin-1") for part in line.groups())
        if method not in _METHODS:
            self._send(Answer(HTTPStatus.METHOD_NOT_ALLOWED, PLAIN, b""), with_body=True)
        else:
            self._send(self._server.answer(path), with_body=method == "GET")

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self._is_answered = True
        head = (
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
            f"Content-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\n"
            "Connection: close\r\n\r\n"
        ).encode("latin-1")
        if self._transport:
            self._left = memoryview(answer.body if with_body else b"")
            self._transport.write(head)
            self._write_on()

    def _write_on(self) -> None:
        """Hand over what the connection takes now; after the last of it the connection ends."""
        if self._transport is None:
            return
        while self._left and not self._is_paused:
            self._transport.write(self._left[:BYTES_AT_A_TIME])
            self._left = self._left[BYTES_AT_A_TIME:]
        if not self._left:
            self._transport.close()
