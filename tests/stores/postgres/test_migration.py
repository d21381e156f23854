"""The migration Job and the server's own database: migrated once, whoever else tries and whatever breaks. With a stand-in
for MLflow; the real one is in test_migration_of_mlflow.py."""

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy

from tests.mlflow_image import CHAIN, HEAD, Answer, MlflowImage
from tests.pod_programs import MIGRATE_STORE
from tests.stores.postgres.migration_job import PASSWORD, Job, new_job
from tests.stores.postgres.pod import Container
from tests.stores.postgres.world import World, tenant
from tests.waiting import wait_until
from tracking_operator.outcomes import EXIT_CODES, TERMINAL_EXIT_CODES
from tracking_operator.pod_tools import checks, database_servers
from tracking_operator.pod_tools import migrate_backend_store as script

STEPS = [f"added_in_{revision}" for revision in CHAIN]


@pytest.fixture
def job(one_world: World, tmp_path: Path) -> Job:
    return new_job(one_world, tmp_path)


class TestSchema:
    def test_of_an_empty_database_is_made(self, job: Job) -> None:
        answer = job.run()
        assert (answer.exit_code, answer.reason, answer.revision) == (0, "", HEAD), answer.output
        assert (job.tables(), job.revisions()) == (STEPS, [HEAD])
        assert f"Running upgrade to {HEAD}" in answer.output, "the log shows what MLflow says"

    def test_that_is_made_is_not_made_again(self, job: Job) -> None:
        job.run()
        answer = job.run()
        assert (answer.exit_code, answer.revision) == (0, HEAD)
        assert len(job.upgrades) == 1

    def test_of_a_newer_mlflow_is_refused_for_good(self, job: Job) -> None:
        job.run(FAKE_MIGRATION_STATEMENT="UPDATE alembic_version SET version_num = 'fff999'")
        answer = job.run()
        assert (answer.exit_code, answer.reason) == (24, "SchemaTooNew")
        assert answer.exit_code in TERMINAL_EXIT_CODES
        assert len(job.upgrades) == 1

    def test_that_did_not_get_to_the_head_is_told(self, job: Job) -> None:
        answer = job.run(FAKE_MIGRATION_STATEMENT="UPDATE alembic_version SET version_num = 'aaa111'")
        assert (answer.exit_code, answer.reason) == (28, "MigrationFailed")
        assert f"is at revision aaa111, not {HEAD}" in answer.message


class TestTwoAtOnce:
    def test_only_one_migrates_and_the_other_waits(self, job: Job) -> None:
        gate = job.environment(FAKE_MIGRATION_GATE=str(job.gate))
        with (
            job.pod.running(MIGRATE_STORE, *job.arguments(), **gate) as first,
            job.pod.running(MIGRATE_STORE, *job.arguments(), **gate) as second,
        ):
            both = [first, second]
            wait_until(lambda: any("At the gate" in one.output for one in both), 60, "one migrates")
            wait_until(lambda: any("waiting for its end" in one.output for one in both), 60, "one waits")
            job.gate.touch()
            answers = [one.answer() for one in both]
        assert [answer.exit_code for answer in answers] == [0, 0], answers
        assert {answer.revision for answer in answers} == {HEAD}
        assert len(job.upgrades) == 1

    def test_the_waiting_one_migrates_when_the_other_is_killed(self, job: Job) -> None:
        gate = job.environment(FAKE_MIGRATION_GATE=str(job.gate))
        with job.pod.running(MIGRATE_STORE, *job.arguments(), **gate) as first:
            first.says("At the gate")
            with job.pod.running(MIGRATE_STORE, *job.arguments(), **job.environment()) as second:
                second.says("waiting for its end")
                first.kill()
                assert second.answer().exit_code == 0
        assert (job.tables(), job.revisions()) == (STEPS, [HEAD])

    def test_waiting_ends_and_the_job_tries_again(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        image = MlflowImage(job.folder / "image")
        monkeypatch.syspath_prepend(image.folder)
        monkeypatch.setenv("PGSERVICEFILE", "set by the script")
        monkeypatch.setenv("PGOPTIONS", "")
        monkeypatch.setattr(checks, "TERMINATION_LOG", image.termination_log)
        monkeypatch.setattr(script, "LOCK_PATIENCE_SECONDS", 0.3)
        monkeypatch.setattr(script, "LOCK_RETRY_SECONDS", 0.05)
        with job.pod.world.connected(tenant().logins[0], PASSWORD, tenant().database) as other:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [script.LOCK_KEY])
            answer = image.answer(script.main(list(job.arguments())))
        assert (answer.exit_code, answer.reason) == (29, "Busy")
        assert answer.exit_code not in TERMINAL_EXIT_CODES
        assert job.upgrades == []


