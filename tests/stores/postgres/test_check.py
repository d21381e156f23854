"""The init container and the server's own database: it only looks, and waits for what others are about to do."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from dev.loopback import free_port
from tests.mlflow_image import CHAIN, HEAD, Answer, MlflowImage
from tests.pod_programs import CHECK_STORE
from tests.stores.postgres.pod import Container, Pod
from tests.stores.postgres.world import World, desired, tenant
from tests.waiting import patient, wait_until
from tracking_operator.pod_tools import check_backend_store as script
from tracking_operator.pod_tools import checks

PASSWORD = "p@ss w/o:r#d=1;%20'x\"\\ü"
VERSION = "--version=3.17.2"


@pytest.fixture
def pod(one_world: World, tmp_path: Path) -> Pod:
    """A pod whose database exists, is empty, and lets it in."""
    one_world.provision(desired(tenant(), PASSWORD))
    image = MlflowImage.build(tmp_path / "image")
    folder = tmp_path / "backend-store"
    folder.mkdir()
    pod = Pod(folder, one_world, tenant(), image=image.environment())
    pod.mount(tenant().logins[0], PASSWORD)
    return pod


@pytest.fixture
def hurry(pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Answer]:
    """The check in this process, without patience."""
    image = MlflowImage(tmp_path / "image")
    monkeypatch.syspath_prepend(image.folder)
    monkeypatch.setenv("PGSERVICEFILE", "set by the check")
    monkeypatch.setattr(checks, "TERMINATION_LOG", image.termination_log)
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(checks, "RETRY_SECONDS", 0.05)
    return lambda: image.answer(script.main(["postgres", str(pod.service_file), VERSION]))


@pytest.fixture
def check(pod: Pod) -> Iterator[Callable[[], Container]]:
    """Starts the check as a process, with all of its patience."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            pod.running(CHECK_STORE, "postgres", str(pod.service_file), VERSION)
        )


def migrate_to(pod: Pod, revision: str) -> None:
    """Leave what Alembic leaves in a database."""
    first = tenant().logins[0]
    with pod.world.connected(first, PASSWORD, tenant().database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) NOT NULL)")
        cursor.execute("DELETE FROM alembic_version")
        cursor.execute("INSERT INTO alembic_version VALUES (%s)", [revision])


class TestSchema:
    def test_at_the_revision_of_the_image_lets_the_server_start(
        self, pod: Pod, hurry: Callable[[], Answer]
    ) -> None:
        migrate_to(pod, HEAD)
        answer = hurry()
        assert (answer.exit_code, answer.reason, answer.revision) == (0, "", HEAD)

    def test_that_is_missing_is_for_the_job_to_make(self, hurry: Callable[[], Answer]) -> None:
        answer = hurry()
        assert (answer.exit_code, answer.reason) == (22, "SchemaMissing")
        assert "the migration Job brings it up" in answer.message
        assert "db upgrade" not in answer.message

    @pytest.mark.parametrize("revision", CHAIN[:-1])
    def test_behind_is_for_the_job_to_bring_up(
        self, pod: Pod, hurry: Callable[[], Answer], revision: str
    ) -> None:
        migrate_to(pod, revision)
        answer = hurry()
        assert (answer.exit_code, answer.reason) == (23, "SchemaBehind")
        assert f"is at revision {revision}, MLflow 3.17.2 needs {HEAD}: the migration Job" in answer.message
        assert "db upgrade" not in answer.message

    def test_of_a_newer_mlflow_is_refused_at_once(self, pod: Pod, check: Callable[[], Container]) -> None:
        migrate_to(pod, "fff999")
        started = time.monotonic()
        answer = check().answer()
        assert (answer.exit_code, answer.reason) == (24, "SchemaTooNew")
        assert time.monotonic() - started < patient(20)


