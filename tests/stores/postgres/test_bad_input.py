"""What platform teams get wrong: each mistake has its own reason and a sentence that says what to do, in seconds."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from dev.loopback import free_port
from tests.certificates import make_certificates
from tests.stores.postgres.proxy import Proxy
from tests.stores.postgres.world import (
    ADMIN,
    ADMIN_PASSWORD,
    HOST,
    World,
    desired,
    tenant,
)
from tests.waiting import patient, wait_until
from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.preflight import (
    ObservedServer,
    look,
    objection,
    preflight,
    remarks,
    spelled_version,
)
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.schema_revision import read_schema

SECONDS = 10.0


@contextmanager
def refused(kind: type[Failure], reason: Reason, sentence: str) -> Iterator[None]:
    """The block fails in time, for this reason, with this in the sentence, and without a secret."""
    started = time.monotonic()
    with pytest.raises(kind, match=sentence) as caught:
        yield
    assert time.monotonic() - started < patient(SECONDS)
    assert caught.value.reason is reason
    assert ADMIN_PASSWORD not in str(caught.value)
    assert caught.value.message.endswith(".")


def check(world: World, server: PostgresServer | None = None, login: Login | None = None) -> None:
    with world.sessions(server=server, login=login) as sessions:
        preflight(sessions)


def test_a_good_server_and_admin(world: World) -> None:
    with world.sessions() as sessions:
        remarks, found = preflight(sessions), look(sessions)
    assert spelled_version(found.server_version).startswith(f"{world.version}.")
    assert not found.tls
    assert found.max_connections == 60
    assert "not encrypted" in remarks[0]
    assert remarks[1].endswith(
        'run GRANT CONNECT ON DATABASE "postgres" TO "admin"; REVOKE CONNECT ON DATABASE "postgres", "template1" FROM PUBLIC.'
    )
    assert ("pg_execute_server_program" in " ".join(remarks)) == (world.version == "15")


def test_databases_may_be_closed_to_the_public(one_world: World) -> None:
    one_world.sql("CREATE DATABASE wide_open")
    one_world.sql("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
    try:
        with refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, "CONNECT on the maintenance database"):
            check(one_world)
        one_world.sql(f"GRANT CONNECT ON DATABASE postgres TO {ADMIN}")
        with one_world.sessions() as sessions:
            remarks = preflight(sessions)
            assert any(
                remark.endswith('run REVOKE CONNECT ON DATABASE "wide_open" FROM PUBLIC.')
                for remark in remarks
            )
            one_world.sql("REVOKE CONNECT ON DATABASE wide_open FROM PUBLIC")
            assert not any("PUBLIC" in remark for remark in preflight(sessions))
    finally:
        one_world.sql("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")
        one_world.sql(f"REVOKE CONNECT ON DATABASE postgres FROM {ADMIN}")


def test_limits_that_add_up_to_more_than_the_server_takes_are_remarked(edge_world: World) -> None:
    def said() -> list[str]:
        with edge_world.sessions() as sessions:
            return [remark for remark in preflight(sessions) if "add up" in remark]

    edge_world.provision(desired(tenant("one", namespace="one"), connection_limit=40))
    assert said() == []
    edge_world.provision(desired(tenant("two", namespace="two"), connection_limit=40))
    assert (
        "add up to 80, and the server takes 57 connections (max_connections 60 without 3 reserved ones)"
        in said()[0]
    )
    edge_world.sql("ALTER DATABASE two CONNECTION LIMIT 10")
    assert said() == []
    edge_world.sql("ALTER DATABASE two CONNECTION LIMIT -1")
    edge_world.sql("ALTER DATABASE two ALLOW_CONNECTIONS false")
    assert said() == []


# Logging in


def test_a_wrong_password(world: World) -> None:
    with refused(Waiting, Reason.LOGIN_REFUSED, "the class's admin Secret"):
        check(world, login=Login(ADMIN, "not the password"))


def test_an_unknown_admin(world: World) -> None:
    with refused(Waiting, Reason.LOGIN_REFUSED, "the class's admin Secret"):
        check(world, login=Login("nobody", "x"))


def test_an_admin_that_cannot_log_in(world: World) -> None:
    world.sql("CREATE ROLE idle_admin CREATEROLE CREATEDB PASSWORD 'x'")
    with refused(Waiting, Reason.LOGIN_REFUSED, "not permitted to log in"):
        check(world, login=Login("idle_admin", "x"))


def test_an_empty_password(world: World) -> None:
    with refused(Waiting, Reason.LOGIN_REFUSED, "no password supplied"):
        check(world, login=Login(ADMIN, ""))


def test_an_unknown_maintenance_database(world: World) -> None:
    with refused(Invalid, Reason.INVALID_SPEC, "postgres.maintenanceDatabase"):
        check(world, replace(world.server, maintenance_database="nowhere"))


def test_a_closed_database_is_not_a_lost_one(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine, "one"))
    login = Login(mine.logins[0], "one")
    world.sql(f'ALTER DATABASE "{mine.database}" ALLOW_CONNECTIONS false')
    with refused(Unavailable, Reason.STORE_FAILED, "is not currently accepting connections"):
        read_schema(world.server, login, mine)
    world.sql(f'DROP DATABASE "{mine.database}"')
    with refused(Invalid, Reason.DATABASE_LOST, "does not exist"):
        read_schema(world.server, login, mine)


def test_a_database_that_an_interrupted_drop_left_is_a_lost_one(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine, "one"))
    world.sql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", mine.database)
    try:
        with refused(Invalid, Reason.DATABASE_LOST, "invalid database"):
            read_schema(world.server, Login(mine.logins[0], "one"), mine)
    finally:
        world.sql(f'DROP DATABASE "{mine.database}"')  # nothing else may be done with it


# Reaching the server


def test_a_host_that_does_not_resolve(one_world: World) -> None:
    with refused(Unavailable, Reason.HOST_NOT_FOUND, "postgres.host"):
        check(one_world, replace(one_world.server, host="no-such-host.invalid"))


def test_nobody_listens(one_world: World) -> None:
    with refused(Unavailable, Reason.STORE_UNREACHABLE, "Connection refused"):
        check(one_world, replace(one_world.server, port=free_port()))


def test_a_server_that_hangs(one_world: World) -> None:
    one_world.running.pause()
    try:
        with refused(Unavailable, Reason.STORE_UNREACHABLE, "no answer within 4 s"):
            check(one_world)
    finally:
        one_world.running.resume()


# TLS


def test_tls_that_verifies(world: World) -> None:
    for host in (HOST, "localhost"):
        server = replace(world.server, host=host, ssl_mode=SslMode.VERIFY_FULL, ca_certificates=world.ca)
        with world.sessions(server=server) as sessions:
            assert not any("sslMode" in remark for remark in preflight(sessions))
            assert look(sessions).tls


@pytest.mark.parametrize("mode", [SslMode.VERIFY_CA, SslMode.VERIFY_FULL])
def test_a_certificate_of_another_ca(world: World, mode: SslMode) -> None:
    other_ca, _, _ = make_certificates("localhost")
    with refused(Waiting, Reason.TLS_FAILED, "caConfigMapRef"):
        check(world, replace(world.server, ssl_mode=mode, ca_certificates=other_ca))


def test_a_certificate_that_no_known_ca_signed(world: World) -> None:
    with refused(Waiting, Reason.TLS_FAILED, "certificate verify failed"):
        check(world, replace(world.server, ssl_mode=SslMode.VERIFY_FULL))


def test_a_certificate_for_another_host(world: World) -> None:
    server = replace(world.server, host="127.0.0.2", ca_certificates=world.ca)
    with other_address(world):
        with refused(Waiting, Reason.TLS_FAILED, "127.0.0.2"):
            check(world, replace(server, ssl_mode=SslMode.VERIFY_FULL))
        check(world, replace(server, ssl_mode=SslMode.VERIFY_CA))


@contextmanager
def other_address(world: World) -> Iterator[None]:
    """Forward 127.0.0.2 to the server, which listens on 127.0.0.1 only."""
    with Proxy(world.running.port, address="127.0.0.2", port=world.running.port):
        yield


@pytest.mark.parametrize("text", ["not a certificate", ""])
def test_a_ca_that_is_none(one_world: World, text: str) -> None:
    with refused(Waiting, Reason.TLS_FAILED, "root certificate file"):
        check(one_world, replace(one_world.server, ssl_mode=SslMode.VERIFY_FULL, ca_certificates=text))


def test_a_server_without_tls(one_world: World) -> None:
    one_world.sql("ALTER SYSTEM SET ssl = off")
    one_world.sql("SELECT pg_reload_conf()")
    try:
        wait_until(lambda: one_world.sql("SHOW ssl") == [("off",)], 5, "TLS is off")
        with refused(Waiting, Reason.TLS_FAILED, "does not support SSL"):
            check(one_world, replace(one_world.server, ssl_mode=SslMode.REQUIRE))
    finally:
        one_world.sql("ALTER SYSTEM RESET ssl")
        one_world.sql("SELECT pg_reload_conf()")
        wait_until(lambda: one_world.sql("SHOW ssl") == [("on",)], 5, "TLS is on")


# Privileges


@pytest.mark.parametrize("lacking", ["CREATEROLE", "CREATEDB"])
def test_an_admin_that_lacks_a_privilege(world: World, lacking: str) -> None:
    has = {"CREATEROLE", "CREATEDB"} - {lacking}
    world.sql(f"CREATE ROLE weak LOGIN {' '.join(has)} PASSWORD 'x'")
    with refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, f'ALTER ROLE "weak" {lacking}'):
        check(world, login=Login("weak", "x"))


def test_provisioning_without_the_privileges_says_so_as_well(world: World) -> None:
    world.sql("CREATE ROLE weak LOGIN PASSWORD 'x'")
    with (
        world.sessions(login=Login("weak", "x")) as sessions,
        refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, "CREATEROLE and CREATEDB"),
    ):
        provision(sessions, desired(tenant()))


def test_a_superuser_is_refused_unless_allowed(world: World) -> None:
    login = Login("postgres", world.running.superuser_password)
    with refused(Invalid, Reason.SUPERUSER_REFUSED, "allowSuperuser"):
        check(world, login=login)
    with world.sessions(login=login) as sessions:
        assert any("superuser" in remark for remark in preflight(sessions, allow_superuser=True))
        provision(sessions, desired(tenant()))
        assert provision(sessions, desired(tenant())).steps == ()


GOOD = ObservedServer(
    server_version=150018,
    admin=ADMIN,
    superuser=False,
    createrole=True,
    createdb=True,
    tls=True,
    standby=False,
    public_databases=(),
    max_connections=100,
    reserved_connections=3,
    promised_connections=0,
    unlimited_databases=0,
)


def test_a_version_below_15() -> None:
    server = PostgresServer("pg.db.svc")
    assert objection(GOOD, server, allow_superuser=False) is None
    old = objection(replace(GOOD, server_version=140022), server, allow_superuser=False)
    assert isinstance(old, Invalid)
    assert old.reason is Reason.SERVER_TOO_OLD
    assert "pg.db.svc:5432 is version 14.22, and the oldest that can be used is 15.0" in old.message


def test_a_standby() -> None:
    standby = objection(replace(GOOD, standby=True), PostgresServer("pg.db.svc"), allow_superuser=False)
    assert isinstance(standby, Unavailable)
    assert "name the primary" in standby.message


def test_a_certificate_that_is_not_verified_is_remarked() -> None:
    weak = PostgresServer("pg.db.svc", ssl_mode=SslMode.REQUIRE)
    assert any("verify-full" in remark for remark in remarks(GOOD, weak))


# Room


def test_too_many_connections_of_the_admin(world: World) -> None:
    world.sql(f"ALTER ROLE {ADMIN} CONNECTION LIMIT 1")
    try:
        with (
            world.connected(ADMIN, ADMIN_PASSWORD, "postgres"),
            refused(Unavailable, Reason.TOO_MANY_CONNECTIONS, "max_connections"),
        ):
            check(world)
    finally:
        world.sql(f"ALTER ROLE {ADMIN} CONNECTION LIMIT -1")


def test_too_many_connections_of_all(one_world: World) -> None:
    with ExitStack() as stack:
        with pytest.raises(psycopg2.OperationalError):
            while True:
                stack.enter_context(one_world.connected(ADMIN, ADMIN_PASSWORD, "postgres"))
        with refused(Unavailable, Reason.TOO_MANY_CONNECTIONS, "max_connections"):
            check(one_world)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB that anybody may write to."""
    if shutil.which("mount") is None:
        pytest.skip("no mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m,mode=0777", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk(one_world: World, small_disk: Path) -> None:
    folder = small_disk / "tablespace"
    folder.mkdir(mode=0o700)
    owner = one_world.running.data.stat()
    shutil.chown(folder, owner.st_uid, owner.st_gid)
    for parent in small_disk.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    one_world.sql(f"CREATE TABLESPACE small LOCATION '{folder}'")
    one_world.sql("ALTER DATABASE template0 SET TABLESPACE small")
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(b"x" * (free - 2_000_000))
    try:
        with (
            one_world.sessions() as sessions,
            refused(Unavailable, Reason.DISK_FULL, "No space left on device"),
        ):
            provision(sessions, desired(tenant()))
        filler.unlink()
        one_world.provision(desired(tenant()))
    finally:
        filler.unlink(missing_ok=True)
        one_world.sql("ALTER DATABASE template0 SET TABLESPACE pg_default")
        one_world.sql(f'DROP DATABASE IF EXISTS "{tenant().database}"')
        one_world.sql("DROP TABLESPACE small")


# While others hold locks


def test_a_lock_that_somebody_holds(one_world: World) -> None:
    world = one_world
    mine = tenant()
    world.provision(desired(mine, "one"))
    with world.connected(mine.logins[0], "one", mine.database) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE NONE")
            cursor.execute(f"ALTER ROLE \"{mine.logins[0]}\" PASSWORD 'mine'")
        with world.sessions() as sessions, refused(Unavailable, Reason.BUSY, "holds a lock"):
            provision(sessions, desired(mine, connection_limit=3))
    world.provision(desired(mine, connection_limit=3))
