"""Taking logins away, and dropping everything: in an order that can be interrupted anywhere."""

from contextlib import suppress

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier

from tests.stores.postgres.world import ADMIN, CLUSTER, Crashed, World, crash_before, desired, tenant
from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.schema import read_schema
from tracking_operator.backend_store.server import Login
from tracking_operator.backend_store.statements import text_of
from tracking_operator.backend_store.teardown import drop, logins_of_cluster, retain, take_logins
from tracking_operator.backend_store.tenant import Tenant
from tracking_operator.failures import Failure, Invalid
from tracking_operator.mark import Mark

STATEMENTS_TO_DROP = 12
"""A look; close, two logins, let in, end twice (the second finds none), out, drop database and three roles."""


@pytest.fixture
def mine(world: World) -> Tenant:
    """A tenant with both logins and a table."""
    one = tenant()
    for login in one.logins:
        world.provision(desired(one, login, login=login))
    with world.connected(one.logins[0], one.logins[0], one.database) as connection:
        connection.cursor().execute("CREATE TABLE runs (id int)")
    return one


def test_retained_logins_are_gone_and_the_database_is_not(world: World, mine: Tenant) -> None:
    before = world.names()
    with world.sessions() as sessions:
        assert len(retain(sessions, mine)) == 2
        assert retain(sessions, mine) == ()
    assert world.names() == before
    for login in mine.logins:
        with pytest.raises(Invalid):
            read_schema(world.server, Login(login, login), mine)
    passwords = "SELECT rolpassword FROM pg_authid WHERE rolname = ANY(%s)"
    assert world.sql(passwords, list(mine.logins)) == [(None,), (None,)]


def test_a_retained_database_is_taken_back(world: World, mine: Tenant) -> None:
    with world.sessions() as sessions:
        retain(sessions, mine)
    world.provision(desired(tenant(uid="another uid"), "new"))
    with world.connected(mine.logins[0], "new", mine.database) as connection:
        connection.cursor().execute("TABLE runs")


@pytest.fixture
def another(world: World) -> Tenant:
    """A second tenant, of another team."""
    one = tenant("another", namespace="team-b")
    world.provision(desired(one))
    return one


def test_what_is_not_ours_keeps_its_logins(world: World) -> None:
    theirs = Tenant.named("another", Mark(CLUSTER, "team-b", "mlflow"))
    world.provision(desired(theirs))
    with world.sessions() as sessions:
        assert retain(sessions, Tenant.named("another", tenant().mark)) == ()


def test_logins_whose_server_is_gone_are_found_by_their_marks(
    world: World, mine: Tenant, another: Tenant
) -> None:
    elsewhere = Tenant.named("elsewhere", Mark("another-cluster", "team-a", "mlflow"))
    world.provision(desired(elsewhere))
    with world.sessions() as sessions:
        found = logins_of_cluster(sessions, CLUSTER)
        assert [one.role for one in found] == [another.logins[0], *mine.logins]
        take_logins(sessions, tuple(one for one in found if one.mark.namespace == "team-a"))
        assert [one.role for one in logins_of_cluster(sessions, CLUSTER)] == [another.logins[0]]


def test_logins_that_another_admin_manages_are_left_to_it(one_world: World) -> None:
    one_world.provision(desired(tenant()))
    one_world.sql("CREATE ROLE another_admin LOGIN CREATEROLE CREATEDB PASSWORD 'secret'")
    with one_world.sessions(login=Login("another_admin", "secret")) as sessions:
        assert logins_of_cluster(sessions, CLUSTER) == ()


def test_a_drop_leaves_nothing_and_touches_no_other(world: World, mine: Tenant, another: Tenant) -> None:
    others = world.state(another)
    roles, databases = world.names()
    with (
        world.connected(mine.logins[0], mine.logins[0], mine.database),
        world.connected(mine.logins[1], mine.logins[1], mine.database),
        world.sessions() as sessions,
    ):
        drop(sessions, mine)
        assert drop(sessions, mine) == ()
    assert world.names() == (roles - set(mine.roles), databases - {mine.database})
    assert world.state(another) == others


@pytest.mark.parametrize("number", range(STATEMENTS_TO_DROP))
def test_a_drop_can_be_interrupted_anywhere(world: World, mine: Tenant, number: int) -> None:
    roles, databases = world.names()
    with world.connected(mine.logins[0], mine.logins[0], mine.database):
        with world.sessions(watch=crash_before(number)) as sessions, pytest.raises(Crashed):
            drop(sessions, mine)
        with world.sessions() as sessions:
            drop(sessions, mine)
    assert world.names() == (roles - set(mine.roles), databases - {mine.database})


def test_no_statement_is_left_out_of_the_interruptions(world: World, mine: Tenant) -> None:
    sent: list[str] = []
    with (
        world.connected(mine.logins[0], mine.logins[0], mine.database),
        world.sessions(watch=lambda statement: sent.append(text_of(statement))) as sessions,
    ):
        drop(sessions, mine)
    repeated = [one for one in sent if "pg_terminate_backend" in one]
    assert len(sent) - len(repeated) + 2 == STATEMENTS_TO_DROP


@pytest.mark.parametrize("number", range(STATEMENTS_TO_DROP))
def test_a_server_made_again_after_an_interrupted_drop_works(world: World, mine: Tenant, number: int) -> None:
    with world.sessions(watch=crash_before(number)) as sessions, suppress(Crashed):
        drop(sessions, mine)
    world.provision(desired(mine, "new", set_password=True))
    assert read_schema(world.server, Login(mine.logins[0], "new"), mine).revision is None
    leftovers = "SELECT count(*) FROM pg_auth_members AS m JOIN pg_roles AS e ON e.oid = m.member "
    members = leftovers + "WHERE e.rolname = %s AND pg_has_role(e.oid, m.roleid, 'USAGE')"
    assert world.sql(members, ADMIN) == [(0,)]


def test_what_is_not_ours_is_not_dropped(world: World) -> None:
    theirs = Tenant.named("another", Mark(CLUSTER, "team-b", "mlflow"))
    world.provision(desired(theirs))
    before = world.state(theirs)
    with world.sessions() as sessions, pytest.raises(Invalid) as caught:
        drop(sessions, Tenant.named("another", tenant().mark))
    assert caught.value.reason is Reason.CONFLICT
    assert world.state(theirs) == before


def test_a_session_that_the_admin_may_not_end_blocks_a_drop_until_it_ends(world: World, mine: Tenant) -> None:
    superuser = psycopg2.connect(
        host="127.0.0.1",
        port=world.running.port,
        user="postgres",
        password=world.running.superuser_password,
        dbname=mine.database,
    )
    with (
        world.sessions() as sessions,
        pytest.raises(Failure, match="being accessed by other users") as caught,
    ):
        drop(sessions, mine)
    assert caught.value.reason is Reason.DELETION_BLOCKED
    superuser.close()
    with world.sessions() as sessions:
        drop(sessions, mine)


def test_an_object_in_another_database_blocks_the_drop_of_a_role(world: World, mine: Tenant) -> None:
    login = Identifier(mine.logins[0])
    world.sql(SQL("GRANT SELECT ON pg_catalog.pg_class TO {}").format(login))
    with world.sessions() as sessions, pytest.raises(Failure, match="some objects depend on it") as caught:
        drop(sessions, mine)
    assert caught.value.reason is Reason.DELETION_BLOCKED
    world.sql(SQL("REVOKE SELECT ON pg_catalog.pg_class FROM {}").format(login))
    with world.sessions() as sessions:
        drop(sessions, mine)
