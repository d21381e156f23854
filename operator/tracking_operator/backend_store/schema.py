"""Which MLflow schema a tenant's database has, read with the tenant's own login.

The admin login has no standing privilege to read a tenant's tables, and needs none. Logging in also
proves that the password in the Secret works and that the session acts as the tenant's role.
"""

from dataclasses import dataclass

from psycopg2.sql import SQL

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.connection import Session, Watcher
from tracking_operator.backend_store.server import DEFAULT_TIMEOUTS, Login, PostgresServer, Timeouts
from tracking_operator.backend_store.tenant import Tenant
from tracking_operator.failures import Unavailable


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
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    watch: Watcher | None = None,
) -> SchemaState:
    """Log in as the tenant and read ``alembic_version`` and ``alembic_version_auth``.

    Raises:
        Failure: the server does not answer or refuses the login, or the session is not the tenant's role.

    """
    with Session(server, login, tenant.database, timeouts, watch) as session:
        role, has_schema, has_login = session.rows(_STATE, doing=f"describe database {tenant.database}")[0]
        if role != tenant.role:
            raise Unavailable(
                Reason.ISOLATION_NOT_PROVED,
                f"Sessions of {login.username} act as {role} instead of {tenant.role}, so what they create would "
                "belong to the wrong role. The operator puts the role's settings right and looks again.",
            )
        return SchemaState(
            _revision(session, _REVISION, tenant) if has_schema else None,
            _revision(session, _LOGIN_REVISION, tenant) if has_login else None,
        )


def _revision(session: Session, query: SQL, tenant: Tenant) -> str | None:
    rows = session.rows(query, doing=f"tell the schema revision of database {tenant.database}")
    return rows[0][0] if rows else None


_STATE = SQL(
    "SELECT current_user::text, to_regclass('public.alembic_version') IS NOT NULL, "
    "to_regclass('public.alembic_version_auth') IS NOT NULL"
)
_REVISION = SQL("SELECT version_num FROM public.alembic_version")
_LOGIN_REVISION = SQL("SELECT version_num FROM public.alembic_version_auth")
