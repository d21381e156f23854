"""A PostgreSQL that runs in the cluster, as whoever develops meets it: stop it, start it, ask it something."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg2

from dev.database.manifests import CA_KEY, NAME, PORT, build_class_spec, host_of
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.waiting import wait_until

SUPERUSER = "postgres"
LOOPBACK = "127.0.0.1"
SECONDS_TO_START = 180
SECONDS_TO_STOP = 90
CONNECT_TIMEOUT = 5
LAST_LINES = 20


@dataclass(frozen=True)
class ClusterPostgres:
    """A running PostgreSQL server.

    Attributes:
        namespace: its own; it is called `postgres` there.
        admin_username: a role that is no superuser and may create roles and databases.
        ca_certificate: of the authority that signed its certificate, PEM text.
    """

    cluster: DevelopmentCluster = field(repr=False)
    namespace: str
    admin_username: str
    admin_password: str = field(repr=False)
    superuser_password: str = field(repr=False)
    ca_certificate: str = field(repr=False)
    port: int = PORT

    @property
    def host(self) -> str:
        """The name under which pods reach it."""
        return host_of(self.namespace)

    def class_spec(self) -> dict[str, object]:
        """What a TrackingServerClass says in `spec.postgres` to use it."""
        return build_class_spec(self.namespace)

    def stop(self) -> None:
        """Shut it down, ending every session, and wait until its pod is gone; its volume stays."""
        self._scale(0)
        wait_until(
            lambda: not self._pods(),
            seconds=SECONDS_TO_STOP,
            otherwise=lambda: f"PostgreSQL in namespace {self.namespace} did not end: {self._pods()}",
            interval=0.2,
        )

    def start(self) -> None:
        """Start it after `stop`, and wait until it answers."""
        self._scale(1)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Wait until the superuser can log in, and until pods reach it by its name.

        Raises:
            ClusterError: not within three minutes; the message has the last lines of its log.
        """
        try:
            self._kubectl("rollout", "status", f"deployment/{NAME}", f"--timeout={SECONDS_TO_START}s")
        except subprocess.CalledProcessError as error:
            raise ClusterError(self._why_not(error.stderr)) from error
        self._wait_until_it_works(lambda: self.query("SELECT 1"))
        # The node learns of a Service's new address a moment after the pod is ready.
        self._wait_until_it_works(self._connect_by_name)

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
        with (
            self.cluster.port_forward(f"service/{NAME}", PORT, *where) as port,
            tempfile.NamedTemporaryFile("w", suffix=f"-{CA_KEY}") as ca,
        ):
            ca.write(self.ca_certificate)
            ca.flush()
            connection = psycopg2.connect(
                host=self.host,  # what the certificate has to say
                hostaddr=LOOPBACK,
                port=port,
                dbname=database,
                user=user,
                password=known.get(user) if password is None else password,
                sslmode=ssl_mode,
                sslrootcert=ca.name,
                connect_timeout=CONNECT_TIMEOUT,
            )
            connection.autocommit = True
            with closing(connection):
                yield connection

    def _wait_until_it_works(self, use: Callable[[], object]) -> None:
        problem = ""

        def works() -> bool:
            nonlocal problem
            try:
                use()
            except subprocess.CalledProcessError as error:
                problem = error.stderr
            except (psycopg2.OperationalError, ClusterError) as error:
                problem = str(error)
            else:
                return True
            return False

        wait_until(works, seconds=SECONDS_TO_START, otherwise=lambda: self._why_not(problem), interval=0.2)

    def _connect_by_name(self) -> None:
        """Open a connection to the Service from the server's own pod."""
        connect = f"exec 3<>/dev/tcp/{self.host}/{self.port}"
        self._kubectl("exec", f"deployment/{NAME}", "--", "timeout", "5", "bash", "-c", connect)

    def _scale(self, replicas: int) -> None:
        self._kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")

    def _pods(self) -> str:
        return self._kubectl("get", "pods", f"--selector=app.kubernetes.io/name={NAME}", "--output=name")

    def _why_not(self, problem: str) -> str:
        events = self._kubectl("events").splitlines()[-LAST_LINES:]
        try:
            log = self._kubectl("logs", f"deployment/{NAME}", f"--tail={LAST_LINES}")
        except subprocess.CalledProcessError as error:
            log = error.stderr
        return "\n".join(
            [
                f"PostgreSQL in namespace {self.namespace} does not answer: {problem.strip()}",
                "If its password is refused, its volume is older than its Secrets: delete the namespace.",
                *events,
                log.strip(),
            ]
        )

    def _kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)
