"""Two login roles take turns: sessions go on, nothing active is ended, and the old login is gone at the end."""

import time
from contextlib import suppress
from dataclasses import replace

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.sql import SQL, Identifier

from tests.stores.postgres.world import Crashed, World, crash_before, desired, tenant
from tests.waiting import wait_until
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres import termination
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.rotation import Sighting, begin, is_quiet, limit, look, retire
from tracking_operator.stores.postgres.schema_revision import read_schema
from tracking_operator.stores.postgres.tenant import Tenant
from tracking_operator.stores.postgres.termination import Ended

LIMIT = 3
STATEMENTS_TO_RETIRE = 7
"""A search path, a look; no login; who has sessions, end them, roll back; nobody has any."""

Connection = psycopg2.extensions.connection


@pytest.fixture
def mine(world: World) -> Tenant:
    one = tenant()
    world.provision(desired(one, "old", connection_limit=LIMIT))
    return one


def start(world: World, mine: Tenant) -> None:
    with world.sessions() as sessions:
        begin(sessions, mine, mine.logins[1], "new")


def finish(world: World, mine: Tenant, *, at_once: bool = False) -> Ended:
    with world.sessions() as sessions:
        return retire(sessions, mine, mine.logins[0], at_once=at_once)


def query(connection: Connection, statement: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def is_rotated(world: World, mine: Tenant) -> None:
    """Only the new login works, nothing of the old one is left, and everything else is as desired."""
    assert read_schema(world.server, Login(mine.logins[1], "new"), mine).revision is None
    with pytest.raises(Waiting) as caught:
        read_schema(world.server, Login(mine.logins[0], "old"), mine)
    assert caught.value.reason is Reason.LOGIN_REFUSED
    with world.sessions() as sessions:
        assert look(sessions, mine.logins[0], 0).sessions == frozenset()
        done = provision(sessions, desired(mine, "new", login=mine.logins[1], connection_limit=LIMIT))
    assert done.steps == ()
    assert not done.is_rotating


def test_both_logins_work_until_the_old_one_is_retired(world: World, mine: Tenant) -> None:
    old, new = mine.logins
    with world.connected(old, "old", mine.database) as before:
        start(world, mine)
        with world.connected(new, "new", mine.database) as after, world.connected(old, "old", mine.database):
            assert query(before, "SELECT current_user") == query(after, "SELECT current_user") == (mine.role,)
        # All the sessions that both logins may have together are in use.
        with (
            world.connected(old, "old", mine.database),
            world.connected(new, "new", mine.database) as after,
        ):
            assert finish(world, mine) == Ended(ended=LIMIT - 1, left=0)
            assert query(after, "SELECT 1") == (1,)
        with pytest.raises((errors.AdminShutdown, psycopg2.OperationalError)):
            query(before, "SELECT 1")
    is_rotated(world, mine)


def test_an_active_session_is_not_ended(world: World, mine: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "SECONDS_FOR_IDLE_SESSIONS", 0.3)
    start(world, mine)
    with world.connected(mine.logins[0], "old", mine.database) as busy:
        busy.autocommit = False
        assert query(busy, "SELECT 1") == (1,)  # idle in a transaction: in the middle of something
        assert finish(world, mine) == Ended(ended=0, left=1)
        assert query(busy, "SELECT 2") == (2,)
        busy.commit()
        assert finish(world, mine) == Ended(ended=1, left=0)
    is_rotated(world, mine)


def test_at_the_deadline_every_session_ends_whatever_it_does(world: World, mine: Tenant) -> None:
    start(world, mine)
    old, new = mine.logins
    with (
        world.connected(old, "old", mine.database) as idle,
        world.connected(old, "old", mine.database) as busy,
        world.connected(new, "new", mine.database) as after,
    ):
        busy.autocommit = False
        query(busy, "SELECT pg_advisory_xact_lock(1)::text")  # in the middle of something
        assert finish(world, mine, at_once=True) == Ended(ended=2, left=0)
        for connection in (idle, busy):
            with pytest.raises((errors.AdminShutdown, psycopg2.OperationalError)):
                query(connection, "SELECT 1")
        assert query(after, "SELECT 1") == (1,)
    is_rotated(world, mine)


def test_postgresql_itself_knows_until_when_the_old_login_works(edge_world: World) -> None:
    """The tenant can change its password, and not for how long that works."""
    world, mine = edge_world, tenant()
    world.provision(desired(mine, "old"))
    start(world, mine)
    old, new = mine.logins
    soon = time.time() + 3600
    with world.sessions() as sessions:
        limit(sessions, mine, old, soon)
        # Noted once: neither another look nor a longer deadline makes it later, a shorter one makes it earlier.
        for until, expected in ((soon + 60, soon), (None, soon), (soon - 60, soon - 60)):
            wanted = replace(desired(mine, "new", login=new), other_until=until)
            found = provision(sessions, wanted)
            assert (found.is_rotating, found.other_until) == (True, float(int(expected)))
        with world.connected(old, "old", mine.database) as connection:
            for statement in ("VALID UNTIL 'infinity'", "PASSWORD 'another' VALID UNTIL 'infinity'"):
                with pytest.raises(errors.InsufficientPrivilege):
                    query(connection, f"ALTER ROLE {old} {statement}")
        limit(sessions, mine, old, time.time() - 1)
        with pytest.raises(psycopg2.OperationalError):
            world.connected(old, "old", mine.database).__enter__()
        # Should the Secret name the old one again, it is the one to live.
        assert provision(sessions, replace(desired(mine, "old", login=old), other_until=soon)).other_until
    with world.connected(old, "old", mine.database):
        pass


def test_sessions_that_are_left_without_a_login_keep_the_rotation_going(edge_world: World) -> None:
    """As after a restart of the operator: the catalog tells, and not its memory."""
    world, mine = edge_world, tenant()
    world.provision(desired(mine, "old"))
    start(world, mine)
    wanted = replace(desired(mine, "new", login=mine.logins[1]), other_until=time.time() + 3600)
    with world.connected(mine.logins[0], "old", mine.database) as busy, world.sessions() as sessions:
        busy.autocommit = False
        query(busy, "SELECT 1")
        world.sql(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(mine.logins[0])))
        assert provision(sessions, wanted).is_rotating
        assert finish(world, mine, at_once=True).ended == 1
        assert not provision(sessions, wanted).is_rotating


