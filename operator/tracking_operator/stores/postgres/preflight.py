"""Can this server and this admin login be used at all? Asked once per class, before any tenant."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Identifier

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, failure_for
from tracking_operator.stores.ownership_mark import MANAGED_BY
from tracking_operator.stores.postgres.database_server import PostgresServer
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.statements import text_of

OLDEST_VERSION: Final = 150000
LESS_POWERFUL_CREATEROLE_SINCE: Final = 160000
MOST_DATABASES_NAMED: Final = 20


@dataclass(frozen=True)
class ObservedServer:
    """What a server says about itself and the admin login."""

    server_version: int
    admin: str
    superuser: bool
    createrole: bool
    createdb: bool
    tls: bool
    standby: bool
    public_databases: tuple[str, ...]
    """Databases that PUBLIC may connect to, at most ``MOST_DATABASES_NAMED``, the maintenance database first."""
    max_connections: int
    reserved_connections: int
    """Those that the server keeps back for superusers and others."""
    promised_connections: int
    """The sum of the limits of all tracking servers' databases on the server, whichever cluster they belong to."""
    unlimited_databases: int
    """How many of these have no limit."""


def preflight(sessions: Sessions, *, allow_superuser: bool = False) -> tuple[str, ...]:
    """Look at the server and the admin login; return sentences on what the platform team may want to change.

    Raises:
        Failure: the server cannot be reached or used as it is; the sentence says what to change.

    """
    observed = look(sessions)
    if failure := objection(observed, sessions.server, allow_superuser=allow_superuser):
        raise failure
    return remarks(observed, sessions.server)


def look(sessions: Sessions) -> ObservedServer:
    """Ask the server, in one query that every version answers."""
    parameters = {"sign": MANAGED_BY, "maintenance": sessions.server.maintenance_database}
    row = sessions.session().rows(_FINDINGS, parameters, doing="tell its version and the admin's privileges")[
        0
    ][0]
    return ObservedServer(**{**row, "public_databases": tuple(row["public_databases"])})


def objection(observed: ObservedServer, server: PostgresServer, *, allow_superuser: bool) -> Failure | None:
    """Say why a server or an admin login cannot be used; None if they can."""
    where = f"PostgreSQL at {server}"
    if observed.server_version < OLDEST_VERSION:
        return Invalid(
            Reason.SERVER_TOO_OLD,
            f"{where} is version {spelled_version(observed.server_version)}, and the oldest that can be used is "
            f"{spelled_version(OLDEST_VERSION)}: upgrade it, or name another server in the class.",
        )
    if observed.superuser and not allow_superuser:
        return Invalid(
            Reason.SUPERUSER_REFUSED,
            f"The admin login {observed.admin} of {where} is a superuser, which is more than is needed: use a role "
            "with CREATEROLE and CREATEDB only, or set postgres.allowSuperuser to true in the class.",
        )
    if missing := missing_privileges(observed):
        grant = SQL("ALTER ROLE {} {}").format(Identifier(observed.admin), SQL(" ".join(missing)))
        return failure_for(
            Reason.INSUFFICIENT_PRIVILEGES,
            f"The admin login {observed.admin} of {where} lacks {' and '.join(missing)}: run {text_of(grant)} as a "
            "superuser; the operator looks again by itself.",
        )
    if observed.standby:
        return Unavailable(
            Reason.STORE_UNREACHABLE,
            f"{where} is a standby and takes no changes: name the primary in postgres.host of the class.",
        )
    return None


def missing_privileges(observed: ObservedServer) -> list[str]:
    """The attributes that the admin login needs and does not have."""
    if observed.superuser:
        return []
    has = {"CREATEROLE": observed.createrole, "CREATEDB": observed.createdb}
    return [attribute for attribute, is_there in has.items() if not is_there]


def remarks(observed: ObservedServer, server: PostgresServer) -> tuple[str, ...]:
    """What works, but could be safer."""
    found = []
    if not observed.tls:
        found.append(
            "The connection is not encrypted: turn on TLS in PostgreSQL and set sslMode to verify-full."
        )
    elif not server.ssl_mode.verifies:
        found.append("The server's certificate is not verified: set sslMode to verify-full.")
    if observed.public_databases:
        found.append(_open_to_public(observed, server))
    found.extend(_promised_too_much(observed))
    if observed.superuser:
        found.append("The admin login is a superuser: whoever has its Secret may read every tenant's tables.")
    elif observed.server_version < LESS_POWERFUL_CREATEROLE_SINCE:
        found.append(
            f"Before PostgreSQL 16, CREATEROLE lets {observed.admin} grant itself pg_execute_server_program, which is a "
            "shell on the database server: guard its Secret, or upgrade."
        )
    return tuple(found)


