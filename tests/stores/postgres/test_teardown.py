"""Access ends: nobody gets in and nobody stays in; and dropping everything. In an order that can be interrupted anywhere."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg2
import psycopg2.extras
import pytest
from psycopg2.sql import SQL, Composable, Identifier

from tests.stores.postgres.world import (
    ADMIN,
    CLUSTER,
    HOST,
    SUPERUSER,
    Crashed,
    World,
    crash_before,
    desired,
    tenant,
)
from tests.waiting import wait_until
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Waiting
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.finalize import access_of_cluster, drop, retain, take_access
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.schema_revision import read_schema
from tracking_operator.stores.postgres.statements import text_of
from tracking_operator.stores.postgres.tenant import Tenant

STATEMENTS_TO_SHUT = 9
"""The search path, a look; close, two logins; who has sessions, end them, roll back; nobody has any."""

STATEMENTS_TO_DROP = STATEMENTS_TO_SHUT + 5
"""And more time, the database and three roles."""

Connection = psycopg2.extensions.connection


@pytest.fixture
def mine(world: World) -> Tenant:
    """A tenant with both logins and a table."""
    return made_in(world)


def made_in(world: World) -> Tenant:
    one = tenant()
    for login in one.logins:
        world.provision(desired(one, login, login=login))
    with world.connected(one.logins[0], one.logins[0], one.database) as connection:
        connection.cursor().execute("CREATE TABLE runs (id int); INSERT INTO runs VALUES (42)")
    return one


def test_retained_logins_are_gone_and_the_database_is_not(world: World, mine: Tenant) -> None:
    before = world.names()
    with world.sessions() as sessions:
        assert len(retain(sessions, mine)) == 3
        assert retain(sessions, mine) == ()
    assert world.names() == before
    for login in mine.logins:
        with pytest.raises(Waiting):
            read_schema(world.server, Login(login, login), mine)
    passwords = "SELECT rolpassword FROM pg_authid WHERE rolname = ANY(%s)"
    assert world.sql(passwords, list(mine.logins)) == [(None,), (None,)]


@contextmanager
def in_use(world: World, mine: Tenant) -> Iterator[list[Connection]]:
    """A session of each login that does nothing, one in a transaction, and one in the middle of a statement."""
    first, second = mine.logins
    with ExitStack() as stack:
        opened = [
            stack.enter_context(world.connected(login, login, mine.database))
            for login in (first, second, first, second)
        ]
        opened[2].cursor().execute("BEGIN; INSERT INTO runs VALUES (1)")
        busy = stack.enter_context(busy_connection(world, second, mine.database))
        yield [*opened, busy]


@contextmanager
def busy_connection(world: World, login: str, database: str) -> Iterator[Connection]:
    """A session that sleeps for an hour in a statement, and would not let itself be cancelled."""
    connection = psycopg2.connect(
        host=HOST, port=world.running.port, user=login, password=login, dbname=database, async_=True
    )
    psycopg2.extras.wait_select(connection)
    connection.cursor().execute("SET statement_timeout = 0; SELECT pg_sleep(3600)")
    is_busy = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    wait_until(lambda: world.sql(is_busy, connection.info.backend_pid) == [(1,)], 10, "it sleeps")
    try:
        yield connection
    finally:
        connection.close()


def sessions_of(world: World, mine: Tenant) -> list[tuple[object, ...]]:
    return world.sql(
        "SELECT usename, state FROM pg_stat_activity "
        "WHERE (datname = %s OR usename = ANY(%s)) AND usename <> current_user",
        mine.database,
        list(mine.roles),
    )


def is_shut(world: World, mine: Tenant) -> None:
    """Nobody is in, nobody gets in, and the admin is a member of nothing for it."""
    assert sessions_of(world, mine) == []
    for login in mine.logins:
        with pytest.raises(psycopg2.OperationalError):
            world.connected(login, login, mine.database).__enter__()
    open_to = "SELECT datallowconn FROM pg_database WHERE datname = %s"
    assert world.sql(open_to, mine.database) == [(False,)]
    assert inherited_by_the_admin(world) == 0


def inherited_by_the_admin(world: World) -> object:
    members = "SELECT count(*) FROM pg_auth_members AS m JOIN pg_roles AS e ON e.oid = m.member "
    return world.sql(members + "WHERE e.rolname = %s AND pg_has_role(e.oid, m.roleid, 'USAGE')", ADMIN)[0][0]


@pytest.mark.parametrize("end", [retain, drop], ids=["retained", "dropped"])
def test_sessions_end_whatever_they_do(
    world: World, mine: Tenant, end: Callable[..., object], another: Tenant
) -> None:
    with (
        in_use(world, mine) as opened,
        world.connected(another.logins[0], "a password", another.database) as of_another,
        world.sessions() as sessions,
    ):
        end(sessions, mine)
        assert sessions_of(world, mine) == []
        for connection in opened:
            with pytest.raises(psycopg2.Error):
                connection.cursor().execute("SELECT 1")
                psycopg2.extras.wait_select(connection)
        of_another.cursor().execute("SELECT 1")


@pytest.mark.parametrize("number", range(STATEMENTS_TO_SHUT))
def test_retaining_can_be_interrupted_anywhere_and_a_successor_sees_its_data(
    edge_world: World, number: int
) -> None:
    world, mine = edge_world, made_in(edge_world)
    with in_use(world, mine), world.sessions() as sessions:
        with world.sessions(watch=crash_before(number)) as crashing, pytest.raises(Crashed):
            retain(crashing, mine)
        assert inherited_by_the_admin(world) == 0, "not even in between"
        retain(sessions, mine)
        is_shut(world, mine)
        assert retain(sessions, mine) == ()

    world.provision(desired(tenant(uid="another uid"), "new"))
    assert read_schema(world.server, Login(mine.logins[0], "new"), mine).revision is None
    with world.connected(mine.logins[0], "new", mine.database) as connection, connection.cursor() as cursor:
        cursor.execute("TABLE runs")
        assert cursor.fetchall() == [(42,)]


def test_no_statement_is_left_out_of_the_interruptions_of_retaining(one_world: World) -> None:
    sent: list[Composable] = []
    mine = made_in(one_world)
    with in_use(one_world, mine), one_world.sessions(watch=sent.append) as sessions:
        retain(sessions, mine)
    assert len(sent) == STATEMENTS_TO_SHUT


def test_a_session_of_a_role_that_somebody_has_let_in_ends_too(edge_world: World) -> None:
    world, mine = edge_world, made_in(edge_world)
    friend = tenant("friend", namespace="team-b")
    world.provision(desired(friend, "friend's"))
    world.sql(SQL("GRANT {} TO {}").format(Identifier(mine.logins[0]), Identifier(friend.logins[0])))
    with (
        world.connected(friend.logins[0], "friend's", mine.database),
        world.connected(friend.logins[0], "friend's", friend.database) as at_home,
        world.sessions() as sessions,
    ):
        retain(sessions, mine)
        assert sessions_of(world, mine) == []
        at_home.cursor().execute("SELECT 1")


def test_a_superusers_session_goes_on_in_a_database_that_is_retained(world: World, mine: Tenant) -> None:
    with (
        world.connected(SUPERUSER, world.running.superuser_password, mine.database) as superuser,
        world.sessions() as sessions,
    ):
        retain(sessions, mine)
        superuser.cursor().execute("TABLE runs")
    is_shut(world, mine)


def test_an_unfinished_database_is_not_taken_for_one_that_was_closed(world: World) -> None:
    """It is closed and has no mark: the next run begins where this one ended, and only then is it opened."""
    mine = tenant()
    sent: list[str] = []

    def crash_before_the_mark(statement: Composable) -> None:
        sent.append(text_of(statement))
        if sent[-1].startswith("COMMENT ON DATABASE"):
            raise Crashed

    with world.sessions(watch=crash_before_the_mark) as sessions, pytest.raises(Crashed):
        provision(sessions, desired(mine))
    with world.sessions() as sessions:
        retain(sessions, mine)
        assert access_of_cluster(sessions, CLUSTER) == ()
    world.provision(desired(mine, "new"))
    assert read_schema(world.server, Login(mine.logins[0], "new"), mine).revision is None
    assert [grant for _, _, _, _, _, _, grant, _ in world.state(mine)["database"]] == [  # type: ignore[attr-defined]
        "{admin=CTc/admin,mlflow_team_a=Tc/admin}"
    ]


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


def test_what_a_server_that_is_gone_has_left_is_found_by_its_marks(
    world: World, mine: Tenant, another: Tenant
) -> None:
    elsewhere = Tenant.named("elsewhere", Mark("another-cluster", "team-a", "mlflow"))
    world.provision(desired(elsewhere))
    with in_use(world, mine), world.sessions() as sessions:
        left, others = sorted(
            access_of_cluster(sessions, CLUSTER), key=lambda one: one.databases, reverse=True
        )
        assert (left.logins, left.databases) == (mine.logins, (mine.database,))
        assert (others.logins, others.databases) == ((another.logins[0],), (another.database,))
        take_access(sessions, left)
        is_shut(world, mine)
        assert access_of_cluster(sessions, CLUSTER) == (others,)


def test_sessions_that_outlived_their_login_are_found_too(world: World, mine: Tenant) -> None:
    with in_use(world, mine), world.sessions() as sessions:
        for login in mine.logins:
            world.sql(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(login)))
        world.sql(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(mine.database)))
        (left,) = access_of_cluster(sessions, CLUSTER)
        take_access(sessions, left)
        is_shut(world, mine)


def test_what_a_successor_has_taken_back_meanwhile_is_left_to_it(world: World, mine: Tenant) -> None:
    with world.sessions() as sessions:
        (left,) = access_of_cluster(sessions, CLUSTER)
        world.provision(desired(tenant(uid="another uid"), "new", set_password=True))
        take_access(sessions, left)
    assert read_schema(world.server, Login(mine.logins[0], "new"), mine).revision is None


def test_what_another_admin_manages_is_left_to_it(one_world: World) -> None:
    one_world.provision(desired(tenant()))
    one_world.sql("CREATE ROLE another_admin LOGIN CREATEROLE CREATEDB PASSWORD 'secret'")
    with one_world.sessions(login=Login("another_admin", "secret")) as sessions:
        assert access_of_cluster(sessions, CLUSTER) == ()


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
    assert len(sent) == STATEMENTS_TO_DROP


@pytest.mark.parametrize("number", range(STATEMENTS_TO_DROP))
def test_a_server_made_again_after_an_interrupted_drop_works(world: World, mine: Tenant, number: int) -> None:
    with world.sessions(watch=crash_before(number)) as sessions, suppress(Crashed):
        drop(sessions, mine)
    world.provision(desired(mine, "new", set_password=True))
    assert read_schema(world.server, Login(mine.logins[0], "new"), mine).revision is None
    assert inherited_by_the_admin(world) == 0


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
