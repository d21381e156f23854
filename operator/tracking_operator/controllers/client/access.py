"""What one client gets in its namespace: settings, and where there is a login a user of its own with a password of its own.

The Secret is the record of the password. Whoever has changed it gets another one, unless MLflow lets in what it holds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_client import KubeflowIntegration, TrackingServerClient
from tracking_operator.controllers.client.ownership import client_owner_check, conflict_of, leaving_of
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.controllers.server.clients.memory import ClientsMemory, Opening
from tracking_operator.controllers.server.clients.users import (
    ClientUsers,
    WantedUser,
    require_offered,
    with_patience,
)
from tracking_operator.controllers.server.spec.client_grants import Ask, identity_of, require_admitted
from tracking_operator.controllers.server.spec.inputs import readable_server
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.apply import Ownership, apply_all, is_being_deleted
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import CONFIG_MAP, SECRET, KubeObject, describe, uid_of
from tracking_operator.resources.client_secret import client_login_in
from tracking_operator.resources.secret import ROTATED_FOR_ANNOTATION
from tracking_operator.resources.tracking_client import (
    ClientPassword,
    build_config_map,
    build_secret,
    name_of_objects,
)

SECONDS_UNTIL_A_SERVER: Final = 2.0

MemoryOfServer = Callable[[str, str, str], ClientsMemory | None]
"""How clients get into a server, by its namespace, name and UID."""


@dataclass(frozen=True)
class _Question:
    """What MLflow is asked to be like: while it is the same, so is the answer."""

    opening: Opening
    username: str
    rotation: str


@dataclass
class ClientMemory:
    """What is remembered of one client."""

    uid: str
    right: tuple[_Question, ClientPassword] | None = None
    """What MLflow was found to be like, and with which password."""
    under_way: "tuple[_Question, asyncio.Task[str]] | None" = None
    integrated: tuple[KubeflowIntegration, ClientPassword | None] | None = None
    """What Kubeflow was told last; None: nothing, or it is not known."""

    def invalidate(self) -> None:
        """Have MLflow asked again."""
        self.right = self.integrated = None

    def evict(self) -> None:
        """Drop all of it. What is under way ends by itself, while the server's loop waits to delete what it makes: a request that is
        given up may still be carried out.
        """
        if self.under_way:
            self.under_way[1].add_done_callback(_look_at)
        self.right, self.under_way, self.integrated = None, None, None


def _look_at(task: "asyncio.Task[str]") -> None:
    """Take note of how a task ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True)
class Access:
    """What the namespace has."""

    login: ClientPassword | None
    """None: nobody has to log in."""

    @property
    def username(self) -> str | None:
        """The client's own user; None: nobody has to log in."""
        return self.login.username if self.login else None


