"""The bytes between libpq and a PostgreSQL server, counted before libpq has them.

libpq holds a whole message in memory before anybody can look at it, and a tenant decides how long an error, a notice or a
value of its database is: up to a gigabyte. libpq cannot be told a limit. So it connects to a port of the loopback, and what
it reads there is only what ``Relay`` has carried over. Both run in one thread, in turns, so nothing is read behind our back.
TLS goes through untouched, from libpq to the server: ``host`` stays the server's, and only ``hostaddr`` is the loopback.
"""

import os
import select
import socket
import struct
import time
from contextlib import suppress
from typing import Final, Protocol

import psycopg2

from tracking_operator.stores.postgres.database_server import PostgresServer
from tracking_operator.stores.postgres.errors import TimedOut, TooMuch

LOOPBACK: Final = "127.0.0.1"
CHUNK: Final = 16384

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, so that libpq sees a connection that broke and not one that ended."""


class Waiting(Protocol):
    """What waits for one of its sockets: a connection of psycopg2."""

    def fileno(self) -> int:
        """The socket's descriptor."""


class Relay:
    """Carries what libpq and a server tell each other; at most ``limit`` bytes of what the server says.

    The time until the server is reached counts as libpq's own would: DNS answers when it answers, then every address
    has its turn until ``deadline`` (of ``time.monotonic``).
    """

    def __init__(self, server: PostgresServer, limit: int, deadline: float) -> None:
        """Reach the server, and let one connection of this process in.

        Raises:
            psycopg2.OperationalError: its name does not resolve, or it refuses; in libpq's words.
            TimedOut: no address answered in time.

        """
        self._server = server
        self._deadline = deadline
        self._left = limit
        self._limit = limit
        self._pair: _Pair | None = None
        self._upstream: socket.socket | None = _reached(server, deadline)
        self._listening: socket.socket | None = socket.create_server((LOOPBACK, 0), backlog=4)
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])

    def allow(self, limit: int) -> None:
        """From now on the server may say ``limit`` bytes, whatever it has said before."""
        self._left = self._limit = limit

    def carry_until(self, connection: Waiting, events: int, deadline: float) -> None:
        """Carry bytes until libpq can go on: until its socket is ready for ``events``.

        Raises:
            TimedOut: it cannot until ``deadline``, however much is being carried.
            TooMuch: the server has said more than it may.

        """
        while True:
            seconds = deadline - time.monotonic()
            waiting = select.poll()
            waiting.register(connection.fileno(), events)
            for descriptor, wanted in self._wants().items():
                waiting.register(descriptor, wanted)
            if seconds <= 0 or not (ready := dict(waiting.poll(seconds * 1000))):
                raise TimedOut(seconds)
            self._carry(connection, ready)
            if connection.fileno() in ready:
                return

    def has_news(self) -> bool:
        """Whether the server has said something that nobody has asked for, or has hung up."""
        waiting = select.poll()
        for descriptor, wanted in self._wants().items():
            waiting.register(descriptor, wanted & select.POLLIN)
        return self._pair is None or bool(waiting.poll(0))

    def shut_door(self) -> None:
        """Let no further connection in: libpq has made the one that it keeps."""
        if self._listening:
            self._listening.close()
            self._listening = None

    def close(self) -> None:
        """Carry over what libpq said last, its good-bye, and end both sides."""
        self.shut_door()
        if self._pair:
            self._pair.finish()
            self._pair = None
        if self._upstream:
            self._upstream.close()
            self._upstream = None

    def _wants(self) -> dict[int, int]:
        wanted = self._pair.wants() if self._pair else {}
        if self._listening:
            wanted[self._listening.fileno()] = select.POLLIN
        return wanted

    def _carry(self, connection: Waiting, ready: dict[int, int]) -> None:
        if self._pair:
            self._left -= self._pair.carry(ready)
            if self._left < 0:
                raise TooMuch(self._limit)
        if self._listening and self._listening.fileno() in ready:
            self._let_in(self._listening, connection)

    def _let_in(self, listening: socket.socket, connection: Waiting) -> None:
        """Let libpq in; with sslmode prefer or allow it may come a second time. Nobody else is let in."""
        with suppress(BlockingIOError):
            local, peer = listening.accept()
            with socket.socket(fileno=os.dup(connection.fileno())) as own:
                is_ours = own.getsockname() == peer
            if not is_ours:
                local.close()
                return
            if self._pair:
                self._pair.finish()
            upstream, self._upstream = self._upstream or _reached(self._server, self._deadline), None
            self._pair = _Pair(local, upstream)


class _Pair:
    """libpq's side and the server's side of one connection."""

    def __init__(self, local: socket.socket, upstream: socket.socket) -> None:
        self._local = local
        self._upstream = upstream
        self._to_local = b""
        self._to_upstream = b""
        self._local_ended = False
        self._upstream_ended = False
        for one in (local, upstream):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wants(self) -> dict[int, int]:
        """What each socket is waited for."""
        local = select.POLLOUT if self._to_local else 0
        upstream = select.POLLOUT if self._to_upstream else 0
        if not self._to_upstream and not self._local_ended:
            local |= select.POLLIN
        if not self._to_local and not self._upstream_ended:
            upstream |= select.POLLIN
        pairs = ((self._local, local), (self._upstream, upstream))
        return {one.fileno(): events for one, events in pairs if events and one.fileno() >= 0}

    def carry(self, ready: dict[int, int]) -> int:
        """Carry what can be carried now; return how many bytes came from the server."""
        if ready.get(self._local.fileno()) and not self._to_upstream and not self._local_ended:
            self._to_upstream = self._read_local()
        received = 0
        if ready.get(self._upstream.fileno()) and not self._to_local and not self._upstream_ended:
            self._to_local = self._read_upstream()
            received = len(self._to_local)
        self._write()
        return received

    def finish(self) -> None:
        """Carry over what libpq has still said, and close."""
        if not self._local_ended and not self._to_upstream:
            self._to_upstream = self._read_local()
        self._write()
        self._local.close()
        self._upstream.close()

    def _read_local(self) -> bytes:
        try:
            data = self._local.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self._local_ended = not data
        return data

    def _read_upstream(self) -> bytes:
        try:
            data = self._upstream.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            self._upstream_ended = True
            with suppress(OSError):
                self._local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._local.close()
            return b""
        self._upstream_ended = not data
        return data

    def _write(self) -> None:
        self._to_upstream = _sent(self._upstream, self._to_upstream)
        self._to_local = _sent(self._local, self._to_local)
        if self._upstream_ended and not self._to_local:
            with suppress(OSError):
                self._local.shutdown(socket.SHUT_WR)


def _sent(target: socket.socket, data: bytes) -> bytes:
    """Send what goes; return what is left. What the other side does not take any more is dropped: reading tells why."""
    if not data:
        return data
    try:
        return data[target.send(data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""


def _reached(server: PostgresServer, deadline: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise psycopg2.OperationalError(
            f'could not translate host name "{server.host}" to address: {reason}'
        ) from None
    refusal: OSError | None = None
    for family, kind, protocol, _, address in found:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise TimedOut(seconds)
        upstream = socket.socket(family, kind, protocol)
        upstream.settimeout(seconds)
        try:
            upstream.connect(address)
        except OSError as error:
            upstream.close()
            refusal = error
            continue
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return upstream
    if isinstance(refusal, TimeoutError) and refusal.errno is None:
        raise TimedOut(0)
    raise psycopg2.OperationalError(
        f"{refusal.strerror if refusal else 'it has no address'}\n"
        "Is the server running on that host and accepting TCP/IP connections?"
    )
