"""What a team tries with clients: those of others, and asking for servers whose owners have granted it nothing."""

import asyncio
import time
from typing import Any, Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLIENT
from tracking_operator.isolation.attempts import Area, Book, CannotTryError, Refused
from tracking_operator.isolation.by_api.requests import Acts, add_requests
from tracking_operator.isolation.by_api.scene import SECONDS_TO_ANSWER, ApiScene
from tracking_operator.kube.objects import CONFIG_MAP, SECRET, KubeObject

BOOK: Final = Book[ApiScene](Area.CLIENTS)
OTHERS: Final = "another team's namespace"
OTHERS_SERVER: Final = "another team's server"
NAME: Final = "isolation-client"
NO_SERVER: Final = "isolation-no-server"


def _client(namespace: str, of_namespace: str, server: str, name: str = NAME) -> KubeObject:
    """A client that asks for a server."""
    return {
        "apiVersion": API_VERSION,
        "kind": TRACKING_SERVER_CLIENT.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serverRef": {"namespace": of_namespace, "name": server}, "permission": "EDIT"},
    }


@BOOK.attempt("own", "list its clients, and ask for its own server", against="its own namespace")
async def use_own(scene: ApiScene) -> str:
    """The control: all of this is allowed in the own namespace."""
    own = scene.own.namespace
    await scene.tenant.list(TRACKING_SERVER_CLIENT, own)
    await scene.tenant.create(_client(own, own, scene.own.server), dry_run=True)
    return "did all of it"


def _acts(scene: ApiScene) -> Acts:
    """Requests that RBAC has to refuse, whether there is such a client or not, by their rows' names."""
    tenant, own, other = scene.tenant, scene.own, scene.other
    connected: Any = [{"op": "add", "path": "/status", "value": {"username": "admin"}}]
    more: Any = [{"op": "add", "path": "/spec/permission", "value": "EDIT"}]
    return {
        "list": lambda: tenant.list(TRACKING_SERVER_CLIENT, other.namespace),
        "list-everywhere": lambda: tenant.list(TRACKING_SERVER_CLIENT),
        "make": lambda: tenant.create(
            _client(other.namespace, own.namespace, own.server, scene.mark), dry_run=True
        ),
        "change": lambda: tenant.json_patch(TRACKING_SERVER_CLIENT, other.namespace, scene.mark, more),
        "delete": lambda: tenant.delete(TRACKING_SERVER_CLIENT, other.namespace, scene.mark),
        "write-status": lambda: tenant.json_patch(
            TRACKING_SERVER_CLIENT, own.namespace, scene.mark, connected, subresource="status"
        ),
    }


REQUESTS: Final = (
    ("list", "list its clients, whose status names users", OTHERS),
    ("list-everywhere", "list the clients of all namespaces", "all teams"),
    ("make", "make a client there", OTHERS),
    ("change", "have a client ask for more", OTHERS),
    ("delete", "delete a client, and so its user", OTHERS),
    ("write-status", "write the user into a client's status", "its own client"),
)


add_requests(BOOK, REQUESTS, _acts)


@BOOK.attempt(
    "without-a-grant",
    "ask for a server whose owner grants it nothing",
    against=OTHERS_SERVER,
    refusal=f"^{Reason.NOT_GRANTED.value}",
)
async def ask_without_a_grant(scene: ApiScene) -> str:
    """Asking alone makes no user, no Secret and no ConfigMap."""
    said = await _answer(scene, scene.other.server)
    if not said.startswith(Reason.NOT_GRANTED.value):
        return said
    raise Refused(said)


@BOOK.attempt(
    "find-servers",
    "learn from the answer whether another namespace has a server",
    against=OTHERS,
    refusal="^the same words",
)
async def find_servers(scene: ApiScene) -> str:
    """A server that is not there and one that grants nothing are answered alike."""
    there, missing = await _answer(scene, scene.other.server), await _answer(scene, NO_SERVER)
    if there.replace(scene.other.server, "X") == missing.replace(NO_SERVER, "X"):
        raise Refused("the same words for a server that is there and for none")
    return f"{there!r} and {missing!r}"


async def _answer(scene: ApiScene, server: str) -> str:
    """How the operator answers to a client that asks for a server of the other side; what it was given comes first."""
    own, tenant = scene.own.namespace, scene.tenant
    await tenant.delete(TRACKING_SERVER_CLIENT, own, NAME)
    await tenant.create(_client(own, scene.other.namespace, server))
    try:
        said = await _ready_of(scene)
        given = [kind.kind for kind in (SECRET, CONFIG_MAP) if await tenant.get(kind, own, f"{NAME}-client")]
        return f"got {' and '.join(given)}: {said}" if given else said
    finally:
        await tenant.delete(TRACKING_SERVER_CLIENT, own, NAME)
        await _gone(scene)


async def _ready_of(scene: ApiScene) -> str:
    """Reason and message of Ready, once there are any. Raises CannotTryError: nobody looks at the client."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while True:
        found = await scene.tenant.get(TRACKING_SERVER_CLIENT, scene.own.namespace, NAME)
        ready = (
            TrackingServerClient.model_validate(found).status.condition(ConditionType.READY)
            if found
            else None
        )
        if ready is not None:
            return f"{ready.reason}: {ready.message}"
        if time.monotonic() > deadline:
            raise CannotTryError(f"nobody has looked at TrackingServerClient {NAME}")
        await asyncio.sleep(0.2)


async def _gone(scene: ApiScene) -> None:
    """Wait until the client is gone, so that the next one is another. Raises CannotTryError: it stays."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while await scene.tenant.get(TRACKING_SERVER_CLIENT, scene.own.namespace, NAME) is not None:
        if time.monotonic() > deadline:
            raise CannotTryError(f"TrackingServerClient {NAME} of an earlier attempt does not go away")
        await asyncio.sleep(0.2)
