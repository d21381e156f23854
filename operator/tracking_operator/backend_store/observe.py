"""One snapshot of everything on a PostgreSQL server that concerns one tenant: a query, or two."""

from dataclasses import dataclass
from typing import Any, Final

from psycopg2.sql import SQL

from tracking_operator.backend_store.connection import Session, Sessions
from tracking_operator.backend_store.tenant import Tenant

PUBLIC: Final = ""
"""The grantee that stands for everybody; no role can be called so."""

ROLE_ATTRIBUTES_SINCE: Final = 160000
"""Since PostgreSQL 16 a membership has INHERIT and SET options, and CREATEROLE needs ADMIN on a role."""

INVALID_DATABASE: Final = -2
"""``datconnlimit`` of a database whose DROP DATABASE did not finish: nothing can be done but drop it again."""


IS_ADMINISTERED: Final = (
    f"(current_setting('server_version_num')::int < {ROLE_ATTRIBUTES_SINCE} "
    "OR pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION'))"
)
"""Whether the admin may alter the role ``r`` of a query."""


@dataclass(frozen=True)
class Grant:
    """One privilege that one role (or PUBLIC) has on a database."""

    grantee: str
    privilege: str
    grantable: bool = False


@dataclass(frozen=True)
class Membership:
    """``member`` may become ``role``. ``trusted`` members are superusers and groups that the admin is in."""

    role: str
    member: str
    grantor: str
    admin: bool
    inherit: bool
    set: bool
    trusted: bool


@dataclass(frozen=True)
class ObservedRole:
    """A role as it is. ``powers`` are the attributes beyond LOGIN; ``administered``: the admin may alter it."""

    name: str
    can_login: bool
    powers: frozenset[str]
    connection_limit: int
    comment: str | None
    administered: bool


@dataclass(frozen=True)
class ObservedDatabase:
    """A database as it is. ``owned``: the admin has the privileges of its owner; ``admits_admin``: it may connect."""

    name: str
    owner: str
    owned: bool
    admits_admin: bool
    open: bool
    invalid: bool
    comment: str | None
    grants: frozenset[Grant]


@dataclass(frozen=True)
class Observed:
    """A tenant's part of a server. ``settings`` are those of the logins in the tenant's database.

    ``schema_privileges`` is what the tenant's role may do in the schema ``public``; None if the database
    cannot be looked into yet.
    """

    server_version: int
    admin: str
    roles: dict[str, ObservedRole]
    memberships: frozenset[Membership]
    database: ObservedDatabase | None
    settings: dict[str, dict[str, str]]
    schema_privileges: frozenset[str] | None = None

    @property
    def has_membership_options(self) -> bool:
        """Whether memberships have INHERIT and SET options of their own."""
        return self.server_version >= ROLE_ATTRIBUTES_SINCE


def observe(sessions: Sessions, tenant: Tenant) -> Observed:
    """Look at a tenant's roles, memberships, database, privileges and settings.

    Raises:
        Failure: the server does not answer, or not to this login.

    """
    found = observe_catalog(sessions.session(), tenant)
    database = found.database
    # What is in a database that is not ours is not our business.
    is_ours = database and database.owned and tenant.role in found.roles
    if database and is_ours and database.admits_admin and not database.invalid:
        privileges = observe_schema(sessions.session(tenant.database), tenant)
        return Observed(**{**vars(found), "schema_privileges": privileges})
    return found


def observe_catalog(session: Session, tenant: Tenant) -> Observed:
    """Look at what all databases of a server share."""
    parameters = {"roles": list(tenant.roles), "database": tenant.database}
    found = session.rows(_CATALOG, parameters, doing=f"describe database {tenant.database}")[0][0]
    return Observed(
        server_version=found["server_version"],
        admin=found["admin"],
        roles={role["name"]: _role(role) for role in found["roles"]},
        memberships=frozenset(Membership(**membership) for membership in found["memberships"]),
        database=_database(found["database"]),
        settings={
            one["role"]: dict(entry.split("=", 1) for entry in one["settings"]) for one in found["settings"]
        },
    )


def observe_grants(session: Session, database: str) -> tuple[str, frozenset[Grant]]:
    """Read back a database's owner, and who has which privilege on it."""
    rows = session.rows(_GRANTS, {"database": database}, doing=f"say who may use database {database}")
    owner, grants = rows[0] if rows else ("", [])
    return owner, frozenset(Grant(**grant) for grant in grants)


