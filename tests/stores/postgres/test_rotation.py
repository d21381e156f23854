"""Two login roles take turns: sessions go on, nothing active is ended, and the old login is gone at the end."""

from contextlib import suppress

import psycopg2
import pytest
from psycopg2 import errors

from tests.stores.postgres.world import SALT, Crashed, World, crash_before, desired, tenant
from tests.waiting import wait_until
from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store import rotation, scram
from tracking_operator.backend_store.provision import provision
from tracking_operator.backend_store.rotation import Sighting, begin, is_quiet, look, retire
from tracking_operator.backend_store.schema import read_schema
from tracking_operator.backend_store.server import Login
from tracking_operator.backend_store.tenant import Tenant
from tracking_operator.failures import Invalid
from tracking_operator.mark import Mark

LIMIT = 3
STATEMENTS_TO_RETIRE = 10
"""Two looks; let in, no limit; be itself; no login, the limit again; end, count, once at least."""

Connection = psycopg2.extensions.connection


@pytest.fixture
def mine(world: World) -> Tenant:
    one = tenant()
    world.provision(desired(one, "old", connection_limit=LIMIT))
    return one


def start(world: World, mine: Tenant) -> None:
    with world.sessions() as sessions:
        begin(sessions, mine, mine.logins[1], scram.verifier("new", SALT))


def finish(world: World, mine: Tenant) -> rotation.Retirement:
    with world.sessions() as sessions:
        return retire(sessions, mine, mine.logins[0], connection_limit=LIMIT)


def query(connection: Connection, statement: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def is_rotated(world: World, mine: Tenant) -> None:
    """Only the new login works, nothing of the old one is left, and everything else is as desired."""
    assert read_schema(world.server, Login(mine.logins[1], "new"), mine).revision is None
    with pytest.raises(Invalid) as caught:
        read_schema(world.server, Login(mine.logins[0], "old"), mine)
    assert caught.value.reason is Reason.LOGIN_REFUSED
    with world.sessions() as sessions:
        assert look(sessions, mine.logins[0], 0).sessions == frozenset()
        done = provision(sessions, desired(mine, "new", login=mine.logins[1], connection_limit=LIMIT))
    assert done.steps == ()
    assert not done.other_login_works


def test_both_logins_work_until_the_old_one_is_retired(world: World, mine: Tenant) -> None:
    old, new = mine.logins
    with world.connected(old, "old", mine.database) as before:
        start(world, mine)
        with world.connected(new, "new", mine.database) as after, world.connected(old, "old", mine.database):
            assert query(before, "SELECT current_user") == query(after, "SELECT current_user") == (mine.role,)
        # All the sessions that the old login may have are in use.
        with (
            world.connected(old, "old", mine.database),
            world.connected(old, "old", mine.database),
            world.connected(new, "new", mine.database) as after,
        ):
            assert finish(world, mine) == rotation.Retirement(ended=LIMIT, left=0)
            assert query(after, "SELECT 1") == (1,)
        with pytest.raises((errors.AdminShutdown, psycopg2.OperationalError)):
            query(before, "SELECT 1")
    is_rotated(world, mine)


def test_an_active_session_is_not_ended(world: World, mine: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SECONDS_FOR_IDLE_SESSIONS", 0.3)
    start(world, mine)
    with world.connected(mine.logins[0], "old", mine.database) as busy:
        busy.autocommit = False
        assert query(busy, "SELECT 1") == (1,)  # idle in a transaction: in the middle of something
        assert finish(world, mine) == rotation.Retirement(ended=0, left=1)
        assert query(busy, "SELECT 2") == (2,)
        busy.commit()
        assert finish(world, mine) == rotation.Retirement(ended=1, left=0)
    is_rotated(world, mine)


@pytest.mark.parametrize("number", range(STATEMENTS_TO_RETIRE))
def test_a_retirement_can_be_interrupted_anywhere(world: World, mine: Tenant, number: int) -> None:
    start(world, mine)
    with world.connected(mine.logins[0], "old", mine.database):
        with world.sessions(watch=crash_before(number)) as sessions, suppress(Crashed):
            retire(sessions, mine, mine.logins[0], connection_limit=LIMIT)
        wait_until(lambda: finish(world, mine).complete, 10, "the old login is retired")
    is_rotated(world, mine)


def test_a_finished_retirement_sends_only_queries(world: World, mine: Tenant) -> None:
    start(world, mine)
    finish(world, mine)
    before = world.state(mine)
    assert finish(world, mine) == rotation.Retirement(ended=0, left=0)
    assert world.state(mine) == before


def test_a_turn_can_begin_again_with_another_password(world: World, mine: Tenant) -> None:
    start(world, mine)
    with world.sessions() as sessions:
        begin(sessions, mine, mine.logins[1], scram.verifier("newer", SALT))
    assert read_schema(world.server, Login(mine.logins[1], "newer"), mine).revision is None
    assert read_schema(world.server, Login(mine.logins[0], "old"), mine).revision is None


def test_the_turns_go_round(world: World, mine: Tenant) -> None:
    start(world, mine)
    finish(world, mine)
    with world.sessions() as sessions:
        begin(sessions, mine, mine.logins[0], scram.verifier("third", SALT))
        assert retire(sessions, mine, mine.logins[1], connection_limit=LIMIT).complete
    assert read_schema(world.server, Login(mine.logins[0], "third"), mine).revision is None


def test_somebody_elses_roles_are_not_rotated(world: World, mine: Tenant) -> None:
    thief = Tenant.named(mine.database, Mark("another-cluster", "team-a", "mlflow"))
    before = world.state(mine)
    with world.sessions() as sessions:
        with pytest.raises(Invalid):
            begin(sessions, thief, mine.logins[1], scram.verifier("stolen", SALT))
        with pytest.raises(Invalid):
            retire(sessions, thief, mine.logins[0], connection_limit=LIMIT)
    assert world.state(mine) == before


def test_sessions_are_seen_by_the_admin(world: World, mine: Tenant) -> None:
    with world.connected(mine.logins[0], "old", mine.database) as one, world.sessions() as sessions:
        assert look(sessions, mine.logins[0], 1.5) == Sighting(1.5, frozenset({one.info.backend_pid}))
        assert look(sessions, mine.logins[1], 1.5).sessions == frozenset()


def test_quiet_means_that_no_new_session_has_appeared_for_a_while() -> None:
    earlier = Sighting(100.0, frozenset({1, 2}))
    assert not is_quiet(earlier, Sighting(110.0, frozenset({1, 2})), seconds=30)
    assert is_quiet(earlier, Sighting(130.0, frozenset({1, 2})), seconds=30)
    assert is_quiet(earlier, Sighting(130.0, frozenset()), seconds=30)
    assert not is_quiet(earlier, Sighting(130.0, frozenset({2, 3})), seconds=30)
