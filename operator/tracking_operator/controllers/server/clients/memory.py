"""What is remembered of the clients of one server: how they get in, and which users MLflow may have for them."""

import asyncio
from dataclasses import dataclass, field

from tracking_operator.api.server_access import Permission
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.mlflow.client import Login, Target


@dataclass(frozen=True)
class Opening:
    """How clients get in, as long as pods serve."""

    target: Target
    service_url: str
    """What programs use as MLFLOW_TRACKING_URI."""
    url: str
    """What people open."""
    is_proxied: bool
    """Whether artifacts go through the server, so that programs need no keys."""
    is_probed: bool
    """Whether the operator may send requests to the server."""
    default_permission: Permission | None
    """What any user of the login may do; None: nobody has to log in."""
    admin: Login | None = None
    """With whose login users are made; None: nobody has to log in, or it is not known yet."""
    has_passwords: bool = True
    """Whether MLflow itself looks at passwords; not where people log in at an identity provider, whose proxy knows its own few only."""


@dataclass(frozen=True)
class ClientsFound:
    """What one look at the clients of a server found."""

    has_users: bool | None
    """Whether MLflow may have users that were made for clients; None: nobody has looked."""
    waits: tuple[ConditionResult, ...] = ()
    """Why access that is withdrawn may not be ended yet."""


@dataclass
class ClientsMemory:
    """What is remembered of the clients of one server."""

    opening: Opening | None = None
    """None: no pod serves, or the server was not looked at since the start of the operator."""
    may_make: bool = False
    """Whether the server's status says that there may be users of clients: it does before any is made."""
    users: frozenset[str] | None = None
    """The users that MLflow may have for clients; None: it is to be asked."""
    asked_in_vain: bool = False
    """Whether a server that is not known to have such users could not say which there are: it is asked at the next resync."""
    under_way: "asyncio.Task[None] | None" = None
    """The deletion of users that are not wanted any more."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who makes or deletes users, so that none is made that has just been looked for."""

    def invalidate(self) -> None:
        """Have MLflow asked again which users there are."""
        self.users, self.asked_in_vain = None, False

    def note_made(self, username: str) -> None:
        """Note that MLflow may have a user from now on."""
        if self.users is not None:
            self.users |= {username}

    def evict(self) -> None:
        """End what is under way: the server is gone."""
        if self.under_way:
            self.under_way.cancel()
        self.opening, self.users, self.under_way = None, None, None