class ClientAccess:
    """Gives a client what it is granted, and takes it away."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        users: ClientUsers,
        memory_of: MemoryOfServer,
        *,
        watches_secrets: bool,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._users = users
        self._memory_of = memory_of
        self._watches_secrets = watches_secrets

    async def ensure(self, client: TrackingServerClient, memory: ClientMemory) -> Access:
        """Give the namespace what it needs. Raises Failure, ApiError."""
        server = self._admitted(client)
        of_server, opening = self._opening(server)
        require_offered(opening, client.spec.permission)
        found = await self._secret(client)
        await self._write(client, build_config_map(client, opening.service_url, opening.url))
        if opening.default_permission is None:
            await self._remove(client, SECRET)
            return Access(None)
        identity = identity_of(server, Ask.of(client), self._cache)
        if identity is None or not of_server.may_make:
            raise _not_looked_at(client)
        # Other passwords of the server's own are a reason for others here, too.
        rotation = f"{client.asked_rotation}/{server.asked_revocation}".removesuffix("/")
        question = _Question(opening, identity.username, rotation)
        password = await self._password(client, of_server, question, found, memory)
        await self._write(client, build_secret(client, password))
        memory.right = question, password
        return Access(password)

    async def withdraw(self, client: TrackingServerClient, memory: ClientMemory) -> None:
        """Take away what the namespace has of this client; its user is deleted by the server's loop. Raises ApiError."""
        memory.evict()
        for kind in (SECRET, CONFIG_MAP):
            await self._remove(client, kind)

    def _admitted(self, client: TrackingServerClient) -> TrackingServer:
        """The server, as far as it lets the client in. Raises Invalid."""
        reference = client.spec.server_ref
        live = self._cache.get(TRACKING_SERVER, reference.namespace, reference.name)
        server = readable_server(live) if live is not None and not is_being_deleted(live) else None
        return require_admitted(client, server, self._cache)

    def _opening(self, server: TrackingServer) -> tuple[ClientsMemory, Opening]:
        metadata = server.metadata
        memory = self._memory_of(metadata.namespace, metadata.name, metadata.uid)
        if memory is None or memory.opening is None:
            why = "its owner has suspended it" if server.spec.suspend else "no pod of it serves"
            raise Waiting(
                Reason.PENDING,
                f"Waits for TrackingServer {metadata.name} in namespace {metadata.namespace}: {why}.",
                retry_after=SECONDS_UNTIL_A_SERVER if memory is None else UNWATCHED_RETRY_SECONDS,
            )
        return memory, memory.opening

    async def _password(
        self,
        client: TrackingServerClient,
        of_server: ClientsMemory,
        question: _Question,
        found: ClientPassword | None,
        memory: ClientMemory,
    ) -> ClientPassword:
        """A password that MLflow lets in. Raises Failure: it does not, or not yet."""
        if memory.under_way is None and memory.right == (question, found) and found is not None:
            return found
        if memory.under_way is not None and memory.under_way[0] != question:
            await with_patience(memory.under_way[1])
            memory.under_way[1].exception()  # looked at, so that asyncio does not complain
            memory.under_way = None
        if memory.under_way is None:
            is_present = found is not None and (found.username, found.rotated_for) == (
                question.username,
                question.rotation,
            )
            wanted = WantedUser(question.username, client.spec.permission)
            work = self._users.ensure(
                of_server,
                question.opening,
                wanted,
                found.password if found and is_present else None,
                lambda: self._is_wanted(client, question.username),
            )
            memory.under_way = question, asyncio.create_task(work)
        task = memory.under_way[1]
        await with_patience(task)
        memory.under_way = None
        return ClientPassword(question.username, task.result(), question.rotation)

    def _is_wanted(self, client: TrackingServerClient, username: str) -> bool:
        """Whether the client is still there, and let in by the same server."""
        try:
            server = self._admitted(client)
        except Failure:
            return False
        identity = identity_of(server, Ask.of(client), self._cache)
        return identity is not None and identity.username == username

    async def _secret(self, client: TrackingServerClient) -> ClientPassword | None:
        """What the client's Secret holds; None if there is none, or nothing in it. Raises Failure: it is somebody else's."""
        place = SECRET, client.metadata.namespace, name_of_objects(client)
        known = self._cache.whole(*place) if self._watches_secrets else None
        try:
            secret = known or await self._kube.get(*place)
        except ApiError as error:
            raise failure_from(error, f"read Secret {place[2]}") from error
        if secret is None:
            return None
        match client_owner_check(client)(secret):
            case Ownership.FOREIGN:
                raise conflict_of(secret)
            case Ownership.LEAVING:
                raise leaving_of(secret)
            case Ownership.OURS:
                pass
        login = client_login_in(secret)
        rotated_for = (secret["metadata"].get("annotations") or {}).get(ROTATED_FOR_ANNOTATION, "")
        return ClientPassword(login.username, login.password, rotated_for) if login else None

    async def _write(self, client: TrackingServerClient, wanted: KubeObject) -> None:
        """Make an object what it should be. Raises Failure: it is somebody else's, or cannot be written."""
        applied = await apply_all(self._kube, self._cache, [wanted], owner=client_owner_check(client))
        for live in applied.conflicts:
            raise conflict_of(live)
        for live in applied.leaving:
            raise leaving_of(live)
        for obj, error in applied.failures:
            raise failure_from(error, f"write {describe(obj)}") from error

    async def _remove(self, client: TrackingServerClient, kind: object) -> None:
        """Delete the client's own object of this kind, and nobody else's."""
        of_kind = SECRET if kind == SECRET else CONFIG_MAP
        place = of_kind, client.metadata.namespace, name_of_objects(client)
        is_watched = of_kind == CONFIG_MAP or self._watches_secrets
        live = self._cache.get(*place) if is_watched else await self._kube.get(*place)
        if live is not None and controlled_by(live, client.metadata.uid):
            await self._kube.delete(*place, uid=uid_of(live))


def _not_looked_at(client: TrackingServerClient) -> Waiting:
    return Waiting(
        Reason.PENDING,
        f"Waits for TrackingServer {client.spec.server_ref.name} to note that it has clients.",
        retry_after=SECONDS_UNTIL_A_SERVER / 4,
    )
