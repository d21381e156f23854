"""Who can do what with whose database: tried from the inside, with the tenants' own credentials."""

from collections.abc import Iterator
from itertools import permutations, product

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.sql import SQL, Composable, Identifier

from tests.stores.postgres.world import World, desired, tenant
from tracking_operator.stores.postgres import rotation
from tracking_operator.stores.postgres.tenant import Tenant

TEAMS = ("team-a", "team-b", "team-c")


@pytest.fixture
def teams(world: World) -> list[Tenant]:
    """Three tenants, each with both logins and a table."""
    tenants = [tenant(f"mlflow_{team}", namespace=team) for team in TEAMS]
    for one in tenants:
        for login in one.logins:
            world.provision(desired(one, login, login=login))
        with world.connected(one.logins[0], one.logins[0], one.database) as connection:
            run(connection, "CREATE TABLE runs (id int)", "INSERT INTO runs VALUES (1)")
    return tenants


def run(connection: "psycopg2.extensions.connection", *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def logins(tenants: list[Tenant]) -> Iterator[tuple[str, Tenant]]:
    return ((login, one) for one in tenants for login in one.logins)


def test_each_login_opens_its_own_database_and_no_other(world: World, teams: list[Tenant]) -> None:
    opened = set()
    for login, mine in logins(teams):
        for database in (one.database for one in teams):
            try:
                with world.connected(login, login, database) as connection:
                    run(connection, "TABLE runs", "CREATE TABLE t (id int)", "DROP TABLE t")
                opened.add((login, database))
            except psycopg2.OperationalError as error:
                assert "permission denied for database" in str(error)
                assert database != mine.database
    assert opened == {(login, mine.database) for login, mine in logins(teams)}


def test_nobody_can_let_another_in(world: World, teams: list[Tenant]) -> None:
    for mine, other in permutations(teams, 2):
        guests = (SQL("PUBLIC"), Identifier(other.role), Identifier(other.logins[0]))
        with world.connected(mine.logins[0], mine.logins[0], mine.database) as connection:
            for guest, privilege in product(guests, ("CONNECT", "ALL")):
                grant = SQL("GRANT {} ON DATABASE {} TO {}").format(
                    SQL(privilege), Identifier(mine.database), guest
                )
                assert is_refused(connection, grant)
            joined = SQL("GRANT {} TO {}").format(Identifier(mine.role), Identifier(other.logins[0]))
            assert is_refused(connection, joined)
        with (
            pytest.raises(psycopg2.OperationalError, match="permission denied"),
            world.connected(other.logins[0], other.logins[0], mine.database),
        ):
            pass


def is_refused(connection: "psycopg2.extensions.connection", grant: Composable) -> bool:
    """Whether a grant fails, or only warns that it did nothing."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(grant)
        except errors.InsufficientPrivilege:
            return True
        return "no privileges were granted" in connection.notices[-1]


FORBIDDEN = (
    "SET ROLE {other_role}",
    "SET ROLE {other_login}",
    "SET SESSION AUTHORIZATION {other_login}",
    "SET ROLE admin",
    "ALTER ROLE {other_login} PASSWORD 'mine now'",
    "ALTER ROLE {other_login} IN DATABASE {other} SET role = {own_role}",
    "ALTER ROLE {own_login} CREATEDB",
    "ALTER ROLE {own_login} CONNECTION LIMIT -1",
    "ALTER DATABASE {own} OWNER TO {own_role}",
    "ALTER DATABASE {own} ALLOW_CONNECTIONS false",
    "ALTER DATABASE {other} SET search_path = pg_catalog",
    "DROP DATABASE {other}",
    "DROP ROLE {other_login}",
    "CREATE ROLE helper",
    "CREATE DATABASE more",
    "CREATE SCHEMA another",
    "COMMENT ON DATABASE {own} IS 'not yours'",
    "COMMENT ON ROLE {own_role} IS 'not yours'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT rolpassword FROM pg_authid",
)


def test_what_a_tenant_must_not_do_is_refused(world: World, teams: list[Tenant]) -> None:
    mine, other, _ = teams
    before = [world.state(one) for one in teams]
    for login, role_first in ((mine.logins[0], "SET ROLE NONE"), (mine.logins[1], "SELECT 1")):
        names = {
            "own": f'"{mine.database}"',
            "own_role": f'"{mine.role}"',
            "own_login": f'"{login}"',
            "other": f'"{other.database}"',
            "other_role": f'"{other.role}"',
            "other_login": f'"{other.logins[0]}"',
        }
        for statement in FORBIDDEN:
            with world.connected(login, login, mine.database) as connection:
                run(connection, role_first)
                with pytest.raises(errors.InsufficientPrivilege):
                    run(connection, statement.format_map(names))
    assert [world.state(one) for one in teams] == before


def test_sessions_of_others_can_neither_be_ended_nor_read(world: World, teams: list[Tenant]) -> None:
    mine, other, _ = teams
    with (
        world.connected(other.logins[0], other.logins[0], other.database) as theirs,
        world.connected(mine.logins[0], mine.logins[0], mine.database) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (theirs.info.backend_pid,))
        assert cursor.fetchall() == [("<insufficient privilege>",)]
        with pytest.raises(errors.InsufficientPrivilege):
            cursor.execute("SELECT pg_terminate_backend(%s)", (theirs.info.backend_pid,))


def test_a_login_has_no_more_sessions_than_its_limit(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine, "one", connection_limit=2))
    with (
        world.connected(mine.logins[0], "one", mine.database),
        world.connected(mine.logins[0], "one", mine.database),
        pytest.raises(psycopg2.OperationalError, match="too many connections for role"),
        world.connected(mine.logins[0], "one", mine.database),
    ):
        pass


def test_two_logins_of_one_tenant_have_no_more_sessions_than_one(world: World) -> None:
    """Whoever reads the Secret before and after a rotation knows both passwords."""
    mine = tenant()
    one, other = mine.logins
    world.provision(desired(mine, "one", connection_limit=2))
    with world.sessions() as sessions:
        rotation.begin(sessions, mine, other, "other")
    with (
        world.connected(one, "one", mine.database),
        world.connected(other, "other", mine.database),
        pytest.raises(psycopg2.OperationalError, match="too many connections for database"),
        world.connected(other, "other", mine.database),
    ):
        pass
    world.provision(desired(mine, "one", connection_limit=3))
    with (
        world.connected(one, "one", mine.database),
        world.connected(other, "other", mine.database),
        world.connected(other, "other", mine.database),
    ):
        pass
