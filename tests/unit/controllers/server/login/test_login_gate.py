"""The gate before the pods of a server with a login: they wait for its tables as well, and the Job that has not made them is not enough."""

import pytest

from tests.unit.controllers.live import deployment, migration_pod, said, terminated
from tests.unit.controllers.server.database.test_schema_gate import NEW, NOW, job, succeeded
from tests.unit.examples import EXTERNAL_DATABASE, Manifest, login_credentials, model, postgres_class, server
from tracking_operator.controllers.server.database.databases import DatabaseState
from tracking_operator.controllers.server.database.schema_gate import (
    Gate,
    external_database,
    live_migration,
    schema_gate,
)
from tracking_operator.controllers.server.workload.gates import Gates
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.server_model import ServerModel

LOGIN = "f1a2"
BASIC: Manifest = {"access": {"authentication": {"basic": {}}}}


@pytest.fixture
def wanted() -> ServerModel:
    """A server with a login, and a database of its own."""
    return model(BASIC, postgres_class())


@pytest.fixture
def without() -> ServerModel:
    """The same server before it had one."""
    return model({}, postgres_class())


def prepared(live_job: Manifest) -> Manifest:
    """A pod of the Job that has brought up the login's tables, too."""
    message = said("", "Done.", NEW).removesuffix("}") + f', "loginRevision": "{LOGIN}"}}'
    return migration_pod(live_job, terminated(0, "Completed", message))


def gate(
    wanted: ServerModel,
    login: str | None,
    *children: Manifest,
    recorded: str | None = None,
    schema: str = NEW,
) -> Gate:
    """The gate of a server whose schema is up to date, and whose login's tables are at ``login``."""
    status: Manifest = {"version": "3.18.0", "schemaRevision": NEW}
    status |= {"loginRevision": recorded} if recorded else {}
    database = DatabaseState(login="x_a", revision=schema, login_revision=login)
    migration = live_migration(children, wanted)
    return schema_gate(wanted, server(status=status).status, database, migration, now=NOW)


def test_tables_that_are_missing_are_made_by_the_job_first(wanted: ServerModel) -> None:
    closed = gate(wanted, None)
    assert not closed.is_open
    assert closed.job
    assert "--login" in closed.job["spec"]["template"]["spec"]["containers"][0]["command"]


def test_the_job_that_was_there_before_the_login_makes_way(wanted: ServerModel, without: ServerModel) -> None:
    before = job(without, "Complete")
    closed = gate(wanted, None, before, succeeded(before))
    assert (closed.is_open, closed.obsolete_job) == (False, before)


def test_pods_start_once_the_job_has_made_them(wanted: ServerModel) -> None:
    live_job = job(wanted, "Complete")
    opened = gate(wanted, LOGIN, live_job, prepared(live_job))
    assert (opened.is_open, opened.revision, opened.login_revision) == (True, NEW, LOGIN)
    assert gate(wanted, LOGIN, recorded=LOGIN).is_open
    assert gate(wanted, LOGIN, live_job).is_open, "its pod may be gone already"


def test_tables_that_were_lost_are_made_again(wanted: ServerModel) -> None:
    live_job = job(wanted, "Complete")
    assert gate(wanted, None, live_job, prepared(live_job), recorded=LOGIN).obsolete_job == live_job
    assert gate(wanted, None, recorded=LOGIN).job


def test_without_a_login_its_tables_are_nobodys_business(without: ServerModel) -> None:
    for found in (None, LOGIN, "older"):
        assert gate(without, found, recorded=LOGIN).is_open


def test_an_external_database_is_prepared_by_the_word_of_the_job(without: ServerModel) -> None:
    spec: Manifest = {"backendStore": EXTERNAL_DATABASE}
    wanted, before = model(spec | BASIC), model(spec)
    status = server(status={"version": "3.18.0", "schemaRevision": NEW}).status
    old = job(before, "Complete")
    migration = live_migration([old, succeeded(old)], wanted)
    database = external_database(wanted, status, migration, None)
    closed = schema_gate(wanted, status, database, migration, now=NOW)
    assert (closed.is_open, closed.obsolete_job) == (False, old)
    new = job(wanted, "Complete")
    migration = live_migration([new, prepared(new)], wanted)
    database = external_database(wanted, status, migration, None)
    opened = schema_gate(wanted, status, database, migration, now=NOW)
    assert (opened.is_open, opened.login_revision) == (True, LOGIN)


class TestWithoutPasswords:
    def test_no_pod_starts_that_would_read_somebody_elses(self, wanted: ServerModel) -> None:
        closed = gate(wanted, None)
        steps = Gates(closed, None, None, None)
        assert not steps.let_through(build_deployment(wanted), wanted, None)
        assert steps.objects(wanted) == []
        known = Gates(closed, None, None, login_credentials())
        assert {obj["kind"] for obj in known.objects(wanted)} == {"Job", "Secret"}

    def test_what_runs_with_them_can_still_be_changed(self, wanted: ServerModel) -> None:
        live = build_deployment(wanted)
        assert Gates(None, None, None, None).let_through(live, wanted, live)
        assert Gates(None, None, None, None).let_through(live, model(), deployment())
