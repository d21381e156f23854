"""New credentials without a failed request: a tenant's two login roles take turns.

1. ``begin``: the other login gets a new password and may log in; both work now.
2. The caller swaps the Secret. Pods see it within 60 to 90 seconds; new connections use the new login.
3. ``limit``: PostgreSQL notes until when the old login works at most. There no tenant can change it, it survives
   the operator, and it holds while nobody looks.
4. Once pods see the Secret, ``look`` at the old login's sessions again and again until ``is_quiet`` says that no new
   one appears, or the longest wait is over (``timings.py``).
5. ``retire``: the old login goes away, and its idle sessions end; at the deadline all others do.

The state is in the catalog: as long as both logins can log in, or the old one has sessions, a rotation has
not ended. Each part may be interrupted and called again.
"""

from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL

from tracking_operator.stores.postgres.apply import apply
from tracking_operator.stores.postgres.observe import observe
from tracking_operator.stores.postgres.plan import check_ownership, expire, let_in, no_login
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.tenant import Tenant
from tracking_operator.stores.postgres.termination import Ended, Whose, end_all, end_idle


@dataclass(frozen=True)
class Sighting:
    """The sessions (process numbers) that a login had ``at`` a time, in seconds of a clock that never jumps."""

    at: float
    sessions: frozenset[int]


def begin(sessions: Sessions, tenant: Tenant, new: str, password: str) -> None:
    """Give the login whose turn it is a new password. The other one is not touched.

    Raises:
        Failure: the server does not answer or refuses, or a role is not the tenant's.

    """
    _own(sessions, tenant)
    apply(sessions, tenant, [let_in(new, password)])


def limit(sessions: Sessions, tenant: Tenant, old: str, until: float) -> None:
    """Note that the old login works until then at most, in seconds since 1970.

    Raises:
        Failure: the server does not answer or refuses, or a role is not the tenant's.

    """
    _own(sessions, tenant)
    apply(sessions, tenant, [expire(old, until)])


def look(sessions: Sessions, login: str, at: float) -> Sighting:
    """See which sessions a login has. The admin sees that they are there, not what they do."""
    rows = sessions.session().rows(_SESSIONS, {"login": login}, doing=f"list the sessions of {login}")
    return Sighting(at, frozenset(pid for (pid,) in rows))


def is_quiet(earlier: Sighting, now: Sighting, seconds: float) -> bool:
    """Whether no session has appeared since ``earlier``, at least that many seconds ago."""
    return now.at - earlier.at >= seconds and now.sessions <= earlier.sessions


def retire(sessions: Sessions, tenant: Tenant, old: str, *, at_once: bool) -> Ended:
    """Take the old login away and end its idle sessions, or with ``at_once`` all; sends only queries if that is done.

    Raises:
        Failure: the server does not answer or refuses, or a role is not the tenant's.

    """
    if _own(sessions, tenant).get(old, False):
        apply(sessions, tenant, [no_login(old)])
    whose = Whose(logins=(old,))
    return Ended(end_all(sessions, whose), 0) if at_once else end_idle(sessions, whose)


def logins_in_use(sessions: Sessions, tenant: Tenant) -> set[str]:
    """The tenant's logins that can log in.

    Raises:
        Failure: the server does not answer or refuses, or a role is not the tenant's.

    """
    return {name for name, can_login in _own(sessions, tenant).items() if can_login}


def _own(sessions: Sessions, tenant: Tenant) -> dict[str, bool]:
    """Make sure that the roles are the tenant's; say which can log in."""
    observed = observe(sessions.session(), tenant)
    check_ownership(observed, tenant)
    return {role.name: role.can_login for role in observed.roles.values()}


_SESSIONS: Final = SQL(
    "SELECT s.pid FROM pg_catalog.pg_stat_activity AS s "
    "WHERE s.usename OPERATOR(pg_catalog.=) %(login)s::pg_catalog.name"
)
