"""What only another look at PostgreSQL finds out, with an operator that takes one every two seconds."""

from collections.abc import Iterator

import pytest
from psycopg2.sql import SQL, Identifier

from tests.kube_api import KubeApi
from tests.mlflow_versions import NEWEST_MIGRATION
from tests.operator_fixtures import OperatorHost
from tests.operator_postgres import PostgresTeam, RealPostgres, a_postgres_class, a_postgres_team
from tests.waiting import wait_until
from tracking_operator.kube.objects import DEPLOYMENT, JOB, uid_of

RESYNC_SECONDS = 2
SECONDS_TO_NOTICE = 15.0
OLDER_REVISION = "b7e2c1a4d9f3"


@pytest.fixture(scope="module")
def team(api: KubeApi, operators: OperatorHost, postgres: RealPostgres) -> Iterator[PostgresTeam]:
    """A team with a server that has a database, and an operator that is in a hurry."""
    operators.make_room()
    operators.start(resync=RESYNC_SECONDS).wait_until_active()
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served()
        yield team
    operators.make_room()


def test_what_somebody_changed_in_postgresql_is_put_right(team: PostgresTeam) -> None:
    name, secret = team.database(), team.secret()
    expected = state_of(team.postgres, name)
    database, login = Identifier(name), Identifier(f"{name}_a")
    for changes in (
        (
            SQL("ALTER ROLE {} PASSWORD 'another'").format(login),
            SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(database),
            SQL("ALTER ROLE {} IN DATABASE {} RESET role").format(login, database),
        ),
        (
            SQL("ALTER ROLE {} NOLOGIN").format(login),
            SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(login),
        ),
    ):
        for change in changes:
            team.postgres.sql(change)

        wait_until(
            lambda: state_of(team.postgres, name) == expected and team.logs_in(),
            SECONDS_TO_NOTICE,
            lambda: f"it is {expected}; it is {state_of(team.postgres, name)}",
        )
    assert team.secret()["data"] == secret["data"]


def test_a_job_that_is_gone_comes_back_only_when_the_schema_has_gone_back(team: PostgresTeam) -> None:
    before, deployment = team.postgres.log_size(), team.get(DEPLOYMENT)
    team.api.delete(JOB, team.namespace, NEWEST_MIGRATION)

    wait_until(
        lambda: team.postgres.log_since(before).count('FROM ONLY "public"."alembic_version"') >= 2,
        SECONDS_TO_NOTICE,
        "two resyncs have passed",
    )
    assert team.job() is None

    team.set_revision(OLDER_REVISION)
    team.migrate()
    team.wait_for_condition("SchemaReady", status="True")
    job = team.job()
    assert job is not None

    team.set_revision(OLDER_REVISION)  # while the Job that has succeeded is still there
    wait_until(
        lambda: (newer := team.job()) and uid_of(newer) != uid_of(job),
        SECONDS_TO_NOTICE,
        "the Job is made anew",
    )
    team.migrate()
    team.wait_for_condition("SchemaReady", status="True")
    assert team.get(DEPLOYMENT)["spec"] == deployment["spec"]


def state_of(postgres: RealPostgres, name: str) -> list[object]:
    """What PostgreSQL knows about a server's first login and its database, but for the password."""
    settings = postgres.sql(
        "SELECT unnest(setconfig) FROM pg_db_role_setting "
        "WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = %s) ORDER BY 1",
        f"{name}_a",
    )
    return [
        postgres.sql("SELECT rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname = %s", f"{name}_a"),
        postgres.sql("SELECT datacl::text FROM pg_database WHERE datname = %s", name),
        settings,
    ]
