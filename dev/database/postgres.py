"""A PostgreSQL that runs in the cluster, as whoever develops meets it: stop it, start it, ask it something."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg2

from dev.database.manifests import LABELS, NAME, PORT, build_class_spec
from dev.stores.running import CONNECT_TIMEOUT, RunningStore
from tracking_operator.stores.ca_files import ca_file

SUPERUSER = "postgres"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ClusterPostgres(RunningStore):
    """A running PostgreSQL server.

    Attributes:
        namespace: its own; it is called `postgres` there.
        admin_username: a role that is no superuser and may create roles and databases.
        ca_certificate: of the authority that signed its certificate, PEM text.
    """

    name = NAME
    title = "PostgreSQL"
    service_port = PORT
    labels = LABELS
    errors = (psycopg2.OperationalError,)
    hint = "If its password is refused, its volume is older than its Secrets: delete the namespace."

    admin_username: str
    admin_password: str = field(repr=False)
    superuser_password: str = field(repr=False)
    ca_certificate: str = field(repr=False)
    port: int = PORT

    def class_spec(self) -> dict[str, object]:
        """What a TrackingServerClass says in `spec.postgres` to use it."""
        return build_class_spec(self.namespace)

    def use(self) -> object:
        """Log in as the superuser."""
        return self.query("SELECT 1")

    def query(
        self,
        sql: str,
        *parameters: object,
        database: str = "postgres",
        user: str = SUPERUSER,
        password: str | None = None,
    ) -> list[tuple[object, ...]]:
        """Execute one statement, which commits by itself, and return its rows; the superuser asks if no user is given.

        Raises:
            psycopg2.Error: the server refuses the connection or the statement.
        """
        with (
            self.connect(database=database, user=user, password=password) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def connect(
        self,
        *,
        database: str = "postgres",
        user: str = SUPERUSER,
        password: str | None = None,
        ssl_mode: str = "verify-full",
    ) -> Iterator["psycopg2.extensions.connection"]:
        """A connection in which every statement commits by itself, from the server's pod to the server.

        The passwords of the superuser and of the admin are known here.

        Raises:
            psycopg2.OperationalError: the server refuses the connection.
        """
        where = ("--namespace", self.namespace, f"--pod-running-timeout={CONNECT_TIMEOUT}s")
        known = {SUPERUSER: self.superuser_password, self.admin_username: self.admin_password}
        with self.cluster.port_forward(f"service/{NAME}", PORT, *where) as port:
            connection = psycopg2.connect(
                host=self.host,  # what the certificate has to say
                hostaddr=LOOPBACK,
                port=port,
                dbname=database,
                user=user,
                password=known.get(user) if password is None else password,
                sslmode=ssl_mode,
                sslrootcert=ca_file(self.ca_certificate),
                connect_timeout=CONNECT_TIMEOUT,
            )
            connection.autocommit = True
            with closing(connection):
                yield connection
