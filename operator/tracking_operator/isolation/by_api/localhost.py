"""What a server lets callers do who seem to be on its own machine: `kubectl port-forward` makes everybody so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tracking_operator.isolation.attempts import Area, Book, By, CannotTryError, Refused
from tracking_operator.isolation.by_api.scene import ApiScene
from tracking_operator.isolation.in_pod.network import CONTAINER_PORT
from tracking_operator.kube.objects import POD
from tracking_operator.kube.port_forward import PodPort, carry
from tracking_operator.resources.labels import pod_selector, selector_text

BOOK: Final = Book[ApiScene](Area.LOGIN)
ASSISTANT: Final = "/ajax-api/3.0/mlflow/assistant"
ROUTES: Final = (f"{ASSISTANT}/config", f"{ASSISTANT}/providers", f"{ASSISTANT}/skills/install")
MOST_OF_AN_ANSWER: Final = 4096
SECONDS_TO_ANSWER: Final = 20


@asynccontextmanager
async def forwarded(scene: ApiScene) -> AsyncIterator[int]:
    """A local port that leads to a pod of the team's own server. Raises CannotTryError: it has none."""
    namespace, server = scene.own.namespace, scene.own.server
    pods = await scene.tenant.list(POD, namespace, selector_text(pod_selector(server)))
    names = [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]
    if not names:
        raise CannotTryError("the server has no pod")
    place = PodPort(namespace, names[0], CONTAINER_PORT)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await carry(scene.tenant, place, reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


async def status_of(port: int, path: str) -> tuple[int, str]:
    """What a route answers to a caller from localhost who has not logged in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(MOST_OF_AN_ANSWER), SECONDS_TO_ANSWER)
    finally:
        writer.close()
    line, _, rest = answer.decode(errors="replace").partition("\r\n")
    parts = line.split()
    if len(parts) < 2:  # noqa: PLR2004 - protocol and status
        raise CannotTryError(f"no answer from the server's pod: {line!r}")
    return int(parts[1]), rest.rpartition("\r\n\r\n")[2]


@BOOK.attempt(
    "assistant",
    "ask MLflow's assistant, which trusts localhost, through a port-forward",
    against="its own server's pod",
    by=By.USER,
    refusal="^((401|404|405) ?)+$",
)
async def ask_the_assistant(scene: ApiScene) -> str:
    """It could run programs in the pod, and has no switch of its own."""
    said = ""
    async with forwarded(scene) as port:
        for prefix in dict.fromkeys(("", scene.own.path.rstrip("/"))):
            for route in ROUTES:
                status, body = await status_of(port, prefix + route)
                if status not in (401, 404, 405):
                    return f"{route} answered {status} {body[:100]}"
                said += f"{status} "
    raise Refused(said)
