"""Can this server and this admin login be used at all? Asked once per class, before any tenant."""

from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Identifier

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.server import PostgresServer
from tracking_operator.backend_store.statements import text_of
from tracking_operator.failures import Failure, Invalid, Unavailable

OLDEST_VERSION: Final = 150000
LESS_POWERFUL_CREATEROLE_SINCE: Final = 160000


@dataclass(frozen=True)
class Findings:
    """What a server says about itself and the admin login."""

    server_version: int
    admin: str
    superuser: bool
    createrole: bool
    createdb: bool
    tls: bool
    standby: bool
    public_may_connect: bool
    max_connections: int


@dataclass(frozen=True)
class Preflight:
    """A server that can be used. ``remarks`` are sentences on what the platform team may want to change."""

    version: str
    tls: bool
    max_connections: int
    remarks: tuple[str, ...]


def preflight(sessions: Sessions, *, allow_superuser: bool = False) -> Preflight:
    """Look at the server and the admin login.

    Raises:
        Failure: the server cannot be reached or used as it is; the sentence says what to change.

    """
    findings = look(sessions)
    if failure := objection(findings, sessions.server, allow_superuser=allow_superuser):
        raise failure
    return Preflight(
        version=spelled_version(findings.server_version),
        tls=findings.tls,
        max_connections=findings.max_connections,
        remarks=remarks(findings, sessions.server),
    )


def look(sessions: Sessions) -> Findings:
    """Ask the server, in one query that every version answers."""
    row = sessions.session().rows(_FINDINGS, doing="tell its version and the admin's privileges")[0][0]
    return Findings(**row)


def objection(findings: Findings, server: PostgresServer, *, allow_superuser: bool) -> Failure | None:
    """Say why a server or an admin login cannot be used; None if they can."""
    where = f"PostgreSQL at {server}"
    if findings.server_version < OLDEST_VERSION:
        return Invalid(
            Reason.SERVER_TOO_OLD,
            f"{where} is version {spelled_version(findings.server_version)}, and the oldest that can be used is "
            f"{spelled_version(OLDEST_VERSION)}: upgrade it, or name another server in the class.",
        )
    if findings.superuser and not allow_superuser:
        return Invalid(
            Reason.SUPERUSER_REFUSED,
            f"The admin login {findings.admin} of {where} is a superuser, which is more than is needed: use a role "
            "with CREATEROLE and CREATEDB only, or set postgres.allowSuperuser to true in the class.",
        )
    if missing := missing_privileges(findings):
        grant = SQL("ALTER ROLE {} {}").format(Identifier(findings.admin), SQL(" ".join(missing)))
        return Unavailable(
            Reason.INSUFFICIENT_PRIVILEGES,
            f"The admin login {findings.admin} of {where} lacks {' and '.join(missing)}: run {text_of(grant)} as a "
            "superuser; the operator looks again by itself.",
        )
    if findings.standby:
        return Unavailable(
            Reason.STORE_UNREACHABLE,
            f"{where} is a standby and takes no changes: name the primary in postgres.host of the class.",
        )
    return None


def missing_privileges(findings: Findings) -> list[str]:
    """The attributes that the admin login needs and does not have."""
    if findings.superuser:
        return []
    has = {"CREATEROLE": findings.createrole, "CREATEDB": findings.createdb}
    return [attribute for attribute, is_there in has.items() if not is_there]


def remarks(findings: Findings, server: PostgresServer) -> tuple[str, ...]:
    """What works, but could be safer."""
    found = []
    if not findings.tls:
        found.append(
            "The connection is not encrypted: turn on TLS in PostgreSQL and set sslMode to verify-full."
        )
    elif not server.ssl_mode.verifies:
        found.append("The server's certificate is not verified: set sslMode to verify-full.")
    if findings.public_may_connect:
        revoke = SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(
            Identifier(server.maintenance_database)
        )
        found.append(
            f"Tenants may connect to the maintenance database and see the names of others: run {text_of(revoke)}."
        )
    if findings.superuser:
        found.append("The admin login is a superuser: whoever has its Secret may read every tenant's tables.")
    elif findings.server_version < LESS_POWERFUL_CREATEROLE_SINCE:
        found.append(
            f"Before PostgreSQL 16, CREATEROLE lets {findings.admin} grant itself pg_execute_server_program, which is a "
            "shell on the database server: guard its Secret, or upgrade."
        )
    return tuple(found)


def spelled_version(number: int) -> str:
    """The version as people write it: 150018 is 15.18."""
    return f"{number // 10000}.{number % 10000}"


_FINDINGS: Final = SQL("""
SELECT json_build_object(
  'server_version', current_setting('server_version_num')::int,
  'admin', r.rolname,
  'superuser', r.rolsuper,
  'createrole', r.rolcreaterole,
  'createdb', r.rolcreatedb,
  'tls', coalesce((SELECT s.ssl FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()), false),
  'standby', pg_is_in_recovery(),
  'public_may_connect', (
    SELECT coalesce(bool_or(acl.grantee = 0 AND acl.privilege_type = 'CONNECT'), false)
    FROM pg_database AS d
    CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
    WHERE d.datname = current_database()),
  'max_connections', current_setting('max_connections')::int)
FROM pg_roles AS r WHERE r.rolname = current_user
""")
