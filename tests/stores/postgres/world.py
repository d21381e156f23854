"""A real PostgreSQL server as a test sees it: an admin with just two privileges, and a superuser who checks."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier

from dev.postgres import PostgresServer as RunningServer
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.connection import Watcher
from tracking_operator.stores.postgres.database_server import (
    DEFAULT_TIMEOUTS,
    Login,
    PostgresServer,
    Timeouts,
)
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.tenant import Desired, Tenant

HOST = "127.0.0.1"
SUPERUSER = "postgres"
ADMIN = "admin"
ADMIN_PASSWORD = "admin's password"
TENANT_PASSWORD = "a password"
CLUSTER = "a-cluster"

Row = tuple[Any, ...]


@dataclass
class World:
    """One server and the connections that a test needs."""

    running: RunningServer
    ca: str = field(repr=False)
    super: "psycopg2.extensions.connection"

    @property
    def version(self) -> str:
        return self.running.version

    @property
    def server(self) -> PostgresServer:
        return PostgresServer(HOST, self.running.port, ssl_mode=SslMode.DISABLE)

    @property
    def admin(self) -> Login:
        return Login(ADMIN, ADMIN_PASSWORD)

    def sessions(
        self,
        *,
        server: PostgresServer | None = None,
        login: Login | None = None,
        watch: Watcher | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> Sessions:
        return Sessions(server or self.server, login or self.admin, timeouts, watch)

    def provision(self, desired: Desired) -> None:
        with self.sessions() as sessions:
            provision(sessions, desired)

    def sql(self, statement: str | Composable, *parameters: object) -> list[Row]:
        """Run something as the superuser."""
        with self.super.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def sql_in(self, database: str, statement: Composable) -> list[Row]:
        """Run something in another database as the superuser, looking nothing up in what is the tenant's."""
        password = self.running.superuser_password
        with self.connected(SUPERUSER, password, database) as connection, connection.cursor() as cursor:
            cursor.execute("SET search_path = pg_catalog, pg_temp")
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def connected(
        self, login: str, password: str, database: str
    ) -> Iterator["psycopg2.extensions.connection"]:
        """A plain connection, as MLflow's."""
        connection = psycopg2.connect(
            host=HOST,
            port=self.running.port,
            user=login,
            password=password,
            dbname=database,
            sslmode="disable",
        )
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def assert_lets_in(self, tenant: Tenant) -> None:
        """The first login's password is the one that `desired` asks for; its hash in the catalog is salted."""
        with self.connected(tenant.logins[0], TENANT_PASSWORD, tenant.database):
            pass

    def names(self) -> tuple[set[str], set[str]]:
        """All roles and all databases of the server."""
        roles = self.sql("SELECT rolname FROM pg_roles")
        databases = self.sql("SELECT datname FROM pg_database")
        return {name for (name,) in roles}, {name for (name,) in databases}

    def remove_new(self, before: tuple[set[str], set[str]]) -> None:
        """Drop every role and database that was not there before."""
        roles, databases = (now - then for now, then in zip(self.names(), before, strict=True))
        for name in databases:
            self.sql(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name)))
            self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
            self.sql(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
        for name in roles:
            self.sql(SQL("DROP OWNED BY {} CASCADE").format(Identifier(name)))
            self.sql(SQL("DROP ROLE {}").format(Identifier(name)))

    def state(self, tenant: Tenant) -> dict[str, object]:
        """Everything in the catalog that says who may do what with a tenant's database, to be compared."""
        names = list(tenant.roles)
        return {
            "roles": self.sql(_ROLES, names),
            "members": self.sql(_MEMBERS, names, names),
            "database": self.sql(_DATABASE, tenant.database),
            "settings": self.sql(_SETTINGS, names),
            "schema": self._schema(tenant),
        }

    def _schema(self, tenant: Tenant) -> list[Row]:
        if self.sql("SELECT 1 FROM pg_database WHERE datname = %s AND datallowconn", tenant.database) == []:
            return []
        connection = psycopg2.connect(
            host=HOST,
            port=self.running.port,
            user=SUPERUSER,
            password=self.running.superuser_password,
            dbname=tenant.database,
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname = 'public'")
                return cursor.fetchall()
        finally:
            connection.close()


def tenant(name: str = "mlflow_team_a", *, namespace: str = "team-a", uid: str = "uid-1") -> Tenant:
    return Tenant.named(name, Mark(CLUSTER, namespace, "mlflow", uid))


def desired(
    of: Tenant,
    secret: str = TENANT_PASSWORD,
    *,
    login: str | None = None,
    connection_limit: int = 20,
    set_password: bool = False,
) -> Desired:
    return Desired(of, login or of.logins[0], secret, connection_limit, set_password)


class Crashed(Exception):
    """The operator is gone."""


def crash_before(number: int) -> Watcher:
    """Ends everything before the statement of this number, counted from 0, is sent."""
    sent = 0

    def watch(statement: Composable) -> None:
        nonlocal sent
        if sent == number:
            raise Crashed
        sent += 1

    return watch


def random_password() -> str:
    return secrets.token_urlsafe(16)


_ROLES = """
SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolinherit, r.rolreplication,
       r.rolbypassrls, r.rolconnlimit, left(r.rolpassword, 14), r.rolvaliduntil, shobj_description(r.oid, 'pg_authid')
FROM pg_authid AS r WHERE r.rolname = ANY(%s) ORDER BY 1
"""
_MEMBERS = """
SELECT g.rolname, e.rolname, pg_get_userbyid(m.grantor), to_jsonb(m) - 'oid' - 'roleid' - 'member' - 'grantor'
FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS e ON e.oid = m.member
WHERE g.rolname = ANY(%s) OR e.rolname = ANY(%s) ORDER BY 1, 2, 3
"""
_DATABASE = """
SELECT d.datname, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datistemplate, d.datallowconn,
       d.datconnlimit, d.datacl::text, shobj_description(d.oid, 'pg_database')
FROM pg_database AS d WHERE d.datname = %s
"""
_SETTINGS = """
SELECT r.rolname, d.datname, (SELECT array_agg(one ORDER BY one) FROM unnest(s.setconfig) AS one)
FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole
LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
WHERE r.rolname = ANY(%s) ORDER BY 1, 2
"""
