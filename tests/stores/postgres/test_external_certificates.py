"""A database of a team's own behind a private CA: the programs of pods on a real PostgreSQL that lets nobody in without TLS."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from dev.loopback import free_port
from dev.postgres import VERSIONS, PostgresServer, postgres_server
from tests.certificates import Authority
from tests.mlflow_image import HEAD, Answer, MlflowImage
from tests.pod_programs import MIGRATE_STORE
from tests.stores.postgres.world import HOST, random_password
from tracking_operator.pod_tools import check_backend_store, checks
from tracking_operator.resources.stores.certificates import READABLE_BY_GROUP

VERSION = "--version=3.17.2"
TEAM, CERTIFIED = "team", "certified"
PASSWORD = "p@ss w/o:r#d=1"
RULES = f"""
hostssl all {CERTIFIED} all cert
hostssl all all all scram-sha-256
"""
"""Of pg_hba.conf: one login has a certificate and no password, and nobody comes in without TLS."""


@dataclass(frozen=True)
class Database:
    """A database, whose server's certificate is for localhost only."""

    server: PostgresServer
    authority: Authority

    def uri(self, user: str = TEAM, host: str = "localhost", query: str = "") -> str:
        password = "" if user == CERTIFIED else f":{quote(PASSWORD, safe='')}"
        return f"postgresql://{user}{password}@{host}:{self.server.port}/{user}{query}"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    authority, password = Authority.new(), random_password()
    certificate, key = authority.issue("localhost")
    files = {
        "server.crt": certificate,
        "server.key": key,
        "ca.crt": authority.certificate,
        "pg_hba.conf": RULES,
    }
    settings = {
        "ssl": "on",
        "ssl_cert_file": "server.crt",
        "ssl_key_file": "server.key",
        "ssl_ca_file": "ca.crt",
        "listen_addresses": "localhost",
    }
    with postgres_server(VERSIONS[-1], free_port(), password, settings=settings, files=files) as server:
        connection = psycopg2.connect(
            host=HOST, port=server.port, user="postgres", password=password, dbname="postgres"
        )
        connection.autocommit = True
        with connection, connection.cursor() as cursor:
            for user in (TEAM, CERTIFIED):
                cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD %s", [PASSWORD])
        with connection.cursor() as cursor:
            for user in (TEAM, CERTIFIED):
                cursor.execute(f"CREATE DATABASE {user} OWNER {user}")
        connection.close()
        yield Database(server, authority)


@dataclass(frozen=True)
class Pod:
    """What is mounted in a pod, and the image that it runs."""

    folder: Path
    image: MlflowImage

    def mount(self, uri: str, **beside: str) -> None:
        """Mount a URI, and certificates as kubelet leaves them."""
        names = {"ca": "ca.crt", "certificate": "tls.crt", "key": "tls.key"}
        for name, content in {"uri": uri, **{names[name]: text for name, text in beside.items()}}.items():
            place = self.folder / name
            place.write_text(content)
            place.chmod(READABLE_BY_GROUP if os.geteuid() == 0 else 0o400)

    def check(self) -> Answer:
        """Run the check of the init container, without patience."""
        place = str(self.folder / "uri")
        return self.image.answer(check_backend_store.main(["external", place, VERSION]))

    def migrate(self) -> Answer:
        """Run the migration Job."""
        place = str(self.folder / "uri")
        ended = subprocess.run(
            [sys.executable, *MIGRATE_STORE, "external", place, VERSION],
            env=self.image.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return self.image.answer(ended.returncode, ended.stdout + ended.stderr)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    folder = tmp_path / "mounted"
    folder.mkdir()
    image = MlflowImage.build(tmp_path / "image")
    monkeypatch.syspath_prepend(image.folder)
    monkeypatch.setattr(checks, "TERMINATION_LOG", image.termination_log)
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.0)
    return Pod(folder, image)


def test_the_database_is_migrated_and_checked_with_the_ca(pod: Pod, database: Database) -> None:
    pod.mount(database.uri(), ca=database.authority.certificate)
    migrated = pod.migrate()
    assert migrated.exit_code == 0, migrated.output
    checked = pod.check()
    assert (checked.exit_code, checked.revision) == (0, HEAD), checked.message


def test_a_client_certificate_lets_in_without_a_password(pod: Pod, database: Database) -> None:
    certificate, key = database.authority.issue(CERTIFIED)
    pod.mount(database.uri(CERTIFIED), ca=database.authority.certificate, certificate=certificate, key=key)
    migrated = pod.migrate()
    assert migrated.exit_code == 0, migrated.output
    assert pod.check().exit_code == 0


class TestRefusal:
    """What does not fit is told with what to do, and no secret."""

    def assert_refused(self, answer: Answer, *words: str) -> None:
        assert (answer.exit_code, answer.reason) == (46, "TlsFailed"), answer.output
        for word in words:
            assert word in answer.message
        assert PASSWORD not in answer.output + answer.message

    def test_of_a_ca_that_has_not_signed(self, pod: Pod, database: Database) -> None:
        pod.mount(database.uri(), ca=Authority.new().certificate)
        answer = pod.check()
        self.assert_refused(
            answer, "does not verify", "Name the CA", "spec.backendStore.external.caConfigMapRef"
        )

    def test_of_a_host_that_the_certificate_is_not_for(self, pod: Pod, database: Database) -> None:
        pod.mount(database.uri(host=HOST), ca=database.authority.certificate)
        self.assert_refused(pod.check(), "does not match host name", "in the URI the host")

    def test_of_a_certificate_that_the_cas_of_the_image_do_not_know(
        self, pod: Pod, database: Database
    ) -> None:
        pod.mount(database.uri(query="?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"))
        self.assert_refused(pod.check(), "certificate")

    def test_of_a_client_without_its_certificate(self, pod: Pod, database: Database) -> None:
        pod.mount(database.uri(CERTIFIED), ca=database.authority.certificate)
        self.assert_refused(pod.check(), "requires a valid client certificate")

    def test_of_a_key_that_is_of_another_certificate(self, pod: Pod, database: Database) -> None:
        certificate, _ = database.authority.issue(CERTIFIED)
        _, key = database.authority.issue(CERTIFIED)
        pod.mount(
            database.uri(CERTIFIED), ca=database.authority.certificate, certificate=certificate, key=key
        )
        self.assert_refused(pod.check(), "private key file")

    def test_of_a_client_certificate_of_a_stranger(self, pod: Pod, database: Database) -> None:
        certificate, key = Authority.new().issue(CERTIFIED)
        pod.mount(
            database.uri(CERTIFIED), ca=database.authority.certificate, certificate=certificate, key=key
        )
        self.assert_refused(pod.check())


def test_options_that_name_files_are_refused_before_anybody_is_asked(pod: Pod, database: Database) -> None:
    pod.mount(database.uri(query="?sslrootcert=/etc/mlflow/login/password"))
    for answer in (pod.check(), pod.migrate()):
        assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri")
        assert "has the option sslrootcert" in answer.message
