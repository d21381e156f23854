"""What becomes of a tenant's database when its server is deleted: logins away, or everything dropped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Composable, Identifier, Literal

from tracking_operator.backend_store.apply import apply
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.observe import (
    IS_ADMINISTERED,
    Observed,
    ObservedDatabase,
    observe_catalog,
)
from tracking_operator.backend_store.plan import check_ownership, no_login
from tracking_operator.backend_store.statements import Step
from tracking_operator.backend_store.tenant import Tenant
from tracking_operator.mark import MANAGED_BY, Mark


@dataclass(frozen=True)
class MarkedLogin:
    """A role that can log in and carries our mark."""

    role: str
    mark: Mark


def retain(sessions: Sessions, tenant: Tenant) -> tuple[Step, ...]:
    """Take away a tenant's logins and passwords; the database stays, with its mark.

    Nothing is sent if there are none; what does not carry the tenant's mark is left alone.

    Raises:
        Failure: the server does not answer, or refuses.

    """
    steps = tuple(plan_retain(observe_catalog(sessions.session(), tenant), tenant))
    apply(sessions, tenant, steps)
    return steps


def drop(sessions: Sessions, tenant: Tenant) -> tuple[Step, ...]:
    """Drop a tenant's database and roles for ever. Calling again after a failure goes on from what is left.

    Raises:
        Failure: the server does not answer or refuses; or the database or a role is not the tenant's.

    """
    sessions.close_session(tenant.database)
    steps = tuple(plan_drop(observe_catalog(sessions.session(), tenant), tenant))
    apply(sessions, tenant, steps)
    return steps


def logins_of_cluster(sessions: Sessions, cluster: str) -> tuple[MarkedLogin, ...]:
    """Every login on the server that carries a mark of ``cluster``, and that the admin may alter.

    Those whose server is not there any more lose their login by ``take_logins``. Two classes may have
    different admins on one server; each sees to its own.
    """
    rows = sessions.session().rows(_MARKED_LOGINS, {"sign": MANAGED_BY}, doing="list its marked roles")
    found = [(role, Mark.read(comment)) for role, comment in rows]
    return tuple(MarkedLogin(role, mark) for role, mark in found if mark and mark.cluster == cluster)


def take_logins(sessions: Sessions, logins: tuple[MarkedLogin, ...]) -> None:
    """Take the logins away from roles that ``logins_of_cluster`` named.

    Raises:
        Failure: the server does not answer, or refuses.

    """
    for login in logins:
        step = no_login(login.role)
        sessions.session().rows(step.statement, doing=step.what)


def plan_retain(observed: Observed, tenant: Tenant) -> Iterator[Step]:
    """The steps that take a tenant's logins away; pure."""
    for name in tenant.logins:
        role = observed.roles.get(name)
        if role and role.can_login and tenant.mark.is_same_owner(Mark.read(role.comment)):
            yield no_login(name)


def plan_drop(observed: Observed, tenant: Tenant) -> Iterator[Step]:
    """The steps that drop a tenant's database and roles; pure.

    The admin may end a tenant's sessions only while it is a member of their roles. DROP DATABASE … FORCE
    is refused to anybody but a superuser on PostgreSQL 16 and later, even to the owner.

    Raises:
        Invalid: something is not the tenant's.

    """
    check_ownership(observed, tenant)
    if observed.database:
        if not observed.database.invalid:
            yield from _empty_database(observed, observed.database, tenant)
        yield Step(
            f"drop database {tenant.database}",
            (SQL("DROP DATABASE {}").format(Identifier(tenant.database)),),
            slow=True,
        )
    for name in reversed(tenant.roles):
        if name in observed.roles:
            yield Step(f"drop role {name}", (SQL("DROP ROLE {}").format(Identifier(name)),))


def _empty_database(observed: Observed, database: ObservedDatabase, tenant: Tenant) -> Iterator[Step]:
    if database.open:
        yield Step(
            f"close database {tenant.database}",
            (SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(tenant.database)),),
        )
    yield from plan_retain(observed, tenant)
    logins = [name for name in tenant.logins if name in observed.roles]
    if not logins:
        return
    admin = Identifier(observed.admin)
    inherit = SQL(" WITH INHERIT TRUE" if observed.has_membership_options else "")
    yield Step(
        f"let {observed.admin} end sessions of {tenant.database}",
        tuple(SQL("GRANT {} TO {}").format(Identifier(name), admin) + inherit for name in logins),
    )
    yield Step(f"end the sessions of {tenant.database}", (_end_sessions(logins),), until_none=True)
    yield Step(
        f"take the roles of {tenant.database} away from {observed.admin}",
        tuple(SQL("REVOKE {} FROM {}").format(Identifier(name), admin) for name in logins),
    )


def _end_sessions(logins: list[str]) -> Composable:
    """Ends the sessions of logins, and counts them."""
    return SQL("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ({})").format(
        SQL(", ").join(Literal(name) for name in logins)
    )


_MARKED_LOGINS: Final = SQL(f"""
SELECT r.rolname, d.description
FROM pg_roles AS r
JOIN pg_shdescription AS d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
WHERE r.rolcanlogin AND strpos(d.description, %(sign)s) > 0 AND {IS_ADMINISTERED}
ORDER BY r.rolname
""")  # noqa: S608 — only our own constants are put in
