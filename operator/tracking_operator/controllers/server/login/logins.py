"""MLflow's own login: the Secret with its passwords, the users that have them, and other passwords for both.

The Secret is the record. While passwords rotate it holds the next ones, too, so that whatever is interrupted can be gone on
with: MLflow knows the one or the other. What was found right is remembered, so that a settled server is asked nothing.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.controllers.server.exposure.answer import exposed_result
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Invalid, Waiting, failure_for
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import SECRET, KubeObject
from tracking_operator.mlflow.client import ALREADY_EXISTS, Answer, Login, MlflowApi, Target
from tracking_operator.passwords import new_password
from tracking_operator.resources.auth_secret import (
    ADMIN,
    USER,
    LoginCredentials,
    build_auth_secret,
    has_client_login,
    login_credentials_in,
)
from tracking_operator.resources.client_secret import client_login_in
from tracking_operator.resources.pod.server_pod import asks_for_login
from tracking_operator.resources.server_model import ServerModel

PATIENCE_SECONDS: Final = 0.5
"""How long one look waits for MLflow; a later one takes it up, so that servers that hang keep nobody waiting."""
LOOK_AGAIN_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 5.0

INVALID_PARAMETER: Final = "INVALID_PARAMETER_VALUE"
"""What MLflow calls a password that is too short, or a name that it does not take."""


@dataclass(frozen=True)
class LoginWanted:
    """What a server's login is to be."""

    credentials: LoginCredentials | None
    """The passwords; None without a login, and while the Secret cannot be had."""
    rotation: str
    """The value of the annotation that asks for other passwords."""
    revocation: str = ""
    """The value of the annotation that asks for the end of all that was made before; empty: nobody asks."""


@dataclass(frozen=True)
class _Question:
    """What MLflow is asked to be like: while it is the same, so is the answer."""

    target: Target
    credentials: LoginCredentials


@dataclass(frozen=True)
class _Asked:
    """A question that is under way, and the pods that it was put to: of others its answer says nothing."""

    question: _Question
    pods: tuple[object, ...]
    task: "asyncio.Task[LoginCredentials]"


@dataclass
class LoginMemory:
    """What is remembered of one server's login."""

    right: _Question | None = None
    """What MLflow was found to be like."""
    asked: _Asked | None = None
    is_stale: bool = False
    """Whether MLflow is to be asked although nothing has changed."""
    proven: LoginCredentials | None = None
    """What MLflow let in last: from this a Secret is made again that was lost, or has become an older one."""

    def invalidate(self) -> None:
        """Have MLflow asked again."""
        self.is_stale = True

    def evict(self) -> None:
        """Drop all of it: the server is gone, or nobody has to log in."""
        if self.asked:
            self.asked.task.cancel()
        self.right, self.asked, self.is_stale, self.proven = None, None, False, None

    def has_revoked(self, revocation: str) -> bool:
        """Whether MLflow's users were found to have the passwords that were made for this revocation, or later ones."""
        return self.right is not None and self.right.credentials.revoked_for == revocation


class AdminRefused(Waiting):
    """MLflow knows none of the passwords that the admin may have."""


