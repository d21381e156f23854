"""A real PgBouncer in front of a database: what works with it, and what is refused with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mlflow_image import HEAD
from tests.pod_programs import MIGRATE_STORE
from tests.stores.postgres.migration_job import NO_OPTIONS, PASSWORD, VERSION, Job, new_job
from tests.stores.postgres.pgbouncer import running_pgbouncer
from tests.stores.postgres.pod import Container
from tests.stores.postgres.world import ADMIN, ADMIN_PASSWORD, World, desired, tenant
from tests.waiting import wait_until
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.stores.postgres.connection import SETTINGS
from tracking_operator.stores.postgres.provision import provision

TEAM = tenant().logins[0]
MEANWHILE = 60
POOLED = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
ADVISORY_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def job(one_world: World, tmp_path: Path) -> Job:
    return new_job(one_world, tmp_path)


@contextmanager
def pooled(job: Job, pool_mode: str) -> Iterator[str]:
    """The URI of the Job's database behind a PgBouncer."""
    users = {TEAM: PASSWORD}
    with running_pgbouncer(job.pod.world.running.port, users, pool_mode=pool_mode) as port:
        yield job.uri(port=port)


def count(job: Job, query: str, *parameters: object) -> int:
    ((found,),) = job.pod.world.sql(query, *parameters)
    return int(found)


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
def test_an_external_database_is_migrated_and_no_lock_stays_on_a_pooled_connection(
    job: Job, pool_mode: str
) -> None:
    with pooled(job, pool_mode) as uri:
        answer = job.run_external(uri)
        assert (answer.exit_code, answer.revision) == (0, HEAD), answer.output
        assert count(job, POOLED, TEAM) > 0, "the connections are still there"
        assert count(job, ADVISORY_LOCKS) == 0
        assert job.run_external(uri).exit_code == 0
    assert len(job.upgrades) == 1


def test_of_two_migrations_at_once_one_waits_and_goes_on_when_the_other_is_killed(job: Job) -> None:
    gate = job.environment(**NO_OPTIONS, FAKE_MIGRATION_GATE=str(job.gate))
    with pooled(job, "transaction") as uri:
        place = job.folder / "uri"
        place.write_text(uri)
        arguments = ("external", str(place), VERSION)

        def waits(container: Container) -> bool:
            return "waiting for its end" in container.output

        with job.pod.running(MIGRATE_STORE, *arguments, **gate) as first:
            first.says("At the gate")
            with job.pod.running(MIGRATE_STORE, *arguments, **job.environment(**NO_OPTIONS)) as second:
                wait_until(lambda: waits(second) or second.process.poll() is not None, MEANWHILE, "it waits")
                assert waits(second), second.output
                first.kill()
                assert second.answer().exit_code == 0, second.output
        assert count(job, ADVISORY_LOCKS) == 0
    assert job.revisions() == [HEAD]


def test_a_pooler_of_single_statements_is_refused_with_what_to_do(job: Job) -> None:
    with pooled(job, "statement") as uri:
        answer = job.run_external(uri)
    assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri"), answer.output
    assert "set its pool_mode to transaction or session" in answer.message
    assert job.upgrades == []


@pytest.mark.parametrize(
    ("ignored", "search_path", "word"),
    [
        ("", "", "unsupported startup parameter"),
        ("options", "", "without the search_path"),
        (
            "options",
            SETTINGS["search_path"],
            "in another process",
        ),  # of poolers that know what a session asks for
    ],
)
@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
def test_a_class_is_told_to_name_the_server_itself(
    one_world: World, pool_mode: str, ignored: str, search_path: str, word: str
) -> None:
    query = f"SELECT set_config('search_path', '{search_path}', false)".replace("'", "''")
    pooler = running_pgbouncer(
        one_world.running.port,
        {ADMIN: ADMIN_PASSWORD},
        pool_mode=pool_mode,
        database=f"connect_query='{query}'" if search_path else "",
        ignore_startup_parameters=ignored or "extra_float_digits",
    )
    with (
        pooler as port,
        pytest.raises(Invalid, match="A connection pooler is in between: name the server itself") as caught,
        one_world.sessions(server=replace(one_world.server, port=port)) as sessions,
    ):
        provision(sessions, desired(tenant()))
    assert caught.value.reason is Reason.SESSION_SETTINGS_DROPPED
    assert word in caught.value.message