class TestInterruption:
    def run_until_the_gate(self, job: Job, interrupt: Callable[[Container], None]) -> Answer:
        gate = job.environment(FAKE_MIGRATION_GATE=str(job.gate))
        with job.pod.running(MIGRATE_STORE, *job.arguments(), **gate) as container:
            container.says("At the gate")
            interrupt(container)
            return container.answer()

    @pytest.mark.parametrize(
        "interrupt", [Container.kill, lambda one: one.process.terminate()], ids=["killed", "pod deleted"]
    )
    def test_leaves_nothing_behind_and_the_next_run_does_it(
        self, job: Job, interrupt: Callable[[Container], None]
    ) -> None:
        assert self.run_until_the_gate(job, interrupt).exit_code not in (0, *TERMINAL_EXIT_CODES)
        wait_until(lambda: not job.sessions(), 20, lambda: f"all sessions end: {job.sessions()}")
        assert job.tables() == []
        assert job.run().exit_code == 0
        assert (job.tables(), job.revisions()) == (STEPS, [HEAD])

    def test_of_mlflow_alone_is_not_the_end_of_the_job(self, job: Job) -> None:
        def kill_the_child(container: Container) -> None:
            children = Path(f"/proc/{container.process.pid}/task/{container.process.pid}/children")
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)

        answer = self.run_until_the_gate(job, kill_the_child)
        assert (answer.exit_code, answer.reason) == (137, "MigrationFailed")
        assert "spec.resources.limits.memory" in answer.message
        assert job.tables() == []

    def test_by_the_database_is_an_unreachable_store(self, job: Job) -> None:
        def end_sessions(_: Container) -> None:
            job.pod.world.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", tenant().database
            )
            job.gate.touch()

        answer = self.run_until_the_gate(job, end_sessions)
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable"), answer.output
        assert job.tables() == []
        assert job.run().exit_code == 0


def test_a_migration_that_fails_changes_nothing_and_is_for_a_person(job: Job) -> None:
    answer = job.run(FAKE_MIGRATION_STATEMENT="SELECT 1/0")
    assert (answer.exit_code, answer.reason) == (28, "MigrationFailed"), answer.output
    assert answer.exit_code in TERMINAL_EXIT_CODES
    assert "division by zero" in answer.message
    assert "read the log of the migration Job's pod" in answer.message
    assert PASSWORD not in answer.output
    assert job.tables() == []


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [
        ("53100", "DiskFull"),
        ("40P01", "Busy"),
        ("55P03", "Busy"),
        ("57P01", "StoreUnreachable"),
        ("53300", "TooManyConnections"),
        ("42501", "MigrationFailed"),
        ("22012", "MigrationFailed"),
    ],
)
def test_failures_of_sqlalchemy_say_whether_to_try_again(
    job: Job, monkeypatch: pytest.MonkeyPatch, sqlstate: str, reason: str
) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(job.pod.service_file))
    statement = (
        f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{sqlstate}', DETAIL = 'a detail'; END $$"
    )
    engine = sqlalchemy.create_engine(database_servers.SERVICE_URI, poolclass=sqlalchemy.NullPool)
    with pytest.raises(sqlalchemy.exc.DBAPIError) as failed, engine.connect() as connection:
        connection.execute(sqlalchemy.text(statement))
    output = "".join(traceback.format_exception(failed.value)).splitlines()
    failure = script.failure_of(
        script.Store(database_servers.POSTGRES, database_servers.SERVICE_URI, []), script.error_in(output)
    )
    assert failure.reason == reason
    assert "so it is" in failure.message
    exit_code = EXIT_CODES[failure.reason]
    assert (exit_code in TERMINAL_EXIT_CODES) == (reason == "MigrationFailed")


def test_a_migration_outlasts_the_time_limits_of_the_role(job: Job) -> None:
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        setting = f"ALTER ROLE {tenant().logins[0]} IN DATABASE {tenant().database} SET {name} = 200"
        job.pod.world.sql(setting)
    answer = job.run(FAKE_MIGRATION_STATEMENT="SELECT pg_sleep(0.5)")
    assert answer.exit_code == 0, answer.output


class TestExternal:
    """A database of somebody else's, where the class has us migrate it."""

    def test_is_migrated_and_nobody_can_read_the_password(self, job: Job) -> None:
        answer = job.run_external(job.uri())
        assert (answer.exit_code, answer.revision) == (0, HEAD), answer.output
        assert (job.tables(), job.revisions()) == (STEPS, [HEAD])
        for secret in (PASSWORD, quote(PASSWORD, safe="")):
            assert secret not in "".join([answer.output, answer.message, *job.upgrades])

    def test_a_failure_says_why_without_the_password(self, job: Job) -> None:
        secrets = f"{PASSWORD} {quote(PASSWORD, safe='')}".replace("'", "''")
        statement = f"DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'so it is {secrets}'; END $$"
        answer = job.run_external(job.uri(), FAKE_MIGRATION_STATEMENT=statement)
        assert (answer.exit_code, answer.reason) == (28, "MigrationFailed"), answer.output
        assert "so it is ***" in answer.message
        assert quote(PASSWORD, safe="") not in answer.output + answer.message

    def test_with_a_wrong_password_is_refused_at_once(self, job: Job) -> None:
        answer = job.run_external(job.uri("wrong-password"))
        assert (answer.exit_code, answer.reason) == (21, "LoginRefused")
        assert "wrong-password" not in answer.output + answer.message

    def test_a_sqlite_file_is_no_external_database(self, job: Job) -> None:
        answer = job.run_external("sqlite:////mlflow.db")
        assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri")
        assert job.upgrades == []