def _open_to_public(observed: ObservedServer, server: PostgresServer) -> str:
    databases = SQL(", ").join(Identifier(name) for name in observed.public_databases)
    revoke = SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(databases)
    grant = SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
        Identifier(server.maintenance_database), Identifier(observed.admin)
    )
    write = f"{text_of(grant)}; {text_of(revoke)}"
    if server.maintenance_database not in observed.public_databases:
        write = text_of(revoke)
    return (
        "Every tenant may connect to databases that are not its own, as PUBLIC may, and see there what others are called: run "
        f"{write}."
    )


def _promised_too_much(observed: ObservedServer) -> Iterator[str]:
    offered = observed.max_connections - observed.reserved_connections
    if observed.unlimited_databases:
        yield (
            f"Databases of tracking servers without a connection limit: {observed.unlimited_databases}. Look at the servers' own "
            "conditions."
        )
    if observed.promised_connections > offered:
        yield (
            f"The connection limits of all tracking servers here add up to {observed.promised_connections}, and the server takes "
            f"{offered} connections (max_connections {observed.max_connections} without {observed.reserved_connections} reserved "
            "ones), so a server may find none left: raise max_connections, or lower connectionLimit."
        )


def spelled_version(number: int) -> str:
    """The version as people write it: 150018 is 15.18."""
    return f"{number // 10000}.{number % 10000}"


# A database that nobody may connect to takes no connections. Where the database has no limit, its logins' limits count.
_LIMITS: Final = """
    SELECT CASE WHEN d.datconnlimit OPERATOR(pg_catalog.>=) 0 THEN d.datconnlimit::pg_catalog.int8
           ELSE coalesce((
               SELECT CASE WHEN pg_catalog.bool_or(u.rolconnlimit OPERATOR(pg_catalog.<) 0) THEN -1::pg_catalog.int8
                      ELSE pg_catalog.sum(u.rolconnlimit) END
               FROM pg_catalog.pg_roles AS u
               WHERE u.rolcanlogin AND u.rolname OPERATOR(pg_catalog.=) ANY (ARRAY[
                   d.datname OPERATOR(pg_catalog.||) '_a'::pg_catalog.text,
                   d.datname OPERATOR(pg_catalog.||) '_b'::pg_catalog.text])), 0::pg_catalog.int8) END AS connections
    FROM pg_catalog.pg_database AS d
    JOIN pg_catalog.pg_shdescription AS c
      ON c.objoid OPERATOR(pg_catalog.=) d.oid
     AND c.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass::pg_catalog.oid
    WHERE d.datallowconn
      AND pg_catalog.strpos(c.description, %(sign)s::pg_catalog.text) OPERATOR(pg_catalog.>) 0
"""

_FINDINGS: Final = SQL(f"""
SELECT pg_catalog.json_build_object(
  'server_version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
  'admin', r.rolname,
  'superuser', r.rolsuper,
  'createrole', r.rolcreaterole,
  'createdb', r.rolcreatedb,
  'tls', coalesce((
    SELECT s.ssl FROM pg_catalog.pg_stat_ssl AS s
    WHERE s.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), false),
  'standby', pg_catalog.pg_is_in_recovery(),
  'public_databases', coalesce((
    SELECT pg_catalog.json_agg(p.datname) FROM (
        SELECT d.datname FROM pg_catalog.pg_database AS d
        WHERE d.datallowconn AND EXISTS (
            SELECT FROM pg_catalog.aclexplode(
                coalesce(d.datacl, pg_catalog.acldefault('d'::pg_catalog."char", d.datdba))) AS acl
            WHERE acl.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
              AND acl.privilege_type OPERATOR(pg_catalog.=) 'CONNECT'::pg_catalog.text)
        ORDER BY d.datname OPERATOR(pg_catalog.<>) %(maintenance)s::pg_catalog.name, d.datname
        LIMIT {MOST_DATABASES_NAMED}) AS p), '[]'::pg_catalog.json),
  'max_connections', pg_catalog.current_setting('max_connections')::pg_catalog.int4,
  'reserved_connections',
    pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4
    OPERATOR(pg_catalog.+) coalesce(pg_catalog.current_setting('reserved_connections', true)::pg_catalog.int4, 0),
  'promised_connections', coalesce((
    SELECT pg_catalog.sum(l.connections) FROM ({_LIMITS}) AS l
    WHERE l.connections OPERATOR(pg_catalog.>=) 0), 0::pg_catalog.int8),
  'unlimited_databases', (
    SELECT pg_catalog.count(*) FROM ({_LIMITS}) AS l WHERE l.connections OPERATOR(pg_catalog.<) 0))
FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user
""")  # noqa: S608 — only our own constants are put in