class Logins:
    """Sees to the logins of servers."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, api: MlflowApi, now: Callable[[], datetime]
    ) -> None:
        self._secrets = ManagedSecrets(kube, cache)
        self._cache = cache
        self._users = _Users(api)
        self._now = now

    async def credentials(
        self, server: ServerModel, memory: LoginMemory, rotation: str, *, revocation: str = ""
    ) -> LoginCredentials:
        """The passwords of the server's Secret, which is made if there is none. Raises Failure.

        What it lacks is made again as it was, as far as that is known: so nobody has to learn another password.

        ``rotation`` is the value of the annotation that asks for other passwords, and ``revocation`` of the one that asks
        for another key to sign with, too: the Secret has both from here on, unless a rotation has to end first.
        """
        secret = await self._secrets.read(server, server.names.auth)
        lost = memory.proven or await self._made_again(server, secret, rotation, revocation)
        found = login_credentials_in(secret, lost)
        if memory.proven and found.rotated_at < memory.proven.rotated_at:
            # Out of an old backup: clients that run have the passwords of now.
            found = memory.proven
        if _is_revocation_due(found, revocation) and not found.is_rotating:
            found = replace(
                self._with_next_passwords(found, rotation), secret_key=new_password(), revoked_for=revocation
            )
        if await self._secrets.write(server, build_auth_secret(server, found)):
            # Who has touched the Secret may have restored the database, too, or changed a password in MLflow.
            memory.invalidate()
        return found

    async def look(
        self,
        server: ServerModel,
        target: Target,
        deployment: KubeObject,
        wanted: LoginWanted,
        memory: LoginMemory,
    ) -> Login | None:
        """The login with which clients are let in by the pods that serve now; None where these let everybody in.

        Raises:
            Failure: it is not there; with the reason Pending nothing is known yet, good or bad.

        """
        if server.login is None and not is_rolled_out(deployment, server.replicas):
            return self._former_login(server)
        if wanted.credentials is None or not asks_for_login(deployment):
            return None
        if server.single_sign_on is not None:
            # MLflow's own passwords mean nothing there: the proxy has them from a Secret.
            return Login(wanted.credentials.user, wanted.credentials.user_password)
        has_gone_over = is_rolled_out(deployment, server.replicas)
        pods = (deployment["metadata"].get("generation"), has_gone_over)
        try:
            return await self.ensure_users(
                server,
                target,
                wanted.credentials,
                memory,
                rotation=wanted.rotation,
                revocation=wanted.revocation,
                pods=pods,
            )
        except Failure as failure:
            if isinstance(failure, Invalid | AdminRefused) or has_gone_over:
                raise  # pods that refuse the admin refuse clients, too, however long the roll may take
            # Not as before: those who were let in without a login will not be.
            raise Waiting(
                Reason.ROLLOUT_IN_PROGRESS,
                "Waits for pods that ask for a login, and for its users.",
                retry_after=LOOK_AGAIN_SECONDS * 2,
            ) from failure

    async def settle_unasked(
        self, server: ServerModel, credentials: LoginCredentials, memory: LoginMemory, rotation: str
    ) -> LoginCredentials:
        """The passwords that MLflow is given where nobody asks it: the next ones at once, as they take effect in the store.

        Raises Failure: the Secret cannot be written.
        """
        if credentials.rotated_for != rotation and not credentials.is_rotating:
            credentials = self._with_next_passwords(credentials, rotation)
        settled = credentials.settled()
        if await self._secrets.write(server, build_auth_secret(server, settled)):
            memory.right = None
        return settled

    def take_for_right(self, target: Target, credentials: LoginCredentials, memory: LoginMemory) -> None:
        """Remember what MLflow was given in its store."""
        memory.right, memory.proven, memory.is_stale = _Question(target, credentials), credentials, False

    async def ensure_users(
        self,
        server: ServerModel,
        target: Target,
        credentials: LoginCredentials,
        memory: LoginMemory,
        *,
        rotation: str,
        revocation: str = "",
        pods: tuple[object, ...] = (),
    ) -> Login:
        """Make MLflow's users as the Secret says; return the ordinary user's login.

        A value of ``rotation`` that the passwords were not made for gives both users other ones.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        if credentials.rotated_for != rotation and not credentials.is_rotating:
            credentials = self._with_next_passwords(credentials, rotation)
            # Before MLflow hears of the passwords, so that they cannot be lost.
            await self._secrets.write(server, build_auth_secret(server, credentials))
        question = _Question(target, credentials)
        # What is under way is looked at in any case: nobody else would hear of what it found.
        if memory.is_stale or memory.asked or memory.right != question:
            settled = await self._settled(server, question, pods, memory)
            if settled != credentials:
                await self._secrets.write(server, build_auth_secret(server, settled))
            memory.right, memory.is_stale = _Question(target, settled), False
            memory.proven = settled
            credentials = settled
        if _is_revocation_due(credentials, revocation):
            # A rotation was under way, of which MLflow may have known the passwords that are revoked.
            raise _still_asking()
        return Login(credentials.user, credentials.user_password)

    def _former_login(self, server: ServerModel) -> Login | None:
        """A login that pods which still ask for one know, and others do not mind; None if there never was one."""
        secret = self._cache.whole(SECRET, server.namespace, server.names.auth)
        if secret is None or not controlled_by(secret, server.uid):
            return None
        known = login_credentials_in(secret, self._new_credentials("", ""))
        return Login(known.user, known.user_password)

    def _new_credentials(self, rotation: str, revocation: str) -> LoginCredentials:
        return LoginCredentials(
            admin=ADMIN,
            admin_password=new_password(),
            user=USER,
            user_password=new_password(),
            secret_key=new_password(),
            rotated_for=rotation,
            rotated_at=self._now().replace(microsecond=0),
            revoked_for=revocation,
        )

    async def _made_again(
        self, server: ServerModel, secret: KubeObject | None, rotation: str, revocation: str
    ) -> LoginCredentials:
        """New passwords in the place of lost ones; but clients keep theirs, as long as their Secret has it.

        One that may have been revoked nobody keeps.
        """
        new = self._new_credentials(rotation, revocation)
        if revocation or (secret is not None and has_client_login(secret)):
            return new
        with suppress(Failure):  # whose it is, if it is not the server's, is said where it is written
            client = client_login_in(await self._secrets.read(server, server.names.client))
            if client is not None:
                return replace(new, user=client.username, user_password=client.password)
        return new

    def _with_next_passwords(self, credentials: LoginCredentials, rotation: str) -> LoginCredentials:
        return replace(
            credentials,
            next_admin_password=new_password(),
            next_user_password=new_password(),
            rotated_for=rotation,
            rotated_at=max(self._now().replace(microsecond=0), credentials.rotated_at),
        )

    async def _settled(
        self, server: ServerModel, question: _Question, pods: tuple[object, ...], memory: LoginMemory
    ) -> LoginCredentials:
        """The credentials once MLflow's users have them; what is under way is gone on with by the next look."""
        asked = memory.asked
        if asked is not None and (asked.question, asked.pods) != (question, pods):
            # Another one may not begin before this one has ended: it may have changed a password meanwhile.
            await _with_deadline(asked.task)
            asked.task.exception()  # looked at, so that asyncio does not complain; the next one finds it anew
            asked = None
        if asked is None:
            task = asyncio.create_task(
                self._users.settle(server, question.target, question.credentials, memory.proven)
            )
            asked = memory.asked = _Asked(question, pods, task)
        await _with_deadline(asked.task)
        memory.asked = memory.right = None  # right again only if this says so
        return asked.task.result()


