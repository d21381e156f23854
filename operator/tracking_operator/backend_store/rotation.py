"""New credentials without a failed request: a tenant's two login roles take turns.

1. ``begin``: the other login gets a new password and may log in; both work now.
2. The caller swaps the Secret. Pods see it within 60 to 90 seconds; new connections use the new login.
3. At least ``SECONDS_AFTER_SWAP`` later, ``look`` at the old login's sessions again and again until
   ``is_quiet`` says that no new one appears.
4. ``retire``: the old login goes away, and its idle sessions end. Active ones are never ended.

The state is in the catalog: as long as both logins can log in, or the old one has sessions, a rotation has
not ended. Each part may be interrupted and called again.
"""

import time
from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Identifier, Literal

from tracking_operator.backend_store import scram
from tracking_operator.backend_store.apply import apply
from tracking_operator.backend_store.connection import Session, Sessions
from tracking_operator.backend_store.observe import observe_catalog
from tracking_operator.backend_store.plan import check_ownership, let_in, no_login
from tracking_operator.backend_store.server import Login
from tracking_operator.backend_store.statements import Step
from tracking_operator.backend_store.tenant import Tenant

SECONDS_AFTER_SWAP: Final = 120.0
"""The kubelet writes a changed Secret into pods within its sync period plus its cache's age: 60 to 90 s."""

QUIET_SECONDS: Final = 30.0
"""How long no new session of the old login may have appeared."""

SECONDS_FOR_IDLE_SESSIONS: Final = 10.0
SECONDS_BETWEEN_LOOKS: Final = 0.1
UNLIMITED: Final = -1


@dataclass(frozen=True)
class Sighting:
    """The sessions (process numbers) that a login had ``at`` a time, in seconds of a clock that never jumps."""

    at: float
    sessions: frozenset[int]


@dataclass(frozen=True)
class Retirement:
    """How far an old login's retirement is: sessions ended just now, and those left because they are active."""

    ended: int
    left: int

    @property
    def complete(self) -> bool:
        """Whether nothing of the old login is left."""
        return self.left == 0


def begin(sessions: Sessions, tenant: Tenant, new: str, verifier: str) -> None:
    """Give the login whose turn it is a new password. The other one is not touched.

    Raises:
        Failure: the server does not answer or refuses, or a role is not the tenant's.

    """
    _own(sessions, tenant)
    apply(sessions, tenant, [let_in(new, verifier)])


def look(sessions: Sessions, login: str, at: float) -> Sighting:
    """See which sessions a login has. The admin sees that they are there, not what they do."""
    rows = sessions.session().rows(_SESSIONS, {"login": login}, doing=f"list the sessions of {login}")
    return Sighting(at, frozenset(pid for (pid,) in rows))


def is_quiet(earlier: Sighting, now: Sighting, seconds: float = QUIET_SECONDS) -> bool:
    """Whether no session has appeared since ``earlier``, at least ``seconds`` ago."""
    return now.at - earlier.at >= seconds and now.sessions <= earlier.sessions


def retire(sessions: Sessions, tenant: Tenant, old: str, *, connection_limit: int) -> Retirement:
    """Take the old login away and end its idle sessions; sends nothing but queries if that is done.

    Only a session of the old login itself may end the others. One is opened with a password that nobody
    else knows, so the old one need not be kept; then the login goes away, and then the sessions end.

    Raises:
        Failure: the server does not answer or refuses, or a role is not the tenant's.

    """
    can_login = _own(sessions, tenant).get(old, False)
    if not look(sessions, old, 0).sessions:
        if can_login:
            apply(sessions, tenant, [no_login(old)])
        if not look(sessions, old, 0).sessions:
            return Retirement(ended=0, left=0)
    password = scram.new_password()
    # The pods may hold as many sessions as the old login is allowed.
    apply(sessions, tenant, [let_in(old, scram.new_verifier(password)), limit_connections(old, UNLIMITED)])
    with sessions.new_session(Login(old, password, "memory"), tenant.database) as own:
        own.rows(SQL("SET ROLE NONE"), doing=f"let {old} be itself")
        apply(sessions, tenant, [no_login(old), limit_connections(old, connection_limit)])
        return _end_idle_sessions(own)


def limit_connections(login: str, limit: int) -> Step:
    """The step after which ``login`` may have ``limit`` sessions at a time."""
    return Step(
        f"limit the connections of {login}",
        (SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(Identifier(login), Literal(limit)),),
    )


def _own(sessions: Sessions, tenant: Tenant) -> dict[str, bool]:
    """Make sure that the roles are the tenant's; say which can log in."""
    observed = observe_catalog(sessions.session(), tenant)
    check_ownership(observed, tenant)
    return {role.name: role.can_login for role in observed.roles.values()}


def _end_idle_sessions(own: Session) -> Retirement:
    deadline = time.monotonic() + SECONDS_FOR_IDLE_SESSIONS
    ended: set[int] = set()
    while True:
        ended |= {pid for pid, _ in own.rows(_END_IDLE, doing="end idle sessions")}
        left = own.rows(_COUNT_OTHERS, doing="count sessions")[0][0]
        if not left or time.monotonic() > deadline:
            return Retirement(len(ended), left)
        time.sleep(SECONDS_BETWEEN_LOOKS)


_SESSIONS: Final = SQL("SELECT pid FROM pg_stat_activity WHERE usename = %(login)s")
# Not in the WHERE clause: there it might be called for sessions that another condition leaves out.
_END_IDLE: Final = SQL(
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE usename = current_user AND state = 'idle' AND pid <> pg_backend_pid()"
)
_COUNT_OTHERS: Final = SQL(
    "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
)
