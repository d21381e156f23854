"""The life of the credentials that the operator makes for a store: held, revoked, verified, written, replaced, retired.

A Secret is the record of the credentials in use; which work at all is recorded by the store itself. What was verified is
remembered, so that a look at a server whose store is as it should be asks the store nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from tracking_operator.controllers.server.managed_stores.states import StoreMemory, StoreState
from tracking_operator.kube.objects import KubeObject

SECONDS_CLOCKS_DIFFER: Final = 60.0
"""What the clocks of two operators may be apart."""


@dataclass(frozen=True)
class Wanted:
    """What a server asks of its store, beside that it is there."""

    rotation: str
    """The value of the annotation that asks for new credentials."""
    rotate_every: float | None
    """After how many seconds credentials are too old; None: never."""
    must_exist: bool
    """Whether the store has held data, so that an empty one may not take its place."""
    deadline: float = math.inf
    """How many seconds after new credentials the old ones go, whether pods use them or not."""
    is_revoked: bool = False
    """Whether nobody may get in any more by what was handed out before, and everybody who is in has to go."""


class DatedCredentials(Protocol):
    """Credentials in a Secret."""

    @property
    def rotated_for(self) -> str:
        """The value of the annotation that they were made for."""

    @property
    def rotated_at(self) -> datetime:
        """When they were made."""


class AskedCase(Protocol):
    """One server's part of a store, and all that is needed to work on it."""

    @property
    def wanted(self) -> Wanted:
        """What the server asks of it."""


class VerifiedStore(Protocol):
    """What was verified: nothing has to be asked again as long as the same is wanted."""

    @property
    def is_rotating(self) -> bool:
        """Whether other credentials work, or somebody is still in by them."""


Case = TypeVar("Case", bound=AskedCase)
Held = TypeVar("Held", bound=DatedCredentials)
Verified = TypeVar("Verified", bound=VerifiedStore)
State = TypeVar("State", bound=StoreState)


@dataclass
class CycleMemory(StoreMemory, Generic[Held, Verified]):
    """What is remembered of one server's part of a store: at the least what was verified, and what is in its Secret."""

    verified: Verified | None = None
    written: Held | None = None
    """What the Secret was given last: from this it is made again if it is lost, or has become an older one."""

    def invalidate(self) -> None:
        """Have the store asked again."""
        self.verified = None


class CredentialsCycle(ABC, Generic[Case, Held, Verified, State]):
    """Goes one step on with the credentials of one server each time that it is asked."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    @abstractmethod
    def _memory(self, case: Case) -> CycleMemory[Held, Verified]:
        """What is remembered of the server's part."""

    @abstractmethod
    async def _secret(self, case: Case) -> KubeObject | None:
        """The server's Secret; None if there is none. Raises Failure."""

    @abstractmethod
    def _read(self, secret: KubeObject) -> Held | None:
        """The credentials in a Secret; None if it holds none."""

    def _are_for(self, case: Case, credentials: Held) -> bool:
        """Whether credentials are for this part of the store, and not for another one that the server had before."""
        return True

    async def _may_replace(self, case: Case) -> None:
        """See to it that nothing is lost by replacing a Secret that cannot be used. Raises Failure."""

    @abstractmethod
    async def _revoke(self, case: Case, held: Held | None) -> Held | None:
        """End all access by what was handed out before; return the credentials that are to come, if they are known."""

    @abstractmethod
    async def _verify(self, case: Case, held: Held | None) -> tuple[Verified, Held | None]:
        """Have the store be as it should be; return what was verified, before or now, and the credentials to use.

        A server that holds none gets its first here. None: its identity needs none of ours.
        """

    @abstractmethod
    async def _write_secret(self, case: Case, credentials: Held | None) -> None:
        """Make the server's Secret what it should be. Raises Failure."""

    @abstractmethod
    async def _rotate(self, case: Case, old: Held, verified: Verified) -> State:
        """Make other credentials and tell the pods; both work until the old ones retire. Raises Failure."""

    @abstractmethod
    async def _retire(self, case: Case, credentials: Held, verified: Verified) -> State:
        """Take other credentials than these away, once no pod uses them any more; at the deadline in any case."""

    @abstractmethod
    def _settled(self, credentials: Held | None, verified: Verified) -> State:
        """How a store was found of which nothing rotates."""

    async def _go_on(self, case: Case) -> State:
        """Make the store and its Secret as wanted, and go one step on with the rotation, if there is one.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        held = await self._held(case)
        if case.wanted.is_revoked:
            held = await self._revoke(case, held)
        verified, credentials = await self._verify(case, held)
        await self._write(case, credentials)
        if credentials is None:
            return self._settled(None, verified)
        if verified.is_rotating:
            return await self._retire(case, credentials, verified)
        if self._is_rotation_due(credentials, case.wanted):
            return await self._rotate(case, credentials, verified)
        return self._settled(credentials, verified)

    async def _held(self, case: Case) -> Held | None:
        """The credentials in the server's Secret, or those that it had before it was lost or replaced by an older one.

        None: there are none that can be used. Raises Failure.
        """
        secret, known = await self._secret(case), self._memory(case).written
        found = self._read(secret) if secret else None
        usable = found if found and self._are_for(case, found) else None
        if known and self._are_for(case, known) and (not usable or usable.rotated_at < known.rotated_at):
            return known
        if secret and not usable:
            await self._may_replace(case)
        return usable

    async def _write(self, case: Case, credentials: Held | None) -> None:
        """Make the server's Secret what it should be, and remember what it holds. Raises Failure."""
        await self._write_secret(case, credentials)
        self._memory(case).written = credentials

    def _is_rotation_due(self, credentials: Held, wanted: Wanted) -> bool:
        is_too_old = wanted.rotate_every is not None and self._age(credentials) >= wanted.rotate_every
        return credentials.rotated_for != wanted.rotation or is_too_old

    def _age(self, credentials: Held) -> float:
        age = (self._now() - credentials.rotated_at).total_seconds()
        # The date is in a Secret that its team may edit: one that is to come would keep old credentials for ever.
        return age if age > -SECONDS_CLOCKS_DIFFER else math.inf
