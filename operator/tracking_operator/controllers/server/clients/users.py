"""Makes and deletes the users of clients in one server's MLflow. Knows nothing of Secrets.

MLflow's own list is the record of what is left to delete: names of such users are told from all others (naming/client_users.py). So
no crash and no restored database leaves one behind.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.server_access import ClientPermission, Permission
from tracking_operator.controllers.server.clients.memory import ClientsMemory, Opening
from tracking_operator.failures import Failure, Invalid, Waiting
from tracking_operator.mlflow.client import ALREADY_EXISTS, Answer, Login, MlflowApi
from tracking_operator.naming.client_users import is_client_username
from tracking_operator.passwords import new_password

PATIENCE_SECONDS: Final = 0.5
"""How long one look waits for MLflow; a later one takes it up, so that servers that hang keep nobody waiting."""
LOOK_AGAIN_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 5.0

LEVELS: Final = tuple(Permission)
"""From the least to the most."""


@dataclass(frozen=True)
class WantedUser:
    """A user, and what it may do."""

    username: str
    permission: ClientPermission


def require_offered(opening: Opening, permission: ClientPermission) -> None:
    """Require that the server can let somebody in with this permission, and no more. Raises Invalid.

    MLflow gives every user at least its default permission, whatever else is granted (mlflow/server/auth/requirements.py:
    ``floor_positive_permission``, 3.18.0).
    """
    if not opening.is_proxied:
        raise Invalid(
            Reason.NOT_OFFERED,
            "Artifacts do not go through the server (artifactStore.proxied: false), and its keys are for its own namespace: its owner "
            "removes that field, and makes new experiments for its clients.",
        )
    if opening.default_permission is None:
        return
    if not opening.has_passwords:
        raise Invalid(
            Reason.NOT_OFFERED,
            "People log in to the server at an identity provider (authentication.oidc), and its proxy lets in no users of clients: its owner "
            "takes authentication.basic, where the class permits that, or the programs run in the server's own namespace.",
        )
    if not opening.is_probed:
        raise Invalid(
            Reason.NOT_OFFERED,
            "The server has a login, and its class says access.probe: None, so that the operator sends it no requests and makes no "
            "users: the platform team says access.probe: Operator, or the owner makes a user by hand.",
        )
    if LEVELS.index(opening.default_permission) > LEVELS.index(Permission(permission.value)):
        raise Invalid(
            Reason.NOT_OFFERED,
            f"Every user of the server's login may at least {opening.default_permission} (authentication.basic.defaultPermission "
            f"of its class), so that nobody has {permission} only: "
            + (
                "ask for EDIT, or have the platform team say READ or NO_PERMISSIONS there."
                if opening.default_permission is Permission.EDIT
                else "have the platform team say EDIT, READ or NO_PERMISSIONS there."
            ),
        )


class ClientUsers:
    """Makes and deletes users."""

    def __init__(self, api: MlflowApi) -> None:
        self._api = api

    async def ensure(
        self,
        memory: ClientsMemory,
        opening: Opening,
        wanted: WantedUser,
        password: str | None,
        is_wanted: Callable[[], bool],
    ) -> str:
        """Have MLflow know the user; return the password, which is another one if the present one lets nobody in.

        ``is_wanted`` is asked again before anything is made. Raises Failure.
        """
        async with memory.lock:
            if not is_wanted():
                raise Waiting(
                    Reason.PENDING,
                    "Waits for the server to be looked at again.",
                    retry_after=LOOK_AGAIN_SECONDS,
                )
            memory.note_made(wanted.username)
            admin = _admin_of(opening)
            if password is None or not await self._is_let_in(opening, Login(wanted.username, password)):
                password = new_password()
                await self._make(opening, admin, Login(wanted.username, password))
            if opening.default_permission is not Permission(wanted.permission.value):
                answer = await self._api.grant_all(
                    opening.target, admin, wanted.username, wanted.permission.value
                )
                _require(answer, f"grant {wanted.permission} to user {wanted.username}")
            return password

    async def delete_unwanted(
        self, memory: ClientsMemory, opening: Opening, wanted: Callable[[], frozenset[str]]
    ) -> None:
        """Delete each user of a client that is not wanted any more. Raises Failure: one may be left."""
        async with memory.lock:
            admin = _admin_of(opening)
            answer, found = await self._api.usernames(opening.target, admin)
            _require(answer, "tell its users")
            for username in sorted(filter(is_client_username, found - wanted())):
                answer = await self._api.delete_user(opening.target, admin, username)
                _require(answer, f"delete user {username}")
            memory.users = wanted()

    async def _is_let_in(self, opening: Opening, user: Login) -> bool:
        answer = await self._api.log_in(opening.target, user)
        if answer.is_ok or answer.is_refused_login:
            return answer.is_ok
        raise _not_done(answer, f"say whether user {user.username} is let in")

    async def _make(self, opening: Opening, admin: Login, user: Login) -> None:
        answer = await self._api.create_user(opening.target, admin, user)
        if answer.error_code == ALREADY_EXISTS:
            answer = await self._api.update_password(opening.target, admin, user)
        _require(answer, f"make user {user.username}")


async def with_patience(task: "asyncio.Task[object]") -> None:
    """Wait for a moment. Raises Waiting: the task has not ended."""
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    if not task.done():
        raise Waiting(Reason.PENDING, "Waits for MLflow to see to its users.", retry_after=LOOK_AGAIN_SECONDS)


def _admin_of(opening: Opening) -> Login:
    if opening.admin is None:
        raise Waiting(Reason.PENDING, "Waits for the server's login.", retry_after=RETRY_SECONDS)
    return opening.admin


def _require(answer: Answer, what: str) -> None:
    if not answer.is_ok:
        raise _not_done(answer, what)


def _not_done(answer: Answer, what: str) -> Failure:
    # What the server itself says is not quoted: it may be another team's, and so may the condition.
    said = f"status {answer.status}" if answer.status else "no answer"
    return Waiting(
        Reason.NOT_REACHABLE if answer.status is None else Reason.ANSWERS_WITH_ERROR,
        f"MLflow did not {what} ({said}). The operator tries again.",
        retry_after=RETRY_SECONDS,
    )
