"""A port of a pod, reached through the API server: what `kubectl port-forward` does, with a WebSocket for each connection.

The subprotocol has two channels per port, told apart by the first byte of each message: data in both directions, and
errors in the kubelet's words. The first message on either channel is the port's number (k8s.io/kubelet,
pkg/cri/streaming/portforward/websocket.go). It cannot say that only one direction has ended: a connection is over as
soon as one side is done, which is how HTTP clients and servers use theirs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiohttp

from tracking_operator.kube.client import KubeClient

DATA: Final = 0
ERROR: Final = 1
_READ_SIZE: Final = 64 * 1024


class PortForwardError(Exception):
    """The node could not connect to the pod's port; the message has the kubelet's words."""


@dataclass(frozen=True)
class PodPort:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int


async def carry(
    client: KubeClient, target: PodPort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Carry one connection to the pod until either side ends it. The writer stays open, for whoever opened it.

    Raises:
        ApiError: the API server does not connect to the pod; nothing was read from the reader.
        PortForwardError: the pod does not take connections at this port.
    """
    async with client.connect_to_pod(target.namespace, target.pod, target.port) as socket:
        outgoing = asyncio.create_task(_send(reader, socket))
        try:
            async for content in _received(socket):
                writer.write(content)
                await writer.drain()
        finally:
            outgoing.cancel()
            with suppress(asyncio.CancelledError):
                await outgoing


async def _send(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    """Send what the local side says; its end is the connection's."""
    with suppress(ConnectionError):
        while content := await reader.read(_READ_SIZE):
            await socket.send_bytes(bytes([DATA]) + content)
    await socket.close()


async def _received(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[bytes]:
    """What the pod says, without the port's number that comes first on each channel."""
    announced = set[int]()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, content = message.data[0], message.data[1:]
        if channel not in announced:
            announced.add(channel)
        elif channel == ERROR:
            raise PortForwardError(content.decode(errors="replace"))
        elif content:
            yield content