def _is_revocation_due(credentials: LoginCredentials, revocation: str) -> bool:
    return bool(revocation) and credentials.revoked_for != revocation


async def _with_deadline(task: "asyncio.Task[LoginCredentials]") -> None:
    """Wait for a moment. Raises Waiting: the task has not ended."""
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    if not task.done():
        raise _still_asking()


class _Users:
    """Makes MLflow's users as they should be. Knows nothing of Secrets."""

    def __init__(self, api: MlflowApi) -> None:
        self._api = api

    async def settle(
        self,
        server: ServerModel,
        target: Target,
        credentials: LoginCredentials,
        former: LoginCredentials | None,
    ) -> LoginCredentials:
        """Have the admin and the ordinary user log in by the credentials; return these as they are then. Raises Failure.

        ``former`` are those that did so before, by which the admin gets in if the Secret is another one now.
        """
        admin = await self._admin(server, target, credentials, former)
        wanted = credentials.settled()
        admin = await self._changed_admin(server, target, admin, wanted)
        user = Login(wanted.user, wanted.user_password)
        if not credentials.next_user_password and (await self._api.log_in(target, user)).is_ok:
            return wanted
        await self._make(server, target, admin, user)
        return wanted

    async def _admin(
        self,
        server: ServerModel,
        target: Target,
        credentials: LoginCredentials,
        former: LoginCredentials | None,
    ) -> Login:
        """The admin's login that MLflow knows. The next password first: workers remember an old one for a while."""
        passwords = [credentials.next_admin_password, credentials.admin_password]
        if former and former.admin == credentials.admin:
            passwords.append(former.admin_password)
        for password in dict.fromkeys(filter(None, passwords)):
            admin = Login(credentials.admin, password)
            answer = await self._api.log_in(target, admin)
            if answer.is_ok:
                return admin
            if not answer.is_refused_login:
                raise _no_answer(server, answer)
        raise _refused_admin(server, credentials)

    async def _changed_admin(
        self, server: ServerModel, target: Target, admin: Login, wanted: LoginCredentials
    ) -> Login:
        new = Login(wanted.admin, wanted.admin_password)
        if admin == new:
            return admin
        answer = await self._api.update_password(target, admin, new)
        if not answer.is_ok:
            raise _not_done(server, f"change the password of {new.username}", answer)
        return new

    async def _make(self, server: ServerModel, target: Target, admin: Login, user: Login) -> None:
        """Make the ordinary user, or give the one of this name the password."""
        answer = await self._api.create_user(target, admin, user)
        if answer.error_code == ALREADY_EXISTS:
            answer = await self._api.update_password(target, admin, user)
        if not answer.is_ok:
            raise _not_done(
                server, f"give user {user.username} the password of Secret {server.names.auth}", answer
            )


def _still_asking() -> Waiting:
    return Waiting(Reason.PENDING, "Waits for MLflow to see to its users.", retry_after=LOOK_AGAIN_SECONDS)


def _no_answer(server: ServerModel, answer: Answer) -> Waiting:
    """What keeps MLflow from answering at all keeps clients from it, too, and is told in the same words."""
    condition_result = exposed_result(server, answer)
    return Waiting(condition_result.reason, condition_result.message, retry_after=RETRY_SECONDS)


def _not_done(server: ServerModel, what: str, answer: Answer) -> Failure:
    if answer.status is None or answer.is_refused_login:
        return _no_answer(server, answer)
    is_for_a_person = answer.error_code == INVALID_PARAMETER
    remedy = f"Correct the Secret {server.names.auth}." if is_for_a_person else "The operator tries again."
    return failure_for(
        Reason.LOGIN_REFUSED,
        f"MLflow did not {what}: {answer.problem} (status {answer.status}). {remedy}",
    )


def _refused_admin(server: ServerModel, credentials: LoginCredentials) -> AdminRefused:
    """What to say of a database of somebody else's, where the operator gives nobody a password (login/reset.py)."""
    secret = server.names.auth
    return AdminRefused(
        Reason.LOGIN_REFUSED,
        f"MLflow refuses the password of {credentials.admin} in Secret {secret}, so that somebody has changed it in MLflow: write "
        f"the one that is right into the Secret (key password). If nobody knows it: kubectl exec -n {server.namespace} "
        f"deployment/{server.name} -c mlflow -- python3 /opt/tracking-operator/tools.pyz prepare-login --reset gives MLflow "
        "the Secret's. Everybody else can log in as before.",
        retry_after=UNWATCHED_RETRY_SECONDS,
    )
