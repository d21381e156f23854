"""The step that says how clients get in, and deletes the users of those that are not let in any more.

Users are made by the loop of each client (controllers/client), and deleted here, whatever became of the client: nothing that its
namespace can do, such as to take a finalizer off, keeps a user.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.server_access import Permission
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.clients.memory import ClientsFound, ClientsMemory, Opening
from tracking_operator.controllers.server.clients.users import (
    RETRY_SECONDS,
    ClientUsers,
    require_offered,
    with_patience,
)
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.exposure.answer import target_of
from tracking_operator.controllers.server.spec.client_grants import (
    Ask,
    admitted,
    grants_anything,
    identity_of,
)
from tracking_operator.controllers.server.spec.inputs import readable_server
from tracking_operator.controllers.server.workload.condition_results import Observed, serves
from tracking_operator.failures import Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.mlflow.client import Login

WITHDRAWN: Final = "Access of clients in other namespaces is not ended yet: users of withdrawn ones may be let in until MLflow has deleted them."


class ClientsStep:
    """Opens a server for its clients, and ends the access of those that are not granted any more."""

    def __init__(self, cache: ObjectCache, users: ClientUsers) -> None:
        self._cache = cache
        self._users = users

    async def ensure(self, context: ReconcileContext, observed: Observed) -> StepResult[ClientsFound]:
        """Open the server for its clients as its pods serve now, and end access that is withdrawn."""
        is_open = serves(context.model, observed)
        context.memory.clients.opening = _opening(context) if is_open else None
        return await self.end_withdrawn(context)

    async def end_withdrawn(self, context: ReconcileContext) -> StepResult[ClientsFound]:
        """The same for a server whose specification cannot be carried out: as clients got in before."""
        memory, before = context.memory.clients, context.resource.status.has_client_users
        memory.may_make = False
        if before is False and not grants_anything(context.resource):
            return StepResult(ClientsFound(has_users=False))
        opening, wanted = memory.opening, self._wanted(context)
        memory.may_make = before is True and bool(wanted)
        if not wanted and (before is False or memory.asked_in_vain):
            return StepResult(ClientsFound(before))
        if opening is None or opening.admin is None:
            # Users that there are stay in MLflow's tables while nobody can log in, or has to.
            return StepResult(ClientsFound(True if wanted else before))
        if memory.under_way is None and memory.users is not None and memory.users <= wanted:
            return StepResult(ClientsFound(bool(wanted)))
        try:
            await self._delete_unwanted(context, memory, opening)
        except Failure as failure:
            memory.asked_in_vain = before is None and failure.reason is not Reason.PENDING
            return _not_yet(failure, ClientsFound(True if wanted else before))
        return StepResult(ClientsFound(bool(wanted)))

    async def _delete_unwanted(
        self, context: ReconcileContext, memory: ClientsMemory, opening: Opening
    ) -> None:
        """Have MLflow asked, and users deleted. Raises Failure: not yet."""
        if memory.under_way is None:
            work = self._users.delete_unwanted(memory, opening, lambda: self._wanted(context))
            memory.under_way = asyncio.create_task(work)
        await with_patience(memory.under_way)
        ended, memory.under_way = memory.under_way, None
        ended.result()

    def _wanted(self, context: ReconcileContext) -> frozenset[str]:
        """The users of the clients that are let in by now."""
        metadata = context.resource.metadata
        live = self._cache.get(TRACKING_SERVER, metadata.namespace, metadata.name)
        server = readable_server(live) if live else None
        if server is None or server.metadata.uid != metadata.uid:
            return frozenset()
        return frozenset(self._usernames(server, context.memory.clients))

    def _usernames(self, server: TrackingServer, memory: ClientsMemory) -> Iterator[str]:
        for ask in admitted(server, self._cache):
            identity = identity_of(server, ask, self._cache)
            if identity is not None and _is_offered(memory, ask):
                yield identity.username


def _is_offered(memory: ClientsMemory, ask: Ask) -> bool:
    """Whether the server can let a client in as it asks; while that is not known, its user stays."""
    if memory.opening is None:
        return True
    try:
        require_offered(memory.opening, ask.permission)
    except Failure:
        return False
    return True


def _opening(context: ReconcileContext) -> Opening:
    server, passwords = context.model, context.memory.login.proven or context.passwords
    login = server.login
    return Opening(
        target=target_of(server),
        service_url=server.service_url,
        url=server.url,
        is_proxied=server.proxied,
        is_probed=server.is_probed,
        default_permission=Permission(login.default_permission) if login else None,
        has_passwords=server.single_sign_on is None,
        admin=Login(passwords.admin, passwords.admin_password)
        if login and passwords and server.is_probed
        else None,
    )


def _not_yet(failure: Failure, found: ClientsFound) -> StepResult[ClientsFound]:
    """What is said, and when MLflow is asked again; one that never had such users is asked at the next resync."""
    pause = failure.retry_after if isinstance(failure, Waiting) else RETRY_SECONDS
    if failure.reason is Reason.PENDING or not found.has_users:
        return StepResult(found, requeue_after=pause if failure.reason is Reason.PENDING else None)
    waits = ConditionResult(ConditionType.EXPOSED, Verdict.WORKING, Reason.REVOKING_ACCESS, WITHDRAWN)
    return StepResult(ClientsFound(found.has_users, (waits,)), requeue_after=pause)
