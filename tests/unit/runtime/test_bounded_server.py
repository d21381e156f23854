"""A port that anybody in the cluster may connect to answers whoever probes it, over real sockets."""

import contextlib
import socket
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tracking_operator.runtime.bounded_server import (
    LONGEST_REQUEST,
    MOST_CONNECTIONS,
    PLAIN,
    Answer,
    BoundedServer,
)

LARGE = b"x" * 1_000_000
"""More than the buffers of a connection take."""


def respond(path: str) -> Answer:
    if path == "/broken":
        raise ValueError("a mistake")
    return Answer(HTTPStatus.OK, PLAIN, LARGE if path == "/large" else path.encode())


@pytest.fixture
def server() -> Iterator[BoundedServer]:
    server = BoundedServer(0, respond, name="test", seconds=60)
    server.start()
    yield server
    server.stop()


def ask(server: BoundedServer, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://{host}:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 — our own URL
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def connect(server: BoundedServer, stack: contextlib.ExitStack, sends: bytes = b"") -> socket.socket:
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(5)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(sends)
    return connection


def test_what_it_answers(server: BoundedServer) -> None:
    assert ask(server, "/a?b") == (200, b"/a")
    assert ask(server, "/a", "HEAD") == (200, b"")
    assert ask(server, "/a", "POST")[0] == 405
    assert ask(server, "/broken") == (500, b"ValueError\n")


@pytest.mark.parametrize("sends", [b"", b"GET /a HTTP/1.1\r\nHost: ", b"GET /large HTTP/1.1\r\n\r\n"])
def test_a_thousand_connections_that_say_nothing_or_read_nothing_keep_no_probe_waiting(
    server: BoundedServer, sends: bytes
) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(200 if b"large" in sends else 1000):
            with contextlib.suppress(OSError):
                connect(server, stack, sends)
            if number % 100 == 99:
                assert ask(server, "/a") == (200, b"/a")
        assert server.connections <= MOST_CONNECTIONS


def test_readers_that_read_nothing_share_one_copy_of_a_large_answer(server: BoundedServer) -> None:
    tracemalloc.start()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                connect(server, stack, b"GET /large HTTP/1.1\r\n\r\n").recv(20)
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < MOST_CONNECTIONS * len(LARGE) / 4


def test_a_large_answer_arrives_whole(server: BoundedServer) -> None:
    assert ask(server, "/large") == (200, LARGE)


def test_a_large_answer_that_is_read_slowly_leaves_nothing_in_the_log(
    server: BoundedServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            connection = connect(server, stack, b"GET /large HTTP/1.1\r\n\r\n")
            while connection.recv(65536):
                pass
    assert ask(server, "/a") == (200, b"/a"), "what the last one left has been worked off"
    assert [record.getMessage() for record in caplog.records] == []


def test_connection_ends_after_its_time(server: BoundedServer) -> None:
    hasty = BoundedServer(0, respond, name="test", seconds=0.1)
    hasty.start()
    with contextlib.ExitStack() as stack:
        dripping = connect(hasty, stack, b"GET ")
        with contextlib.suppress(ConnectionResetError):
            assert dripping.recv(100) == b""
    hasty.stop()


def test_request_without_an_end_is_refused(server: BoundedServer) -> None:
    with contextlib.ExitStack() as stack:
        endless = connect(server, stack, b"GET /a HTTP/1.1\r\nX: " + b"x" * LONGEST_REQUEST)
        assert endless.recv(100).startswith(b"HTTP/1.1 431")


def test_nonsense_is_refused(server: BoundedServer) -> None:
    with contextlib.ExitStack() as stack:
        assert connect(server, stack, b"\x00\xff\r\n\r\n").recv(100).startswith(b"HTTP/1.1 400")


def test_port_that_is_taken_is_an_os_error(server: BoundedServer) -> None:
    with pytest.raises(OSError, match="in use"):
        BoundedServer(server.port, respond, name="test")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="the kernel knows no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_answers_by_both_families(server: BoundedServer, host: str) -> None:
    assert ask(server, "/readyz", host=host) == (HTTPStatus.OK, b"/readyz")
