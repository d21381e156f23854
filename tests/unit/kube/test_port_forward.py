"""A port of a pod through the API server: what is said on the WebSocket, and what a connection makes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from tests.unit.http_server import serving
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.port_forward import DATA, ERROR, PodPort, PortForwardError, carry

PORT = 5000
TARGET = PodPort("team-a", "mlflow-1", PORT)
ANNOUNCED = PORT.to_bytes(2, "little")
Conversation = Callable[[web.WebSocketResponse], Awaitable[None]]


class Kubelet:
    """An API server that leads to one pod, whose side of the conversation a test has set."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.converse: Conversation = echo
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if "mlflow-1" not in request.path:
            return web.json_response({"message": "pods not found"}, status=404)
        channels = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await channels.prepare(request)
        for channel in (DATA, ERROR):
            await channels.send_bytes(bytes([channel]) + ANNOUNCED)
        await self.converse(channels)
        return channels


async def echo(channels: web.WebSocketResponse) -> None:
    """A pod that says everything once more, until its client leaves."""
    async for message in channels:
        await channels.send_bytes(message.data)


@pytest.fixture
async def kubelet() -> AsyncIterator[Kubelet]:
    kubelet = Kubelet()
    async with serving(kubelet.handle) as kubelet.url:
        yield kubelet


@pytest.fixture
async def client(kubelet: Kubelet) -> AsyncIterator[KubeClient]:
    async with KubeClient(Configuration(host=kubelet.url)) as client:
        yield client


@asynccontextmanager
async def connection(
    client: KubeClient, target: PodPort = TARGET
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, list[Exception]]]:
    """A connection to a local port that `carry` serves, and what it has raised."""
    raised: list[Exception] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await carry(client, target, reader, writer)
        except (ApiError, PortForwardError) as error:
            raised.append(error)
        finally:
            writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield reader, writer, raised
        writer.close()


async def test_both_sides_hear_what_the_other_says_and_not_how_it_is_wrapped(
    kubelet: Kubelet, client: KubeClient
) -> None:
    said = b"GET / HTTP/1.1\r\n\r\n" * 10_000
    async with connection(client) as (reader, writer, _):
        writer.write(said)
        assert await asyncio.wait_for(reader.readexactly(len(said)), 20) == said
    (request,) = kubelet.requests
    assert request.path == "/api/v1/namespaces/team-a/pods/mlflow-1/portforward"
    assert request.query["ports"] == "5000"


async def test_connections_do_not_wait_for_each_other(client: KubeClient) -> None:
    async with connection(client) as (_, _, _), connection(client) as (reader, writer, _):
        writer.write(b"now")
        assert await asyncio.wait_for(reader.readexactly(3), 20) == b"now"


async def test_the_end_of_the_pods_side_is_the_end(kubelet: Kubelet, client: KubeClient) -> None:
    async def answer_once(channels: web.WebSocketResponse) -> None:
        await channels.send_bytes(bytes([DATA]) + b"bye")

    kubelet.converse = answer_once
    async with connection(client) as (reader, _, raised):
        assert await asyncio.wait_for(reader.read(), 20) == b"bye"
        assert raised == []


async def test_the_end_of_this_side_is_the_end(kubelet: Kubelet, client: KubeClient) -> None:
    heard_the_end = asyncio.Event()

    async def listen(channels: web.WebSocketResponse) -> None:
        await echo(channels)
        heard_the_end.set()

    kubelet.converse = listen
    async with connection(client) as (_, writer, _):
        writer.close()
        await asyncio.wait_for(heard_the_end.wait(), 20)


async def test_a_port_that_takes_no_connections_is_an_error_in_the_kubelets_words(
    kubelet: Kubelet, client: KubeClient
) -> None:
    async def refuse(channels: web.WebSocketResponse) -> None:
        await channels.send_bytes(bytes([ERROR]) + b"connection refused")

    kubelet.converse = refuse
    async with connection(client) as (reader, _, raised):
        assert await asyncio.wait_for(reader.read(), 20) == b""
        assert [str(error) for error in raised] == ["connection refused"]


async def test_a_pod_that_is_gone_is_an_error_of_the_api(client: KubeClient) -> None:
    async with connection(client, PodPort("team-a", "gone", PORT)) as (reader, _, raised):
        assert await asyncio.wait_for(reader.read(), 20) == b""
        (error,) = raised
        assert isinstance(error, ApiError)
        assert error.status == 404
