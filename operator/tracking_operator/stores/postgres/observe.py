"""One snapshot of everything on a PostgreSQL server that concerns one tenant: a query in the maintenance database.

The admin never looks into a tenant's database: what is in there is looked at with the tenant's own login (``schema``).
"""

from dataclasses import dataclass
from typing import Any, Final

from psycopg2.sql import SQL

from tracking_operator.stores.postgres.connection import Session
from tracking_operator.stores.postgres.tenant import NAMES_OF_SETTINGS, Tenant

PUBLIC: Final = ""
"""The grantee that stands for everybody; no role can be called so."""

ROLE_ATTRIBUTES_SINCE: Final = 160000
"""Since PostgreSQL 16 a membership has INHERIT and SET options, and CREATEROLE needs ADMIN on a role."""

INVALID_DATABASE: Final = -2
"""``datconnlimit`` of a database whose DROP DATABASE did not finish: nothing can be done but drop it again."""

MOST_SETTINGS_BYTES: Final = 8192
LONGEST_SETTING: Final = 200

IS_ADMINISTERED: Final = (
    "(pg_catalog.current_setting('server_version_num')::pg_catalog.int4 "
    f"OPERATOR(pg_catalog.<) {ROLE_ATTRIBUTES_SINCE} "
    "OR pg_catalog.pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION'))"
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
    """A role as it is. ``powers`` are the attributes beyond LOGIN; ``administered``: the admin may alter it.

    ``sessions`` is how many it has on the server; its password works until ``valid_until``, in seconds since
    1970 (None: for ever).
    """

    name: str
    can_login: bool
    powers: frozenset[str]
    connection_limit: int
    comment: str | None
    administered: bool
    sessions: int = 0
    valid_until: float | None = None


@dataclass(frozen=True)
class ObservedDatabase:
    """A database as it is. ``owned``: the admin has the privileges of its owner.

    ``in_use``: somebody is in it who is neither the admin nor a superuser.
    """

    name: str
    owner: str
    owned: bool
    open: bool
    invalid: bool
    connection_limit: int
    comment: str | None
    grants: frozenset[Grant]
    in_use: bool


@dataclass(frozen=True)
class Observed:
    """A tenant's part of a server.

    ``settings`` are those of the logins in the tenant's database, as far as they concern us; None instead of
    them if a login has so many that they were not looked at.
    """

    server_version: int
    admin: str
    roles: dict[str, ObservedRole]
    memberships: frozenset[Membership]
    database: ObservedDatabase | None
    settings: dict[str, dict[str, str] | None]

    @property
    def has_membership_options(self) -> bool:
        """Whether memberships have INHERIT and SET options of their own."""
        return self.server_version >= ROLE_ATTRIBUTES_SINCE


def observe(session: Session, tenant: Tenant) -> Observed:
    """Look at a tenant's roles, memberships, database, privileges and settings: at what all databases share.

    Raises:
        Failure: the server does not answer, or not to this login.

    """
    parameters = {
        "roles": list(tenant.roles),
        "database": tenant.database,
        "settings": list(NAMES_OF_SETTINGS),
    }
    found = session.rows(_CATALOG, parameters, doing=f"describe database {tenant.database}")[0][0]
    return Observed(
        server_version=found["server_version"],
        admin=found["admin"],
        roles={role["name"]: _role(role) for role in found["roles"]},
        memberships=frozenset(Membership(**membership) for membership in found["memberships"]),
        database=_database(found["database"]),
        settings={one["role"]: _settings(one["settings"]) for one in found["settings"]},
    )


def observe_grants(session: Session, database: str) -> tuple[str, frozenset[Grant]]:
    """Read back a database's owner, and who has which privilege on it."""
    rows = session.rows(_GRANTS, {"database": database}, doing=f"say who may use database {database}")
    owner, grants = rows[0] if rows else ("", [])
    return owner, frozenset(Grant(**grant) for grant in grants)


def _role(found: dict[str, Any]) -> ObservedRole:
    return ObservedRole(**{**found, "powers": frozenset(found["powers"])})


def _settings(found: list[str] | None) -> dict[str, str] | None:
    return None if found is None else dict(entry.split("=", 1) for entry in found)


def _database(found: dict[str, Any] | None) -> ObservedDatabase | None:
    if found is None:
        return None
    return ObservedDatabase(**{**found, "grants": frozenset(Grant(**grant) for grant in found["grants"])})


# Every name has its schema, and nothing looks an operator up by itself: no IN, BETWEEN, LIKE, NULLIF, USING, IS DISTINCT FROM
# or CASE with an operand.

_GRANTS_OF_DATABASE: Final = """
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'grantee', CASE WHEN acl.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN ''::pg_catalog.name
                   ELSE pg_catalog.pg_get_userbyid(acl.grantee) END,
        'privilege', acl.privilege_type,
        'grantable', acl.is_grantable)), '[]'::pg_catalog.json)
    FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d'::pg_catalog."char", d.datdba))) AS acl
"""


def _comment_on(oid: str, catalog: str) -> str:
    # Not shobj_description(): what a function in SQL uses, it may look up when it is called.
    return f"""(
        SELECT c.description FROM pg_catalog.pg_shdescription AS c
        WHERE c.objoid OPERATOR(pg_catalog.=) {oid}
          AND c.classoid OPERATOR(pg_catalog.=) '{catalog}'::pg_catalog.regclass::pg_catalog.oid)"""  # noqa: S608 — only our own constants are put in


_GRANTS: Final = SQL(
    f"SELECT pg_catalog.pg_get_userbyid(d.datdba), ({_GRANTS_OF_DATABASE}) "  # noqa: S608
    "FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) %(database)s::pg_catalog.name"
)

# to_jsonb(m) gives NULL for the columns that PostgreSQL 15 does not have; there, members inherit and may SET ROLE.
# Settings are those of the tenant's own roles, which it may fill with a gigabyte: only ours are looked at, unless there is too much.
_CATALOG: Final = SQL(f"""
SELECT pg_catalog.json_build_object(
  'server_version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
  'admin', current_user,
  'roles', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', r.rolname,
        'can_login', r.rolcanlogin,
        'powers', pg_catalog.array_remove(ARRAY[
            CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
            CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
            CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN r.rolreplication THEN 'REPLICATION' END,
            CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END]::pg_catalog.text[], NULL::pg_catalog.text),
        'connection_limit', r.rolconnlimit,
        'comment', {_comment_on("r.oid", "pg_catalog.pg_authid")},
        'administered', {IS_ADMINISTERED},
        'sessions', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS s
                     WHERE s.usesysid OPERATOR(pg_catalog.=) r.oid),
        'valid_until', CASE WHEN pg_catalog.isfinite(r.rolvaliduntil)
                       THEN pg_catalog.date_part('epoch'::pg_catalog.text, r.rolvaliduntil) END)),
        '[]'::pg_catalog.json)
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s::pg_catalog.name[])),
  'memberships', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'role', g.rolname,
        'member', e.rolname,
        'grantor', pg_catalog.pg_get_userbyid(m.grantor),
        'admin', m.admin_option,
        'inherit', coalesce(
            (pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'inherit_option'::pg_catalog.text)::pg_catalog.bool,
            e.rolinherit),
        'set', coalesce(
            (pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'set_option'::pg_catalog.text)::pg_catalog.bool, true),
        'trusted', e.rolsuper
            OR (e.rolname OPERATOR(pg_catalog.<>) current_user AND pg_catalog.pg_has_role(e.oid, 'MEMBER')
                AND NOT (e.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s::pg_catalog.name[]))))),
        '[]'::pg_catalog.json)
    FROM pg_catalog.pg_auth_members AS m
    JOIN pg_catalog.pg_roles AS g ON g.oid OPERATOR(pg_catalog.=) m.roleid
    JOIN pg_catalog.pg_roles AS e ON e.oid OPERATOR(pg_catalog.=) m.member
    WHERE g.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s::pg_catalog.name[])
       OR e.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s::pg_catalog.name[])),
  'database', (
    SELECT pg_catalog.json_build_object(
        'name', d.datname,
        'owner', pg_catalog.pg_get_userbyid(d.datdba),
        'owned', pg_catalog.pg_has_role(d.datdba, 'USAGE'),
        'open', d.datallowconn,
        'invalid', d.datconnlimit OPERATOR(pg_catalog.=) ({INVALID_DATABASE}),
        'connection_limit', d.datconnlimit,
        'comment', {_comment_on("d.oid", "pg_catalog.pg_database")},
        'grants', ({_GRANTS_OF_DATABASE}),
        'in_use', EXISTS (
            SELECT FROM pg_catalog.pg_stat_activity AS s
            JOIN pg_catalog.pg_roles AS u ON u.oid OPERATOR(pg_catalog.=) s.usesysid
            WHERE s.datid OPERATOR(pg_catalog.=) d.oid
              AND u.rolname OPERATOR(pg_catalog.<>) current_user AND NOT u.rolsuper))
    FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) %(database)s::pg_catalog.name),
  'settings', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'role', r.rolname,
        'settings', CASE WHEN pg_catalog.pg_column_size(s.setconfig) OPERATOR(pg_catalog.<=) {MOST_SETTINGS_BYTES} THEN (
            SELECT coalesce(pg_catalog.json_agg(pg_catalog.left(one, {LONGEST_SETTING})), '[]'::pg_catalog.json)
            FROM pg_catalog.unnest(s.setconfig) AS one
            WHERE pg_catalog.split_part(one, '='::pg_catalog.text, 1)
                  OPERATOR(pg_catalog.=) ANY (%(settings)s::pg_catalog.text[])) END)), '[]'::pg_catalog.json)
    FROM pg_catalog.pg_db_role_setting AS s
    JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) s.setrole
    JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
    WHERE r.rolname OPERATOR(pg_catalog.=) ANY (%(roles)s::pg_catalog.name[])
      AND d.datname OPERATOR(pg_catalog.=) %(database)s::pg_catalog.name))
""")  # noqa: S608 — only our own constants are put in
