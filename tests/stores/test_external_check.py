"""The init container and a database of somebody else's: looked at, told apart, never changed. On a real PostgreSQL."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from psycopg2 import sql

from dev.loopback import free_port
from tests.mlflow_image import CHAIN, HEAD, Answer, MlflowImage
from tests.postgres import Postgres, running_postgres
from tests.waiting import patient
from tracking_operator.pod_tools import check_backend_store as script
from tracking_operator.pod_tools import checks, database_servers

PASSWORD = "p@ss:w/o?r#d[1]%20&+ 'x\"\\ü"
"""Every character that a URI, a shell or SQL could stumble over."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@dataclass(frozen=True)
class Database:
    """A database of a team's own, and the login that the team put into the Secret."""

    postgres: Postgres
    name: str
    password: str = PASSWORD

    def uri(self, **changes: object) -> str:
        """What is in the Secret."""
        parts = {
            "user": self.name,
            "password": self.password,
            "port": self.postgres.port,
            "database": self.name,
            "query": "",
        } | changes
        password = quote(str(parts["password"]), safe="")
        address = f"127.0.0.1:{parts['port']}/{parts['database']}{parts['query']}"
        return f"postgresql+psycopg2://{parts['user']}:{password}@{address}"

    def migrate_to(self, *revisions: str) -> None:
        """Leave what Alembic leaves in a database."""
        login = sql.Identifier(self.name)
        self.postgres.run(
            self.name,
            "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
            sql.SQL("GRANT ALL ON alembic_version TO {}").format(login),
            *(
                sql.SQL("INSERT INTO alembic_version VALUES ({})").format(sql.Literal(revision))
                for revision in revisions
            ),
        )

    def content(self) -> list[tuple[object, ...]]:
        """All that a writer could have changed: objects, settings, and how often each table was written."""
        objects = "SELECT relname, relkind, relfilenode FROM pg_class WHERE relnamespace >= 2200 ORDER BY 1"
        writes = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
        settings = "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"
        databases = "SELECT datname, datacl FROM pg_database ORDER BY 1"
        return [
            row
            for query in (objects, writes, settings, databases)
            for row in self.postgres.rows(self.name, query)
        ]