class TestPatience:
    """Each of these is over after a while, and no container has failed."""

    def test_outlasts_the_migration(self, pod: Pod, check: Callable[[], Container]) -> None:
        waiting = check()
        waiting.says("holds no MLflow schema")
        migrate_to(pod, CHAIN[0])
        waiting.says(f"is at revision {CHAIN[0]}")
        migrate_to(pod, HEAD)
        assert waiting.answer().exit_code == 0

    def test_outlasts_the_kubelet_that_still_brings_the_secret(
        self, pod: Pod, check: Callable[[], Container]
    ) -> None:
        migrate_to(pod, HEAD)
        pod.mount(tenant().logins[0], "an old password")
        waiting = check()
        waiting.says("password authentication failed")
        pod.mount(tenant().logins[0], PASSWORD)
        answer = waiting.answer()
        assert answer.exit_code == 0
        assert PASSWORD not in answer.output
        assert "an old password" not in answer.output

    def test_outlasts_the_operator_that_still_makes_the_login(
        self, pod: Pod, check: Callable[[], Container]
    ) -> None:
        migrate_to(pod, HEAD)
        second = tenant().logins[1]
        pod.mount(second, PASSWORD)
        waiting = check()
        waiting.says("The database refused the login")
        pod.world.provision(desired(tenant(), PASSWORD, login=second))
        assert waiting.answer().exit_code == 0

    def test_outlasts_a_database_that_does_not_answer(self, pod: Pod, check: Callable[[], Container]) -> None:
        migrate_to(pod, HEAD)
        pod.port = free_port()
        pod.mount(tenant().logins[0], PASSWORD)
        waiting = check()
        waiting.says("Connection refused")
        pod.port = 0
        pod.mount(tenant().logins[0], PASSWORD)
        assert waiting.answer().exit_code == 0

    def test_ends_when_the_pod_is_deleted(self, check: Callable[[], Container]) -> None:
        waiting = check()
        waiting.says("holds no MLflow schema")
        waiting.process.terminate()
        assert waiting.answer().exit_code == 143


class TestSilence:
    def test_of_a_host_that_accepts_and_says_nothing_ends_after_five_seconds(
        self, pod: Pod, hurry: Callable[[], Answer]
    ) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            pod.host, pod.port = "127.0.0.1", silent.getsockname()[1]
            pod.mount(tenant().logins[0], PASSWORD)
            started = time.monotonic()
            answer = hurry()
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable")
        assert time.monotonic() - started < patient(8)

    def test_after_the_login_is_noticed_too(
        self, pod: Pod, hurry: Callable[[], Answer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        migrate_to(pod, HEAD)
        monkeypatch.setattr(checks, "ATTEMPT_SECONDS", 1.0)
        with pod.world.connected(tenant().logins[0], PASSWORD, tenant().database) as connection:
            connection.autocommit = False
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE alembic_version")
                answer = hurry()
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable")
        assert "it said nothing for 1 s" in answer.message

    def test_of_a_server_with_another_certificate_is_no_login_that_was_refused(
        self, pod: Pod, hurry: Callable[[], Answer]
    ) -> None:
        (pod.folder / "ca.crt").unlink()
        answer = hurry()
        assert (answer.exit_code, answer.reason) == (46, "TlsFailed")
        assert "certificate file" in answer.message


def test_a_login_that_was_taken_away_is_refused(pod: Pod, hurry: Callable[[], Answer]) -> None:
    pod.world.sql(f"ALTER ROLE {tenant().logins[0]} NOLOGIN")
    answer = hurry()
    assert (answer.exit_code, answer.reason) == (21, "LoginRefused")
    assert "is not permitted to log in" in answer.message
    assert "BackendStoreReady" in answer.message


def test_nothing_is_written_and_no_session_stays(pod: Pod, hurry: Callable[[], Answer]) -> None:
    before = pod.world.state(tenant())
    hurry()
    assert pod.world.state(tenant()) == before
    sessions = "SELECT pid FROM pg_stat_activity WHERE usename = ANY(%s)"
    wait_until(
        lambda: pod.world.sql(sessions, list(tenant().logins)) == [], 10, "the session of the check has ended"
    )
