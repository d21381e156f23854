"""What becomes of a tenant's database when its server is deleted: closed and kept, or dropped.

In either case nobody is let in any more, and who is in has to go: a session outlives the login that it began with.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Identifier

from tracking_operator.stores.ownership_mark import MANAGED_BY, Mark, WrittenMark
from tracking_operator.stores.postgres.apply import apply
from tracking_operator.stores.postgres.observe import IS_ADMINISTERED, Observed, observe
from tracking_operator.stores.postgres.plan import check_ownership, is_own_database, no_login
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.statements import Step
from tracking_operator.stores.postgres.tenant import Tenant
from tracking_operator.stores.postgres.termination import Whose, end_all


@dataclass(frozen=True)
class MarkedAccess:
    """What lets somebody in, or has let somebody in who is there still: logins and databases with one and the same mark."""

    mark: WrittenMark
    logins: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()


def retain(sessions: Sessions, tenant: Tenant) -> tuple[Step, ...]:
    """Close a tenant's database, take its logins and passwords away, and end its sessions; the data stays, with its mark.

    Only queries are sent if that is done; what does not carry the tenant's mark is left alone. Returns what was changed.

    Raises:
        Failure: the server does not answer, or refuses. Calling again goes on from what is there.

    """
    observed = observe(sessions.session(), tenant)
    return _shut(sessions, tenant, observed)


def drop(sessions: Sessions, tenant: Tenant) -> tuple[Step, ...]:
    """Drop a tenant's database and roles for ever. Calling again after a failure goes on from what is left.

    DROP DATABASE … FORCE is refused to anybody but a superuser on PostgreSQL 16 and later, even to the owner.

    Raises:
        Failure: the server does not answer or refuses; or the database or a role is not the tenant's.

    """
    sessions.close_session(tenant.database)
    observed = observe(sessions.session(), tenant)
    check_ownership(observed, tenant)
    shut = _shut(sessions, tenant, observed)
    steps = tuple(plan_drop(observed, tenant))
    apply(sessions, tenant, steps)
    return (*shut, *steps)


def access_of_cluster(sessions: Sessions, cluster: str) -> tuple[MarkedAccess, ...]:
    """Everything on the server by which servers of ``cluster`` get in or are in, and that the admin may alter.

    Those whose server is not there any more lose it by ``take_access``. Two classes may have different admins
    on one server; each sees to its own.

    Raises:
        Failure: the server does not answer, or refuses.

    """
    rows = sessions.session().rows(_MARKED, {"sign": MANAGED_BY}, doing="list what is marked")
    found: defaultdict[WrittenMark, dict[str, list[str]]] = defaultdict(lambda: {"login": [], "database": []})
    for kind, name, comment in rows:
        mark = Mark.read(comment)
        if mark and mark.cluster == cluster:
            found[mark][kind].append(name)
    return tuple(
        MarkedAccess(mark, tuple(names["login"]), tuple(names["database"])) for mark, names in found.items()
    )


def take_access(sessions: Sessions, left: MarkedAccess) -> None:
    """Take away what ``access_of_cluster`` named, unless another mark was written on it meanwhile.

    Raises:
        Failure: the server does not answer, or refuses. Calling again goes on from what is there.

    """
    still = [one for one in access_of_cluster(sessions, left.mark.cluster) if one.mark == left.mark]
    for found in still:
        for step in (*map(_close, found.databases), *map(no_login, found.logins)):
            sessions.session().execute(step.statement, doing=step.what)
        end_all(sessions, Whose(found.logins, found.databases))


def plan_shut(observed: Observed, tenant: Tenant) -> Iterator[Step]:
    """The steps after which nobody gets into a tenant's database any more; pure."""
    database = observed.database
    if database and database.open and not database.invalid and is_own_database(database, observed, tenant):
        yield _close(tenant.database)
    for name in _own_logins(observed, tenant):
        if observed.roles[name].can_login:
            yield no_login(name)


def plan_drop(observed: Observed, tenant: Tenant) -> Iterator[Step]:
    """The steps that drop a database that nobody uses, and its roles; pure."""
    if observed.database:
        yield Step(
            f"drop database {tenant.database}",
            (SQL("DROP DATABASE {}").format(Identifier(tenant.database)),),
            slow=True,
        )
    for name in reversed(tenant.roles):
        if name in observed.roles:
            yield Step(f"drop role {name}", (SQL("DROP ROLE {}").format(Identifier(name)),))


def _shut(sessions: Sessions, tenant: Tenant, observed: Observed) -> tuple[Step, ...]:
    steps = tuple(plan_shut(observed, tenant))
    apply(sessions, tenant, steps)
    is_own = observed.database and is_own_database(observed.database, observed, tenant)
    databases = (tenant.database,) if is_own else ()
    end_all(sessions, Whose(_own_logins(observed, tenant), databases))
    return steps


def _own_logins(observed: Observed, tenant: Tenant) -> tuple[str, ...]:
    """The tenant's logins that exist and carry its mark."""
    return tuple(
        name
        for name in tenant.logins
        if name in observed.roles and tenant.mark.is_same_owner(Mark.read(observed.roles[name].comment))
    )


def _close(database: str) -> Step:
    return Step(
        f"close database {database}",
        (SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(database)),),
    )


_HAS_SESSIONS: Final = """
EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a
        JOIN pg_catalog.pg_roles AS u ON u.oid OPERATOR(pg_catalog.=) a.usesysid
        WHERE {condition} AND NOT u.rolsuper AND u.rolname OPERATOR(pg_catalog.<>) CURRENT_USER)
"""
_MARKED: Final = SQL(f"""
SELECT 'login'::pg_catalog.text, r.rolname, d.description
FROM pg_catalog.pg_roles AS r
JOIN pg_catalog.pg_shdescription AS d
  ON d.objoid OPERATOR(pg_catalog.=) r.oid
 AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid
WHERE (r.rolcanlogin OR {_HAS_SESSIONS.format(condition="u.oid OPERATOR(pg_catalog.=) r.oid")})
  AND pg_catalog.strpos(d.description, %(sign)s::pg_catalog.text) OPERATOR(pg_catalog.>) 0 AND {IS_ADMINISTERED}
UNION ALL
SELECT 'database'::pg_catalog.text, b.datname, d.description
FROM pg_catalog.pg_database AS b
JOIN pg_catalog.pg_shdescription AS d
  ON d.objoid OPERATOR(pg_catalog.=) b.oid
 AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass::pg_catalog.oid
WHERE (b.datallowconn OR {_HAS_SESSIONS.format(condition="a.datid OPERATOR(pg_catalog.=) b.oid")})
  AND pg_catalog.strpos(d.description, %(sign)s::pg_catalog.text) OPERATOR(pg_catalog.>) 0
  AND pg_catalog.pg_has_role(b.datdba, 'USAGE')
ORDER BY 1, 2
""")  # noqa: S608 — only our own constants are put in
