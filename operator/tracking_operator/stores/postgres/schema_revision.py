"""Which MLflow schema a tenant's database has, read with the tenant's own login.

The admin login has no standing privilege to read a tenant's tables, and needs none. Logging in also
proves that the password in the Secret works, that the session acts as the tenant's role, and that the role may make
tables: the admin does not enter the database for that once the tenant may (decision 0019).
"""

from dataclasses import dataclass
from typing import Final

from psycopg2.sql import SQL, Identifier

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Unavailable
from tracking_operator.foreign_text import one_line
from tracking_operator.stores.postgres.connection import Session, Watcher
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.plain_tables import is_plain
from tracking_operator.stores.postgres.statements import text_of
from tracking_operator.stores.postgres.tenant import Tenant


@dataclass(frozen=True)
class SchemaState:
    """``revision`` is Alembic's; None as long as nobody has created MLflow's tables. So for those of MLflow's own login."""

    revision: str | None
    login_revision: str | None = None


def read_schema(
    server: PostgresServer,
    login: Login,
    tenant: Tenant,
    *,
    watch: Watcher | None = None,
) -> SchemaState:
    """Log in as the tenant and read ``alembic_version`` and ``alembic_version_auth``.

    Raises:
        Failure: the server does not answer or refuses the login; the session is not the tenant's role; or the role may
            not make tables.

    """
    with Session(server, login, tenant.database, watch=watch) as session:
        rows = session.rows(_STATE, doing=f"describe database {tenant.database}")
        role, may_make_tables, has_schema, has_login = rows[0]
        if role != tenant.role:
            raise Unavailable(
                Reason.ISOLATION_NOT_PROVED,
                f"Sessions of {login.username} act as {role} instead of {tenant.role}, so what they create would "
                "belong to the wrong role. The operator puts the role's settings right and looks again.",
            )
        if not may_make_tables:
            grant = SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(Identifier(tenant.role))
            raise Unavailable(
                Reason.SCHEMA_PRIVILEGES_LOST,
                f"The role {tenant.role} has lost its privileges on the schema public of database {tenant.database}. Run there, as "
                f"the database's owner or a superuser: {text_of(grant)}; the operator looks again by itself.",
            )
        return SchemaState(
            _revision(session, "alembic_version", tenant) if has_schema else None,
            _revision(session, "alembic_version_auth", tenant) if has_login else None,
        )


def _revision(session: Session, table: str, tenant: Tenant) -> str | None:
    """The revision in one of MLflow's version tables, read only if reading it runs nothing of the tenant's.

    The lock keeps the table as it was looked at, and lets MLflow read and write the rows. Tables that inherit from it are
    not read.
    """
    doing = f"tell the schema revision of database {tenant.database}"
    relation = Identifier("public", table)
    with session.looking(doing=doing):
        session.execute(
            SQL("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE").format(relation), doing=doing
        )
        if not is_plain(session, table, ["version_num"], ["varchar", "text"], doing=doing):
            raise Unavailable(
                Reason.UNEXPECTED_SCHEMA,
                f"In database {tenant.database}, public.{table} is not the table that MLflow makes: it must be a plain one, with "
                "version_num as varchar, and without rules, row security, inheritance, and indexes or statistics of expressions. "
                "Put it right as the server's own login; the operator looks again by itself.",
            )
        rows = session.rows(_REVISION.format(relation), doing=doing)
    return one_line(rows[0][0], LONGEST_REVISION) if rows and rows[0][0] is not None else None


LONGEST_REVISION: Final = 64
"""In characters; Alembic's column has 32."""

_STATE: Final = SQL("""
SELECT current_user::pg_catalog.text,
       coalesce((
           SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')
           FROM pg_catalog.pg_namespace AS n
           WHERE n.nspname OPERATOR(pg_catalog.=) 'public'::pg_catalog.name), false),
       pg_catalog.to_regclass('public.alembic_version') IS NOT NULL,
       pg_catalog.to_regclass('public.alembic_version_auth') IS NOT NULL
""")
_REVISION: Final = SQL(
    f"SELECT pg_catalog.left(v.version_num::pg_catalog.text, {LONGEST_REVISION}) FROM ONLY {{}} AS v LIMIT 1"  # noqa: S608
)