@pytest.mark.parametrize("number", range(STATEMENTS_TO_RETIRE))
def test_a_retirement_can_be_interrupted_anywhere(world: World, mine: Tenant, number: int) -> None:
    start(world, mine)
    with world.connected(mine.logins[0], "old", mine.database):
        with world.sessions(watch=crash_before(number)) as sessions, suppress(Crashed):
            retire(sessions, mine, mine.logins[0], at_once=False)
        wait_until(lambda: finish(world, mine).complete, 10, "the old login is retired")
    is_rotated(world, mine)


def test_a_finished_retirement_sends_only_queries(world: World, mine: Tenant) -> None:
    start(world, mine)
    finish(world, mine)
    before = world.state(mine)
    assert finish(world, mine) == Ended(ended=0, left=0)
    assert world.state(mine) == before


def test_a_turn_can_begin_again_with_another_password(world: World, mine: Tenant) -> None:
    start(world, mine)
    with world.sessions() as sessions:
        begin(sessions, mine, mine.logins[1], "newer")
    assert read_schema(world.server, Login(mine.logins[1], "newer"), mine).revision is None
    assert read_schema(world.server, Login(mine.logins[0], "old"), mine).revision is None


def test_the_turns_go_round(world: World, mine: Tenant) -> None:
    start(world, mine)
    finish(world, mine)
    with world.sessions() as sessions:
        begin(sessions, mine, mine.logins[0], "third")
        assert retire(sessions, mine, mine.logins[1], at_once=False).complete
    assert read_schema(world.server, Login(mine.logins[0], "third"), mine).revision is None


def test_somebody_elses_roles_are_not_rotated(world: World, mine: Tenant) -> None:
    thief = Tenant.named(mine.database, Mark("another-cluster", "team-a", "mlflow"))
    before = world.state(mine)
    with world.sessions() as sessions:
        with pytest.raises(Invalid):
            begin(sessions, thief, mine.logins[1], "stolen")
        with pytest.raises(Invalid):
            retire(sessions, thief, mine.logins[0], at_once=False)
    assert world.state(mine) == before


def test_sessions_are_seen_by_the_admin(world: World, mine: Tenant) -> None:
    with world.connected(mine.logins[0], "old", mine.database) as one, world.sessions() as sessions:
        assert look(sessions, mine.logins[0], 1.5) == Sighting(1.5, frozenset({one.info.backend_pid}))
        assert look(sessions, mine.logins[1], 1.5).sessions == frozenset()


def test_quiet_means_that_no_new_session_has_appeared_for_a_while() -> None:
    earlier = Sighting(100.0, frozenset({1, 2}))
    assert not is_quiet(earlier, Sighting(110.0, frozenset({1, 2})), 30.0)
    assert is_quiet(earlier, Sighting(130.0, frozenset({1, 2})), 30.0)
    assert is_quiet(earlier, Sighting(130.0, frozenset()), 30.0)
    assert not is_quiet(earlier, Sighting(130.0, frozenset({2, 3})), 30.0)
