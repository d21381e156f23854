"""Ends sessions of tenants, from the maintenance database: nothing that a tenant owns is asked or run for it.

An admin that is no superuser may end, and see the state of, sessions of roles only whose privileges it has
(https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL). So it becomes a member of
them in a transaction that is always rolled back: signals that were sent stay sent, and nobody ever sees the membership.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Composable, Identifier

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Unavailable
from tracking_operator.stores.postgres.connection import Session
from tracking_operator.stores.postgres.observe import IS_ADMINISTERED, ROLE_ATTRIBUTES_SINCE
from tracking_operator.stores.postgres.sessions import Sessions

SECONDS_UNTIL_NONE: Final = 3.0
SECONDS_FOR_IDLE_SESSIONS: Final = 10.0
SECONDS_BETWEEN_LOOKS: Final = 0.05


@dataclass(frozen=True)
class Whose:
    """Sessions of ``logins``, wherever they are, and those in ``databases``, whoever has them.

    Superusers' are never meant, nor the admin's own.
    """

    logins: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, object]:
        """What the queries compare with."""
        return {"logins": list(self.logins), "databases": list(self.databases)}


@dataclass(frozen=True)
class Ended:
    """How many sessions were ended, and how many are left because they do something."""

    ended: int
    left: int

    @property
    def complete(self) -> bool:
        """Whether nobody is left."""
        return self.left == 0


def end_all(sessions: Sessions, whose: Whose) -> int:
    """End sessions, whatever they do, and say how many there were. One query if there are none.

    Raises:
        Unavailable: some are left after ``SECONDS_UNTIL_NONE``, or the admin may not end them.
        Failure: the server does not answer, or refuses.

    """
    found = _end(sessions, whose, only_idle=False, seconds=SECONDS_UNTIL_NONE)
    if found.left:
        raise Unavailable(
            Reason.DELETION_BLOCKED,
            f"PostgreSQL at {sessions.server} did not end the sessions of {_spelled(whose)}: {found.left} are left after "
            f"{SECONDS_UNTIL_NONE:g} s. End them as a superuser; the operator goes on trying.",
        )
    return found.ended


def end_idle(sessions: Sessions, whose: Whose) -> Ended:
    """End sessions that do nothing, as soon as they do nothing; those that go on working after a while are left.

    Raises:
        Failure: the server does not answer, or refuses.

    """
    return _end(sessions, whose, only_idle=True, seconds=SECONDS_FOR_IDLE_SESSIONS)


def _end(sessions: Sessions, whose: Whose, *, only_idle: bool, seconds: float) -> Ended:
    session, deadline = sessions.session(), time.monotonic() + seconds
    ended: set[int] = set()
    while True:
        users = session.rows(_USERS, whose.parameters, doing=f"list the sessions of {_spelled(whose)}")
        if not users:
            return Ended(len(ended), 0)
        if time.monotonic() > deadline:
            return Ended(len(ended), sum(count for _, count, _ in users))
        members = [name for name, _, is_administered in users if is_administered]
        ended |= _end_once(session, members, whose, only_idle=only_idle)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _end_once(session: Session, users: Sequence[str], whose: Whose, *, only_idle: bool) -> set[int]:
    """End what the admin may end as a member of ``users``; the process numbers."""
    options = SQL(" WITH INHERIT TRUE" if session.server_version >= ROLE_ATTRIBUTES_SINCE else "")
    grants: list[Composable] = [
        SQL("GRANT {} TO CURRENT_USER").format(Identifier(name)) + options for name in users
    ]
    query = _END_IDLE if only_idle else _END_ALL
    doing = f"end the sessions of {_spelled(whose)}"
    rows = session.rows_undone(grants, query, {**whose.parameters, "users": list(users)}, doing=doing)
    return {pid for pid, is_ended in rows if is_ended}


def _spelled(whose: Whose) -> str:
    return ", ".join(whose.databases or whose.logins)


_THEIRS: Final = """
FROM pg_catalog.pg_stat_activity AS a
JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
WHERE (r.rolname OPERATOR(pg_catalog.=) ANY(%(logins)s::pg_catalog.name[])
       OR a.datname OPERATOR(pg_catalog.=) ANY(%(databases)s::pg_catalog.name[]))
  AND NOT r.rolsuper AND r.rolname OPERATOR(pg_catalog.<>) CURRENT_USER
"""

_USERS: Final = SQL(
    f"SELECT r.rolname, pg_catalog.count(*), {IS_ADMINISTERED} {_THEIRS} GROUP BY r.oid, r.rolname"
)
# In the list of columns and not in the WHERE clause: there it might be called for sessions that another condition leaves out.
_END_ALL: Final = SQL(
    f"SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) {_THEIRS} "
    "AND r.rolname OPERATOR(pg_catalog.=) ANY(%(users)s::pg_catalog.name[])"
)
_END_IDLE: Final = SQL(
    "SELECT a.pid, CASE WHEN a.state OPERATOR(pg_catalog.=) 'idle'::pg_catalog.text "
    f"THEN pg_catalog.pg_terminate_backend(a.pid) ELSE false END {_THEIRS} "
    "AND r.rolname OPERATOR(pg_catalog.=) ANY(%(users)s::pg_catalog.name[])"
)