@pytest.fixture
def database(postgres: Postgres) -> Database:
    """An empty database, and a login that could write into it."""
    name = f"mlflow_{uuid4().hex[:8]}"
    identifier, password = sql.Identifier(name), sql.Literal(PASSWORD)
    postgres.run(
        "postgres",
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, password),
        sql.SQL("CREATE DATABASE {0} OWNER {0}").format(identifier),
    )
    return Database(postgres, name)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowImage:
    """An image whose check has no patience, unless a test gives it some."""
    image = MlflowImage.build(tmp_path / "image")
    monkeypatch.syspath_prepend(image.folder)
    monkeypatch.setattr(checks, "TERMINATION_LOG", image.termination_log)
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(checks, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(database_servers, "CONNECT_TIMEOUT_SECONDS", 2)
    return image


def check(image: MlflowImage, uri: str) -> Answer:
    """Run the check on what a Secret holds."""
    secret = image.folder / "uri"
    secret.write_text(uri)
    return image.answer(script.main(["external", str(secret), "--version=3.17.2"]))


class TestSchema:
    def test_at_the_revision_of_the_image_lets_the_server_start(
        self, image: MlflowImage, database: Database
    ) -> None:
        database.migrate_to(HEAD)
        answer = check(image, database.uri())
        assert (answer.exit_code, answer.reason, answer.revision) == (0, "", HEAD)

    def test_that_is_missing_says_who_makes_it(self, image: MlflowImage, database: Database) -> None:
        answer = check(image, database.uri())
        assert (answer.exit_code, answer.reason) == (22, "SchemaMissing")
        assert "holds no MLflow schema: the migration Job brings it up" in answer.message

    def test_without_a_revision_in_its_table_is_missing_too(
        self, image: MlflowImage, database: Database
    ) -> None:
        database.migrate_to()
        assert check(image, database.uri()).reason == "SchemaMissing"

    @pytest.mark.parametrize("revision", CHAIN[:-1])
    def test_behind_says_from_where_to_where(
        self, image: MlflowImage, database: Database, revision: str
    ) -> None:
        database.migrate_to(revision)
        answer = check(image, database.uri())
        assert (answer.exit_code, answer.reason) == (23, "SchemaBehind")
        assert f"is at revision {revision}, MLflow 3.17.2 needs {HEAD}: the migration Job" in answer.message

    def test_of_a_newer_mlflow_is_refused(self, image: MlflowImage, database: Database) -> None:
        database.migrate_to("fff999")
        answer = check(image, database.uri())
        assert (answer.exit_code, answer.reason) == (24, "SchemaTooNew")
        assert "fff999" in answer.message

    def test_is_found_where_the_login_looks_for_its_tables(
        self, image: MlflowImage, database: Database
    ) -> None:
        login = sql.Identifier(database.name)
        database.migrate_to(HEAD)
        database.postgres.run(
            database.name,
            "CREATE SCHEMA apart",
            sql.SQL("GRANT USAGE ON SCHEMA apart TO {}").format(login),
            "ALTER TABLE alembic_version SET SCHEMA apart",
            sql.SQL("ALTER ROLE {} SET search_path = apart").format(login),
        )
        assert check(image, database.uri()).revision == HEAD


class TestLogin:
    def assert_refused(self, answer: Answer, word: str) -> None:
        assert (answer.exit_code, answer.reason) == (21, "LoginRefused")
        assert word in answer.message
        assert answer.message.endswith("Correct the URI in the Secret.")
        for secret in (PASSWORD, quote(PASSWORD, safe=""), "wrong-password"):
            assert secret not in answer.message + answer.output

    def test_with_a_wrong_password_is_refused(self, image: MlflowImage, database: Database) -> None:
        answer = check(image, database.uri(password="wrong-password"))
        self.assert_refused(answer, "password authentication failed")

    def test_of_nobody_is_refused(self, image: MlflowImage, database: Database) -> None:
        self.assert_refused(check(image, database.uri(user="nobody")), "password authentication failed")

    def test_to_a_database_that_is_not_there_is_refused(self, image: MlflowImage, database: Database) -> None:
        self.assert_refused(check(image, database.uri(database="not_there")), "does not exist")

    def test_that_may_not_read_the_revision_is_refused(self, image: MlflowImage, database: Database) -> None:
        database.migrate_to(HEAD)
        login = sql.Identifier(database.name)
        database.postgres.run(database.name, sql.SQL("REVOKE ALL ON alembic_version FROM {}").format(login))
        self.assert_refused(check(image, database.uri()), "permission denied")

    def test_is_not_tried_again_so_that_no_account_gets_locked(
        self, image: MlflowImage, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checks, "PATIENCE_SECONDS", 60.0)
        started = time.monotonic()
        assert check(image, database.uri(password="wrong-password")).reason == "LoginRefused"
        assert time.monotonic() - started < patient(30)


class TestSilence:
    def test_of_a_closed_port_is_an_unreachable_store(self, image: MlflowImage, database: Database) -> None:
        answer = check(image, database.uri(port=free_port()))
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable")
        assert "Connection refused" in answer.message

    def test_of_a_host_that_accepts_and_says_nothing_is_noticed(
        self, image: MlflowImage, database: Database
    ) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            answer = check(image, database.uri(port=silent.getsockname()[1]))
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable")
        assert "timeout expired" in answer.message

    def test_of_a_name_that_nobody_knows_is_told_from_that(
        self, image: MlflowImage, database: Database
    ) -> None:
        answer = check(image, database.uri().replace("127.0.0.1", "no-such-host.invalid"))
        assert (answer.exit_code, answer.reason) == (45, "HostNotFound")

    def test_is_outwaited(
        self, image: MlflowImage, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database.migrate_to(HEAD)
        monkeypatch.setattr(checks, "PATIENCE_SECONDS", 60.0)
        attempts: list[str] = []
        look = database_servers.external_revision

        def look_late(uri: str, table: str) -> str | None:
            attempts.append(uri)
            return look(database.uri() if len(attempts) > 2 else uri, table)

        monkeypatch.setattr(database_servers, "external_revision", look_late)
        assert check(image, database.uri(port=free_port())).exit_code == 0
        assert len(attempts) == 3


class TestUri:
    @pytest.mark.parametrize(
        "uri",
        [
            "",
            "  \n",
            "not a uri",
            "http://user:hunter2@host/path",
            "postgresql+nodriver://user:hunter2@host/db",
            "oracle+cx_oracle://user:hunter2@host/db",
            "postgresql+psycopg2://user:hunter2@host:port/db",
            "sqlite:////mlflow/backend-store/mlflow.db",
            "/mlruns",
        ],
    )
    def test_that_cannot_be_used_is_refused_and_not_repeated(self, image: MlflowImage, uri: str) -> None:
        answer = check(image, uri)
        assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri")
        assert "hunter2" not in answer.message + answer.output

    def test_with_an_option_that_the_driver_does_not_know_is_refused(
        self, image: MlflowImage, database: Database
    ) -> None:
        answer = check(image, database.uri(query="?nonsense=1"))
        assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri")
        assert PASSWORD not in answer.message

    def test_may_end_with_a_line_break_as_files_do(self, image: MlflowImage, database: Database) -> None:
        database.migrate_to(HEAD)
        assert check(image, database.uri() + "\n").exit_code == 0


@pytest.mark.parametrize("revisions", [None, [], [CHAIN[0]], [HEAD], ["fff999"]])
def test_nothing_is_written_into_the_database(
    image: MlflowImage, database: Database, revisions: list[str] | None
) -> None:
    if revisions is not None:
        database.migrate_to(*revisions)
    before = database.content()
    check(image, database.uri())
    assert database.content() == before


def test_a_login_that_may_only_read_is_enough(image: MlflowImage, database: Database) -> None:
    database.migrate_to(HEAD)
    login = sql.Identifier(database.name)
    database.postgres.run(
        "postgres", sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(login)
    )
    assert check(image, database.uri()).exit_code == 0


def test_the_script_alone_does_the_same_as_in_the_pod(image: MlflowImage, database: Database) -> None:
    database.migrate_to(HEAD)
    secret = image.folder / "uri"
    secret.write_text(database.uri())
    answer = image.check("external", str(secret))
    assert (answer.exit_code, answer.revision) == (0, HEAD)
    assert json.loads(image.termination_log.read_text()).keys() == {"reason", "message", "revision"}
