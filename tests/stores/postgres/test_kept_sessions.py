"""Work that follows other work logs in nowhere, and finds nothing of it: on real servers."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.sql import SQL, Identifier

from tests.stores.postgres.world import ADMIN, ADMIN_PASSWORD, World
from tests.waiting import wait_until
from tracking_operator.stores.postgres.connection import Session
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.kept_sessions import MOST_KEPT, KeptSessions
from tracking_operator.stores.postgres.sessions import Sessions

PROCESS = SQL("SELECT pg_catalog.pg_backend_pid()")
SECONDS_TO_END = 10.0
NEVER = 3600.0


def work(world: World, kept: KeptSessions, login: Login | None = None) -> int:
    """Look at something, and return which process of the server has answered."""
    with Sessions(world.server, login or world.admin, kept=kept) as sessions:
        return process_of(sessions.session())


def process_of(session: Session) -> int:
    return int(session.rows(PROCESS, doing="tell its process")[0][0])


def processes(world: World) -> set[int]:
    return {pid for (pid,) in world.sql("SELECT pid FROM pg_stat_activity WHERE usename = %s", ADMIN)}


@contextmanager
def keeping(seconds: float = NEVER) -> Iterator[KeptSessions]:
    kept = KeptSessions(seconds)
    yield kept
    kept.close()


def test_the_next_look_goes_on_in_the_session_of_the_last(world: World) -> None:
    with keeping() as kept:
        assert work(world, kept) == work(world, kept)


def test_what_has_changed_something_is_not_kept(one_world: World) -> None:
    with keeping() as kept:
        with Sessions(one_world.server, one_world.admin, kept=kept) as sessions:
            session = sessions.session()
            session.execute(SQL("SET work_mem = '1MB'"), doing="change a setting")
            changed = process_of(session)
        assert work(one_world, kept) != changed


def test_a_transaction_that_did_not_end_is_not_kept(one_world: World) -> None:
    with keeping() as kept:
        first = Sessions(one_world.server, one_world.admin, kept=kept)
        looking = first.session().looking(doing="look")
        looking.__enter__()
        open_ = process_of(first.session())
        first.close()
        assert work(one_world, kept) != open_


def test_work_at_the_same_time_has_sessions_of_its_own(one_world: World) -> None:
    with keeping() as kept:
        several = [Sessions(one_world.server, one_world.admin, kept=kept) for _ in range(MOST_KEPT + 2)]
        used = {process_of(one.session()) for one in several}
        for one in several:
            one.close()
        assert len(used) == len(several)
        wait_until(
            lambda: len(processes(one_world)) == MOST_KEPT, SECONDS_TO_END, "as many are kept as may be"
        )


def test_a_server_that_was_restarted_gets_new_sessions(one_world: World) -> None:
    with keeping() as kept:
        first = work(one_world, kept)
        one_world.sql("SELECT pg_terminate_backend(%s)", first)
        wait_until(lambda: first not in processes(one_world), SECONDS_TO_END, "the session has ended")
        assert work(one_world, kept) != first


def test_a_login_gets_only_its_own_sessions(one_world: World) -> None:
    other = Login("kept_other", ADMIN_PASSWORD)
    one_world.sql(SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(Identifier(other.username)), other.password)
    with keeping() as kept:
        first = work(one_world, kept)
        assert work(one_world, kept, other) != first


def test_a_session_that_nobody_needs_ends(one_world: World) -> None:
    with keeping(0.2) as kept:
        work(one_world, kept)
        wait_until(lambda: not processes(one_world), SECONDS_TO_END, "nobody is logged in as the admin")