def observe_schema(session: Session, tenant: Tenant) -> frozenset[str]:
    """Look at what the tenant's role may do in the schema ``public`` of the session's database."""
    rows = session.rows(
        _SCHEMA, {"role": tenant.role}, doing=f"describe the schema of database {tenant.database}"
    )
    return frozenset(rows[0][0])


def _role(found: dict[str, Any]) -> ObservedRole:
    return ObservedRole(**{**found, "powers": frozenset(found["powers"])})


def _database(found: dict[str, Any] | None) -> ObservedDatabase | None:
    if found is None:
        return None
    return ObservedDatabase(**{**found, "grants": frozenset(Grant(**grant) for grant in found["grants"])})


_GRANTS_OF_DATABASE: Final = """
    SELECT coalesce(json_agg(json_build_object(
        'grantee', CASE WHEN acl.grantee = 0 THEN '' ELSE pg_get_userbyid(acl.grantee) END,
        'privilege', acl.privilege_type,
        'grantable', acl.is_grantable)), '[]')
    FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
"""

_GRANTS: Final = SQL(
    f"SELECT pg_get_userbyid(d.datdba), ({_GRANTS_OF_DATABASE}) "  # noqa: S608
    "FROM pg_database AS d WHERE d.datname = %(database)s"
)

# to_jsonb(m) gives NULL for the columns that PostgreSQL 15 does not have; there, members inherit and may SET ROLE.
_CATALOG: Final = SQL(f"""
SELECT json_build_object(
  'server_version', current_setting('server_version_num')::int,
  'admin', current_user,
  'roles', (
    SELECT coalesce(json_agg(json_build_object(
        'name', r.rolname,
        'can_login', r.rolcanlogin,
        'powers', array_remove(ARRAY[
            CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
            CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
            CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN r.rolreplication THEN 'REPLICATION' END,
            CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
        'connection_limit', r.rolconnlimit,
        'comment', shobj_description(r.oid, 'pg_authid'),
        'administered', {IS_ADMINISTERED})), '[]')
    FROM pg_roles AS r WHERE r.rolname = ANY(%(roles)s)),
  'memberships', (
    SELECT coalesce(json_agg(json_build_object(
        'role', g.rolname,
        'member', e.rolname,
        'grantor', pg_get_userbyid(m.grantor),
        'admin', m.admin_option,
        'inherit', coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, e.rolinherit),
        'set', coalesce((to_jsonb(m) ->> 'set_option')::boolean, true),
        'trusted', e.rolsuper OR (e.rolname <> current_user AND pg_has_role(e.oid, 'MEMBER')
                                  AND NOT e.rolname = ANY(%(roles)s)))), '[]')
    FROM pg_auth_members AS m
    JOIN pg_roles AS g ON g.oid = m.roleid
    JOIN pg_roles AS e ON e.oid = m.member
    WHERE g.rolname = ANY(%(roles)s) OR e.rolname = ANY(%(roles)s)),
  'database', (
    SELECT json_build_object(
        'name', d.datname,
        'owner', pg_get_userbyid(d.datdba),
        'owned', pg_has_role(d.datdba, 'USAGE'),
        'admits_admin', d.datallowconn AND has_database_privilege(d.oid, 'CONNECT'),
        'open', d.datallowconn,
        'invalid', d.datconnlimit = {INVALID_DATABASE},
        'comment', shobj_description(d.oid, 'pg_database'),
        'grants', ({_GRANTS_OF_DATABASE}))
    FROM pg_database AS d WHERE d.datname = %(database)s),
  'settings', (
    SELECT coalesce(json_agg(json_build_object('role', r.rolname, 'settings', s.setconfig)), '[]')
    FROM pg_db_role_setting AS s
    JOIN pg_roles AS r ON r.oid = s.setrole
    JOIN pg_database AS d ON d.oid = s.setdatabase
    WHERE r.rolname = ANY(%(roles)s) AND d.datname = %(database)s))
""")  # noqa: S608 — only our own constants are put in

_SCHEMA: Final = SQL("""
SELECT coalesce(array_agg(acl.privilege_type), '{}')
FROM pg_namespace AS n
CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS acl
WHERE n.nspname = 'public' AND pg_get_userbyid(acl.grantee) = %(role)s
""")
