"""A real PostgreSQL of our own: Debian's binaries, run by an ordinary user, on a free port of the loopback and, for pods, of one more
address of this machine."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql

from dev.loopback import free_port
from tests.waiting import patient, wait_until

LOOPBACK = "127.0.0.1"
SUPERUSER = "postgres"
SUPERUSER_PASSWORD = "superuser-password"
START_SECONDS = 60
STOP_SECONDS = 20

SETTINGS = {
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}


@dataclass(frozen=True)
class Postgres:
    """A running server; `host` is where its clients are to look for it."""

    port: int
    host: str = LOOPBACK

    def connect(self, database: str = "postgres") -> psycopg2.extensions.connection:
        """Connect as the superuser; every statement commits by itself."""
        connection = psycopg2.connect(
            host=LOOPBACK,
            port=self.port,
            dbname=database,
            user=SUPERUSER,
            password=SUPERUSER_PASSWORD,
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection

    def run(self, database: str, *statements: str | sql.Composed) -> None:
        """Execute statements as the superuser."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def make_database(self, name: str, password: str) -> str:
        """Make a database whose owner is called the same; return the owner's SQLAlchemy URI."""
        owner = sql.Identifier(name)
        role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(owner, sql.Literal(password))
        self.run("postgres", role, sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))
        return f"postgresql+psycopg2://{name}:{password}@{self.host}:{self.port}/{name}"

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        """What a query finds, as the superuser."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


def find_binaries() -> Path:
    """The folder of the newest installed release. Fails with a sentence if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    assert found, (
        "There is no PostgreSQL to test with: install its server, on Debian with "
        "`apt-get install --no-install-recommends postgresql`."
    )
    return found[-1].parent


@contextmanager
def running_postgres(host: str = LOOPBACK) -> Iterator[Postgres]:
    """Start a server in a folder of its own, which listens at `host`, too; stop it and remove everything at the end."""
    binaries, user = find_binaries(), ordinary_user()
    folder = Path(tempfile.mkdtemp(prefix="tracking-operator-postgres-"))
    try:
        password_file = folder / "password"
        password_file.write_text(SUPERUSER_PASSWORD)
        if user is not None:
            for path in (folder, password_file):
                shutil.chown(path, user)
        data = folder / "data"
        subprocess.run(
            [
                str(binaries / "initdb"),
                f"--pgdata={data}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            user=user,
        )
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
        with _server(binaries, data, user, host) as postgres:
            yield postgres
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(binaries: Path, data: Path, user: str | None, host: str) -> Iterator[Postgres]:
    port, addresses = free_port(), ",".join({LOOPBACK, host})
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    with (data.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), "-h", addresses, "-p", str(port), *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            user=user,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or _answers(Postgres(port, host)),
            START_SECONDS,
            "PostgreSQL answers",
        )
        assert process.poll() is None, f"PostgreSQL ended: {(data.parent / 'log').read_text()}"
        yield Postgres(port, host)
    finally:
        process.send_signal(signal.SIGINT)  # "fast": does not wait for clients
        try:
            process.wait(patient(STOP_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(postgres: Postgres) -> bool:
    try:
        postgres.connect().close()
    except psycopg2.OperationalError:
        return False
    return True


def ordinary_user() -> str | None:
    """Who runs the server: PostgreSQL refuses to run as root. None: who we are."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
