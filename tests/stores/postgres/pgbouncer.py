"""A real PgBouncer of our own in front of a PostgreSQL server, on loopback, thrown away."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from dev.loopback import free_port
from tests.postgres import ordinary_user
from tests.waiting import patient, wait_until

START_SECONDS = 60
STOP_SECONDS = 20


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@contextmanager
def running_pgbouncer(
    target: int,
    users: Mapping[str, str],
    *,
    pool_mode: str,
    pool_size: int = 4,
    database: str = "",
    **settings: str,
) -> Iterator[int]:
    """Run one until the block ends; gives its port.

    ``users`` are logins of the server with their passwords, ``database`` is what each of its databases has beside host and port.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, (
        "There is no PgBouncer to test with: on Debian `apt-get install --no-install-recommends pgbouncer`."
    )
    port, user = free_port(), ordinary_user()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        wanted = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(folder / "users"),
            "pool_mode": pool_mode,
            "default_pool_size": str(pool_size),
            "query_wait_timeout": "5",
        } | settings
        lines = [f"{key} = {value}" for key, value in wanted.items()]
        server = f"* = host=127.0.0.1 port={target} {database}"
        (folder / "pgbouncer.ini").write_text("\n".join(["[databases]", server, "[pgbouncer]", *lines, ""]))
        (folder / "users").write_text(
            "".join(f"{_quoted(login)} {_quoted(password)}\n" for login, password in users.items())
        )
        for path in (folder, *folder.iterdir()):
            if user is not None:
                shutil.chown(path, user)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, str(folder / "pgbouncer.ini")], stdout=log, stderr=subprocess.STDOUT, user=user
            )
        try:
            wait_until(
                lambda: process.poll() is not None or _listens(port), START_SECONDS, "PgBouncer answers"
            )
            assert process.poll() is None, f"PgBouncer ended: {(folder / 'log').read_text()}"
            yield port
        finally:
            process.terminate()
            process.wait(patient(STOP_SECONDS))


def _listens(port: int) -> bool:
    try:
        psycopg2.connect(
            host="127.0.0.1", port=port, dbname="x", user="nobody", password="x", connect_timeout=5
        )
    except psycopg2.OperationalError as error:
        return "Connection refused" not in str(error)
    return True
