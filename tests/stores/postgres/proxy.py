"""A TCP proxy that hangs, resets or refuses at a chosen point of a conversation."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

CHUNK = 65536
POLL_SECONDS = 0.02


class Fault(StrEnum):
    """What the network does to the chosen message of the client, and to everything after it."""

    HANG_BEFORE = "hang before the server has it"
    HANG_AFTER = "hang before the client has the answer"
    RESET_BEFORE = "reset before the server has it"
    RESET_AFTER = "reset before the client has the answer"
    REFUSE = "refuse all new connections from the chosen one on"


class Proxy:
    """Forwards to a port of 127.0.0.1. ``messages`` counts what clients have sent, ``connections`` what they opened.

    ``rewrite`` may change what clients send.
    """

    def __init__(
        self,
        target: int,
        *,
        fault: Fault | None = None,
        at: int = -1,
        address: str = "127.0.0.1",
        port: int = 0,
        rewrite: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._target = target
        self._fault = fault
        self._at = at
        self._rewrite = rewrite
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._broken = threading.Event()
        self._struck = False
        self._listening = socket.create_server((address, port))
        self.port = int(self._listening.getsockname()[1])
        self.messages = 0
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def struck(self) -> bool:
        """Whether the fault has happened."""
        return self._struck

    def heal(self) -> None:
        """Forward everything from now on."""
        self._fault = None
        self._broken.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        _close(self._listening)
        for one in self._sockets:
            _close(one)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._fault is Fault.REFUSE and self.connections >= self._at:
                self._break()
                _reset(client)
                continue
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            server.settimeout(POLL_SECONDS)
            self._sockets += [client, server]
            for work in (self._to_server, self._to_client):
                thread = threading.Thread(target=work, args=(client, server), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            if self._broken.is_set() and self._fault is not None and self._fault is not Fault.REFUSE:
                self._strike(client, server)
                return
            with self._lock:
                number, self.messages = self.messages, self.messages + 1
            data = self._rewrite(data)
            if number != self._at or self._fault in (None, Fault.REFUSE):
                if not _sent(server, data):
                    break
                continue
            self._break()
            if self._fault in (Fault.HANG_AFTER, Fault.RESET_AFTER):
                _sent(server, data)
                # The answer is the server's sign that it has carried the message out.
                _received(server)
            self._strike(client, server)
            return
        _close(server)
        _close(client)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        while not self._stopped.is_set():
            if self._broken.is_set() and self._fault is not Fault.REFUSE:
                return
            try:
                data = server.recv(CHUNK, socket.MSG_PEEK)
            except TimeoutError:
                continue
            except OSError:
                break
            if self._broken.is_set() and self._fault is not Fault.REFUSE:
                return
            if not data or not _sent(client, _received(server)):
                break
        _close(client)

    def _break(self) -> None:
        self._struck = True
        self._broken.set()

    def _strike(self, client: socket.socket, server: socket.socket) -> None:
        if self._fault in (Fault.RESET_BEFORE, Fault.RESET_AFTER):
            _reset(client)
            _close(server)


def _received(connection: socket.socket) -> bytes:
    while True:
        try:
            return connection.recv(CHUNK)
        except TimeoutError:
            continue
        except OSError:
            return b""


def _sent(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def _reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with suppress(OSError):  # the other side may have closed it
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
