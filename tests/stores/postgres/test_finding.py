"""A server's database is found by its mark, and by nothing that a tenant can write."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg2
import pytest
from psycopg2.sql import SQL, Composable, Identifier, Literal

from tests.stores.postgres.world import ADMIN, CLUSTER, World, desired
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.finalize import retain
from tracking_operator.stores.postgres.marked_databases import MOST_DATABASES, databases_of
from tracking_operator.stores.postgres.tenant import Tenant

MARK = Mark(CLUSTER, "team-a", "mlflow", "uid-1", "namespace-1")
MANY = 10_000


def own(name: str = "of_an_earlier_template") -> Tenant:
    return Tenant.named(name, MARK)


def found(world: World, mark: Mark = MARK, watched: list[Composable] | None = None) -> tuple[str, ...]:
    with world.sessions(watch=watched.append if watched is not None else None) as sessions:
        return databases_of(sessions, mark)


def test_the_database_that_names_exactly_this_server_is_found_by_one_query(world: World) -> None:
    mine = own()
    assert found(world) == ()
    world.provision(desired(mine))
    world.provision(desired(Tenant.named("another", replace(MARK, namespace="team-b"))))
    watched: list[Composable] = []
    assert found(world, replace(MARK, uid="of-the-server-that-was-made-again"), watched) == (mine.database,)
    assert len(watched) == 2, "the session's search path, and the query"
    for other in (
        replace(MARK, cluster="another"),
        replace(MARK, namespace="team"),
        replace(MARK, name="other"),
        replace(MARK, namespace_uid="of-a-namespace-that-was-made-again"),
    ):
        assert found(world, other) == ()
    handed_over = replace(MARK, namespace_uid="of-a-namespace-that-was-made-again", takes_over=True)
    assert found(world, handed_over) == (mine.database,)


def test_a_database_that_is_kept_is_found_too(one_world: World) -> None:
    one_world.provision(desired(own()))
    with one_world.sessions() as sessions:
        retain(sessions, own())
    assert found(one_world) == (own().database,)


def test_a_mark_with_names_is_found(one_world: World) -> None:
    one_world.provision(desired(own()))
    named = (
        f'{{"managedBy": "tracking-operator.dev", "cluster": "{CLUSTER}", "namespace": "team-a", '
        '"namespaceUid": "namespace-1", "name": "mlflow", "uid": "uid-0"}'
    )
    one_world.sql(_comment("DATABASE", own().database, named))
    assert found(one_world) == (own().database,)
    assert found(one_world, replace(MARK, namespace_uid="namespace-2")) == ()


def test_several_are_named_and_not_more_than_can_be_read(one_world: World, dropped: None) -> None:
    names = [f"marked_{number:02}" for number in range(MOST_DATABASES + 2)]
    for name in names:
        _made_by(one_world, ADMIN, name, MARK.text)
    assert found(one_world) == tuple(names[:MOST_DATABASES])


def test_a_tenant_marks_nothing(one_world: World) -> None:
    attacker = Tenant.named("attacker", replace(MARK, namespace="team-b"))
    one_world.provision(desired(attacker))
    one_world.provision(desired(own()))
    with (
        one_world.connected(attacker.logins[0], "a password", attacker.database) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT description FROM pg_shdescription")
        assert (MARK.text,) in cursor.fetchall(), "anybody can read a mark"
        for database in (attacker.database, own().database):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(_comment("DATABASE", database, MARK.text))
        cursor.execute("CREATE TABLE marked ()")
        cursor.execute(_comment("TABLE", "marked", MARK.text))
    assert found(one_world) == (own().database,)


def test_a_mark_that_somebody_else_has_copied_to_a_database_of_theirs_leads_nowhere(
    one_world: World, dropped: None
) -> None:
    one_world.sql("CREATE ROLE neighbour CREATEDB LOGIN")
    _made_by(one_world, "neighbour", "a_copy", MARK.text)
    with pytest.raises(Invalid) as caught:
        found(one_world)
    assert caught.value.reason is Reason.ADMIN_IS_NOT_OWNER, (
        "it may be ours, of an earlier admin: nobody guesses"
    )
    one_world.provision(desired(own()))
    assert found(one_world) == (own().database,)


def test_ten_thousand_marks_stay_bounded(one_world: World, dropped: None) -> None:
    one_world.provision(desired(own()))
    one_world.sql(
        "INSERT INTO pg_shdescription SELECT number, 'pg_database'::regclass, "
        '\'{"managedBy": "tracking-operator.dev", "serverDigest": "\' || md5(number::text) || \'"}\' '
        "FROM generate_series(1000000, %s) AS number",
        1_000_000 + MANY,
    )
    assert found(one_world) == (own().database,)


def test_comments_of_any_length_stay_bounded(one_world: World, dropped: None) -> None:
    for number in range(2):
        _made_by(one_world, ADMIN, f"long_{number}", MARK.text[:-1] + "x" * 20_000_000)
    assert found(one_world) == ()


@pytest.fixture
def dropped(one_world: World) -> Iterator[None]:
    """Nothing is left of marks that belong to no database."""
    yield
    one_world.sql(
        "DELETE FROM pg_shdescription WHERE objoid >= 1000000 AND classoid = 'pg_database'::regclass"
    )


def _made_by(world: World, owner: str, name: str, comment: str) -> None:
    world.sql(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(owner)))
    world.sql(_comment("DATABASE", name, comment))


def _comment(kind: str, name: str, text: str) -> Composable:
    return SQL("COMMENT ON {} {} IS {}").format(SQL(kind), Identifier(name), Literal(text))
