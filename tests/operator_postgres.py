"""What tests of the operator with a PostgreSQL share: a real server, classes that use it, and a kubelet for migrations.

Pods of these tests are made and never run, so a test says itself how the pod of a migration ended, and does in
the database what the script in it would have done.
"""

import base64
import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg2
import pytest
from psycopg2.sql import SQL, Composable, Identifier, Literal

from dev.loopback import free_port
from dev.postgres import PostgresServer, postgres_server
from tests.certificates import make_certificates
from tests.kube_api import KubeApi
from tests.mlflow_versions import HEADS, NEWEST_VERSION
from tests.operator_fixtures import (
    OPERATOR_NAMESPACE,
    OperatorHost,
    a_class,
    a_team,
)
from tests.operator_stores import HOST, StoreClass, StoreTeam, admin_and_authorities
from tests.stores.postgres.world import random_password
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    JOB,
    SECRET,
    KubeObject,
)
from tracking_operator.stores.postgres.connection import READ_BACK

SUPERUSER: Final = "postgres"
NEWEST, OLDEST = "18", "15"
REVISION: Final = HEADS[NEWEST_VERSION]
"""The schema revision of the newest MLflow; nothing in these tests depends on which it is."""

LOG: Final = "statements.log"
LOG_EVERY_STATEMENT: Final = {
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": LOG,
    "log_file_mode": "0644",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_statement": "all",
    "log_connections": "on",
    "log_line_prefix": "%u@%d|",
}
MARK_OF_A_PROBE: Final = "'public_databases'"
"""What only the statement has by which the operator asks whether a class's server is well."""
MARK_OF_A_LOOK_FOR_WHAT_IS_LEFT: Final = "'login'::pg_catalog.text"
"""What only the statement has by which the operator looks a class's server through for logins and databases of dead servers."""

Row = tuple[Any, ...]


@dataclass
class RealPostgres:
    """A PostgreSQL server, seen by its superuser."""

    running: PostgresServer
    ca: str = field(repr=False)

    @property
    def port(self) -> int:
        return self.running.port

    def sql(self, statement: str | Composable, *parameters: object, database: str = "postgres") -> list[Row]:
        """Run something as the superuser."""
        connection = psycopg2.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self.running.superuser_password,
            dbname=database,
        )
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def has_database(self, name: str) -> bool:
        return self.sql("SELECT 1 FROM pg_database WHERE datname = %s", name) != []

    def logins(self, database: str) -> list[str]:
        """Which of a server's roles can log in, by the last letter of their names."""
        rows = self.sql(
            "SELECT right(rolname, 1) FROM pg_roles WHERE rolcanlogin AND rolname = ANY(%s) ORDER BY rolname",
            [f"{database}_a", f"{database}_b"],
        )
        return [letter for (letter,) in rows]

    def lets_in(self, database: str) -> bool:
        """Whether anybody but superusers gets into a server's database, or is in it."""
        is_open = self.sql("SELECT 1 FROM pg_database WHERE datname = %s AND datallowconn", database)
        inside = self.sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename <> current_user", database
        )
        return bool(is_open or inside or self.logins(database))

    def make_admin(self, *powers: str) -> tuple[str, str]:
        """Make a login with some attributes; return its name and its password."""
        name, password = f"admin_{secrets.token_hex(4)}", random_password()
        self.sql(
            SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                Identifier(name), SQL(" ".join(powers)), Literal(password)
            )
        )
        return name, password

    def log_size(self) -> int:
        """How long the log is by now."""
        return self._log.stat().st_size

    def log_since(self, size: int) -> str:
        """What has been logged since the log was so long."""
        with self._log.open("rb") as log:
            log.seek(size)
            return log.read().decode(errors="replace")

    def statements(self, *users: str, since: int) -> list[str]:
        """What these users have sent since the log was so long, but for probes of a class, and as sessions begin."""
        entries = self.log_since(since).split("\n")
        joined: list[str] = []
        for line in entries:
            if line.startswith("\t") and joined:
                joined[-1] += " " + line.strip()
            else:
                joined.append(line)
        return [
            entry
            for entry in joined
            if "LOG:  statement:" in entry
            and entry.partition("@")[0] in users
            and MARK_OF_A_PROBE not in entry
            and READ_BACK.string not in entry
        ]

    @property
    def _log(self) -> Path:
        return self.running.data / "log" / LOG


@dataclass(frozen=True)
class PostgresClass(StoreClass):
    """A class with a PostgreSQL, and what the platform team knows about it."""

    OFFER = "postgres"
    CONDITION = "BackendStoreReady"

    postgres: RealPostgres
    admin: str
    password: str = field(repr=False)

    def give_admin(self, username: str, password: str) -> None:
        """Write other credentials into the admin Secret."""
        change = {"stringData": {"username": username, "password": password}}
        self.api.patch(SECRET, OPERATOR_NAMESPACE, self.secret, change)


@dataclass(frozen=True)
class PostgresTeam(StoreTeam):
    """A team whose servers have databases of their own."""

    SECRET_SUFFIX = "database"

    postgres: RealPostgres

    def served(self, name: str = "mlflow", revision: str = REVISION, **spec: object) -> KubeObject:
        """Apply a server, migrate its schema, and return its Deployment."""
        self.serve(name, metadata=None, **spec)
        self.migrate(name, revision)
        deployment = self.wait_for(DEPLOYMENT, name)
        self.wait_for_condition("SchemaReady", status="True", name=name)
        return deployment

    def database(self, name: str = "mlflow") -> str:
        """What a server's database is called."""
        return str(self.placement(name)["database"]["name"])

    def job(self, name: str = "mlflow", version: str = NEWEST_VERSION) -> KubeObject | None:
        """The Job that migrates a server's schema to a version."""
        return self.find(JOB, f"{name}-migrate-{version.replace('.', '-')}")

    def migrate(self, name: str = "mlflow", revision: str = REVISION, version: str = NEWEST_VERSION) -> None:
        """Do what the Job of a version does: bring the schema up, and say so."""
        pod = self.migration_pod(name, version)
        self.set_revision(revision, name)
        self.end_migration(pod, revision=revision)

    def set_revision(self, revision: str, name: str = "mlflow") -> None:
        """Write a schema revision into a server's database, with its own credentials."""
        with self.connected(name) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
            cursor.execute("DELETE FROM alembic_version")
            cursor.execute("INSERT INTO alembic_version VALUES (%s)", (revision,))

    def service_file(self, name: str = "mlflow") -> dict[str, str]:
        """What the service file of a server says."""
        return settings_in(self.secret(name))

    @contextmanager
    def connected(
        self, name: str = "mlflow", database: str | None = None
    ) -> Iterator["psycopg2.extensions.connection"]:
        """A connection such as a server's pods make: all that is known is what is in the Secret."""
        with connected_by(self.secret(name), database) as connection:
            yield connection

    def logs_in(self, name: str = "mlflow") -> bool:
        """Whether what the Secret holds opens the server's database."""
        try:
            with self.connected(name):
                return True
        except psycopg2.OperationalError:
            return False


@contextmanager
def connected_by(
    secret: KubeObject, database: str | None = None
) -> Iterator["psycopg2.extensions.connection"]:
    """A connection by a Secret that is mounted in a folder, through libpq's service file."""
    with TemporaryDirectory() as folder:
        for key, content in secret["data"].items():
            (Path(folder) / key).write_bytes(base64.b64decode(content))
        os.environ["PGSERVICEFILE"] = f"{folder}/pg_service.conf"
        try:
            more: dict[str, Any] = {"dbname": database} if database else {}
            connection = psycopg2.connect("service=mlflow", sslrootcert=f"{folder}/ca.crt", **more)
        finally:
            del os.environ["PGSERVICEFILE"]
        connection.autocommit = True
        with closing(connection):
            yield connection


def settings_in(secret: KubeObject) -> dict[str, str]:
    """The settings in a service file."""
    lines = base64.b64decode(secret["data"]["pg_service.conf"]).decode().splitlines()
    return dict(line.split("=", 1) for line in lines[1:])


@contextmanager
def a_postgres(
    version: str, *, tls: bool = True, settings: dict[str, str] | None = None
) -> Iterator[RealPostgres]:
    """A server of a major version for the time of the block, which logs every statement."""
    ca, certificate, key = make_certificates("localhost", HOST)
    encrypted = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"} if tls else {}
    with postgres_server(
        version,
        free_port(),
        random_password(),
        settings=LOG_EVERY_STATEMENT | encrypted | (settings or {}),
        files={"server.crt": certificate, "server.key": key} if tls else {},
    ) as running:
        yield RealPostgres(running, ca)


@contextmanager
def a_postgres_class(
    api: KubeApi,
    postgres: RealPostgres,
    *,
    admin: tuple[str, str] | None = None,
    is_labelled: bool = True,
    spec: KubeObject | None = None,
    **offer: object,
) -> Iterator[PostgresClass]:
    """A class with an admin of its own, for the time of the block; ``offer`` are fields of `spec.postgres`."""
    username, password = admin or postgres.make_admin("CREATEROLE", "CREATEDB")
    credentials = {"username": username, "password": password}
    with admin_and_authorities(
        api, "postgres", credentials, {"ca.crt": postgres.ca}, is_labelled=is_labelled
    ) as name:
        wanted = {
            "host": HOST,
            "port": postgres.port,
            "adminSecretRef": {"name": name},
            "caConfigMapRef": {"name": name},
        }
        with a_class(api, (spec or {}) | {"postgres": wanted | offer}) as class_name:
            yield PostgresClass(
                api, class_name, name, name, postgres=postgres, admin=username, password=password
            )


@contextmanager
def a_postgres_team(api: KubeApi, class_: PostgresClass) -> Iterator[PostgresTeam]:
    """A team with a namespace, for the time of the block."""
    with a_team(api) as team:
        yield PostgresTeam(api, team.namespace, class_.name, class_.postgres)


@pytest.fixture(scope="session")
def postgres() -> Iterator[RealPostgres]:
    """The newest PostgreSQL, with TLS; tests that stop it start it again."""
    with a_postgres(NEWEST) as running:
        yield running


@pytest.fixture(scope="session")
def old_postgres() -> Iterator[RealPostgres]:
    """The oldest PostgreSQL that can be used, without TLS."""
    with a_postgres(OLDEST, tls=False) as running:
        yield running


@pytest.fixture
def postgres_class(api: KubeApi, operators: OperatorHost, postgres: RealPostgres) -> Iterator[PostgresClass]:
    """A class whose servers get databases on the newest PostgreSQL."""
    with a_postgres_class(api, postgres) as class_:
        yield class_


@pytest.fixture
def postgres_team(api: KubeApi, postgres_class: PostgresClass) -> Iterator[PostgresTeam]:
    """A team whose servers get databases of their own."""
    with a_postgres_team(api, postgres_class) as team:
        yield team
